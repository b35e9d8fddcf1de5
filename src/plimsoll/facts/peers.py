"""What replicas and the gateway speak to over the network: ports, addresses and pods of others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache

import msgspec

from plimsoll.facts.table import sparse_csv_rows


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to speak to.

    name         what code calls it; for a database or a broker the scheme of its URL
    ports        TCP ports, UDP too for names
    label        label of its pods; empty where it is told by something else
    label_value  its value
    networks     addresses, such as `169.254.0.0/16`; empty where they are not fixed
    what         in words
    source       where it is written
    date         when it was read
    """

    name: str
    ports: tuple[int, ...] = ()
    label: str = ""
    label_value: str = ""
    networks: tuple[str, ...] = ()
    what: str
    source: str
    date: dt.date


@cache
def peers() -> Mapping[str, Peer]:
    """Every peer by its name."""
    rows = sparse_csv_rows("network_peers.csv", Peer, lists=("ports", "networks"))
    return {row.name: row for row in rows}
