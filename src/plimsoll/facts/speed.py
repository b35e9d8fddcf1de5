"""Fitted facts of the speed model: kernels, constants of engines, and what was learned by level."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import msgspec

from plimsoll.facts.table import csv_rows, json_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What one kind of kernel reaches on one generation of accelerators, alone, measured.

    kernel      `product`, `mixture`, `attention` (decoding), `prompt` (attention), `reduction`
    generation  of the accelerators; `pcie` for `reduction` without NVLink
    format      number format of the weights, or of the cache
    start       seconds that it takes however small it is
    bandwidth   share of the memory's bandwidth; of the link's for `reduction`
    operations  share of the peak operations of `compute`
    traffic     share of the memory's bandwidth for activations of experts; for `reduction`
                seconds per doubling of the devices, over PCIe per hop around a ring of them
    compute     element type that it multiplies in
    source      where it was measured
    date        when it was fitted
    """

    kernel: str
    generation: str
    format: str
    start: float
    bandwidth: float
    operations: float
    traffic: float
    compute: str
    source: str
    date: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """The measured generation that stands for one without measurements.

    generation  without measurements
    like        with measurements
    source      why
    date        when that was written
    """

    generation: str
    like: str
    source: str
    date: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedConstant:
    """One constant of a whole step or request.

    name    what it is
    engine  the engine that it holds for; empty: every other one
    value   in `unit`
    unit    of the value
    source  where it was fitted
    date    when
    """

    name: str
    engine: str
    value: float
    unit: str
    source: str
    date: dt.date


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """What the measured rows say beyond physics: natural logarithms to add, by group and level.

    target  `tpot` or `ttft`
    levels  group -> level -> part of the time -> logarithm of what that part is multiplied with
    source  where it was fitted
    date    when
    """

    target: str
    levels: dict[str, dict[str, dict[str, float]]]
    source: str
    date: dt.date


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """How far predictions were from measurements that were kept aside.

    target  `tpot` or `ttft`
    known   what of the deployment the fit had seen: `lengths`, `configuration`, `model`, ...
    mode    `together`, `apart`, or `apart, workers unknown`
    low     5 of 100 measured values were below the prediction times the exponential of this
    high    95 of 100 were below the prediction times the exponential of this
    rows    that this was counted on
    source  where it was fitted
    date    when
    """

    target: str
    known: str
    mode: str
    low: float
    high: float
    rows: int
    source: str
    date: dt.date


@cache
def kernels() -> Mapping[tuple[str, str, str], Kernel]:
    """Every kernel by kind, generation and format."""
    rows = csv_rows("speed_kernels.csv", Kernel)
    return {(row.kernel, row.generation, row.format): row for row in rows}


@cache
def likenesses() -> Mapping[str, str]:
    """The measured generation that stands for each one without measurements."""
    rows = csv_rows("speed_generations.csv", Likeness)
    return {row.generation: row.like for row in rows}


@cache
def speed_constants(engine: str) -> Mapping[str, float]:
    """The constants of an engine by name; those of every engine where it has no own."""
    rows = csv_rows("speed_constants.csv", SpeedConstant)
    common = {row.name: row.value for row in rows if not row.engine}
    return common | {row.name: row.value for row in rows if row.engine == engine}


@cache
def fitted_engines() -> frozenset[str]:
    """Engines with constants of their own."""
    rows = csv_rows("speed_constants.csv", SpeedConstant)
    return frozenset(row.engine for row in rows if row.engine)


@cache
def speed_effects(target: str) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """What was learned for `tpot` or `ttft`: group -> level -> part -> logarithm."""
    for row in json_lines("speed_effects.jsonl", Effects):
        if row.target == target:
            return row.levels
    return {}


@cache
def speed_intervals() -> Mapping[tuple[str, str, str], Interval]:
    """Every interval by target, what was known, and mode."""
    rows = csv_rows("speed_intervals.csv", Interval)
    return {(row.target, row.known, row.mode): row for row in rows}
