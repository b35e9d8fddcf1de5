"""What is known of the phases of a cold start before any was measured in one's own cluster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache
from typing import Literal

import msgspec

from plimsoll.facts.table import csv_rows


class ColdStartFact(msgspec.Struct, frozen=True, kw_only=True):
    """One phase.

    quantity  `node`, `weights`, `engine`
    unit      `s`, or `B/s` for what depends on a size
    low       best that was seen
    typical   what a plan reckons with
    high      worst that was seen
    what      in words
    source    where it is written
    date      when it was read
    """

    quantity: Literal["node", "weights", "engine"]
    unit: Literal["s", "B/s"]
    low: float
    typical: float
    high: float
    what: str
    source: str
    date: dt.date


@cache
def cold_start_facts() -> Mapping[str, ColdStartFact]:
    """Every phase that something is known of, by its name."""
    return {row.quantity: row for row in csv_rows("cold_start.csv", ColdStartFact)}
