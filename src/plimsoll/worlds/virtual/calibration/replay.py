"""Runs given requests through simulated engines, by themselves: no gateway, no fleet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from plimsoll.worlds.virtual.engine.types import Engine, Job

_WAITING = 4  # running requests that one waiting counts as, in vLLM's choice between its ranks


def replay(engines: Sequence[Engine], jobs: Iterable[Job], *, until: float = inf) -> None:
    """Lets the jobs, in the order of `at`, arrive and be served; they say themselves how it went.

    engines  data-parallel ranks of one server, of which each job goes to the one with the least
             waiting and running, as in vLLM's own client
    until    seconds after which nothing more is worked out

    Raises ValueError for a job that could never run to its end.
    """
    for job in jobs:
        if job.at > until:
            return
        _advance(engines, job.at)
        least = min(engines, key=_load) if len(engines) > 1 else engines[0]
        least.arrive(job, job.at)
    _advance(engines, until)


def _load(engine: Engine) -> int:
    return _WAITING * engine.waiting + engine.running


def _advance(engines: Sequence[Engine], until: float) -> None:
    """What happens until then, and at that time, but for what never does."""
    for engine in engines:
        while engine.wake <= until and engine.wake < inf:
            engine.advance()
