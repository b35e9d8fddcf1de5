"""How much counts what when prefix routing weighs places."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much counts what, beside the seconds until its own answer begins and those by which it
    delays who comes next (see `Delay`).

    reread    seconds that a second of reading costs besides: it holds up the answers written
              there, and what is read replaces something in the KV cache
    load      seconds that a replica at half its limit of requests costs more than an idle one,
              and ever more towards the limit (used over free), so that none fills up while
              others have room
    pressure  seconds that a full KV cache costs more than one that is filled to `comfort`
    comfort   share of a KV cache in use that costs nothing yet
    balance   seconds of cost per second of reading that a replica was given more than others
    memory    seconds of reading by which one replica is remembered to be ahead of the average
    """

    reread: float = 8.0
    load: float = 4.0
    pressure: float = 4.0
    comfort: float = 0.85
    balance: float = 0.03
    memory: float = 120.0
