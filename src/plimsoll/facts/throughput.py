"""What was fitted on published throughput: constants of physics, and how configurations deviate."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from plimsoll.facts.table import csv_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturationConstant:
    """One constant of a replica at full load.

    name    what it is; `.` and a generation, format or release where it holds for these only
    value   in `unit`
    unit    of the value
    source  where it comes from
    date    when it was fitted
    """

    name: str
    value: float
    unit: str
    source: str
    date: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How the logarithm of measured over computed throughput moves with one level of a factor.

    factor  what is alike: `model`, `device`, ...
    level   which; `*` holds the spread of levels that were not measured
    term    0: the same for all lengths; 1, 2, ...: with a function of lengths
    value   natural logarithm
    spread  standard deviation that is left of it
    source  where it comes from
    date    when it was fitted
    """

    factor: str
    level: str
    term: int
    value: float
    spread: float
    source: str
    date: dt.date


@cache
def saturation_constants() -> Mapping[str, float]:
    """The constants by name."""
    return {row.name: row.value for row in csv_rows("saturation_constants.csv", SaturationConstant)}


@cache
def deviations() -> Mapping[tuple[str, str, int], Deviation]:
    """What was measured of each level of each factor."""
    rows = csv_rows("saturation_deviations.csv", Deviation)
    return {(row.factor, row.level, row.term): row for row in rows}
