"""How KEDA reads the backlog of each kind of message broker."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache

import msgspec

from plimsoll.facts.table import yaml_rows


class BrokerFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of broker; words in camelCase are KEDA's own parameters.

    type        the word used in the fleet file
    trigger     KEDA's trigger
    address     parameter that takes the broker's address; empty: none
    scheme      put before an address without one
    port        port that KEDA asks, where it is not the one that clients use; 0: the same
    queue       parameter that takes the queue; empty: it is part of the address
    threshold   parameter for the messages that one replica carries
    consumer    parameter that takes the name under which messages are consumed; empty: none
    region      parameter that takes the cloud's region; empty: none
    fixed       further parameters
    secret      parameter that takes the value of the fleet's credential; empty: KEDA needs none
    companions  parameters that other keys of the same Secret may hold
    identity    the cloud's identity of pods, used where the fleet names no credential
    deprecated  what KEDA's makers say against it; empty: nothing
    source      where it is written
    date        when it was read
    """

    type: str
    trigger: str
    address: str
    scheme: str = ""
    port: int = 0
    queue: str = ""
    threshold: str
    consumer: str = ""
    region: str = ""
    fixed: dict[str, str] = {}
    secret: str = ""
    companions: tuple[str, ...] = ()
    identity: str = ""
    deprecated: str = ""
    source: str
    date: dt.date


@cache
def brokers() -> Mapping[str, BrokerFacts]:
    """Every kind of broker, by the fleet file's word."""
    return {row.type: row for row in yaml_rows("brokers.yaml", BrokerFacts)}
