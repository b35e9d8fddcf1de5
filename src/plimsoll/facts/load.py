"""Fitted constants of servers under load: overheads of a request, and how its waits spread."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from plimsoll.facts.table import csv_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadConstant:
    """One constant.

    name    what it is
    engine  the engine that it holds for; empty: every other one
    value   in `unit`
    unit    of the value
    source  where it comes from
    date    when it was fitted or read
    """

    name: str
    engine: str
    value: float
    unit: str
    source: str
    date: dt.date


@cache
def load_constants(engine: str) -> Mapping[str, float]:
    """The constants of an engine by name; those of every engine where it has no own."""
    rows = csv_rows("load_constants.csv", LoadConstant)
    common = {row.name: row.value for row in rows if not row.engine}
    return common | {row.name: row.value for row in rows if row.engine == engine}
