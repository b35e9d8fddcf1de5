"""Measured rows as arrays: work, hardware and levels of each, for the fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.planner.silicon import Row, rows
from plimsoll.plan.deployment import kernels_of
from plimsoll.plan.speed.closed_loop import Flight
from plimsoll.plan.speed.effects import Mode, levels, mode_of
from plimsoll.plan.speed.hardware import Hardware, hardware
from plimsoll.plan.speed.latency import Workers, decoding, flight_of, prompting
from plimsoll.plan.speed.work import Work

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Rows of one file, one entry of every array each.

    decode, prompt    work of a decoding step, and of one prompt
    reach, prefill    hardware of the replicas that decode, and of those that compute prompts
    flight            requests in flight
    requests          that decode in one step of the replica
    engines           names of the engines
    levels            group -> level of every row; empty where it has none
    modes             how prompts and decoding are spread
    systems, models   accelerator and model shape
    ttft, tpot        measured, seconds
    twins             rows of one measurement have the same number
    """

    decode: Work
    prompt: Work
    reach: Hardware
    prefill: Hardware
    flight: Flight
    requests: Array
    engines: Array
    levels: Mapping[str, Array]
    modes: Array
    ttft: Array
    tpot: Array
    twins: Array

    def __len__(self) -> int:
        return len(self.tpot)


def stacked(kind: Callable[..., Any], every: Sequence[Any]) -> Any:
    """One record of arrays from many records of numbers."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: np.array([getattr(one, name) for one in every]) for name in names})


def chosen(record: Any, mask: Array) -> Any:
    """A record of arrays with the rows of `mask` alone."""
    return type(record)(
        **{field.name: getattr(record, field.name)[mask] for field in fields(record)}
    )


def read(path: Path) -> Measured:
    """The rows of a file that can be predicted."""
    found = [row for row in rows(path) if row is not None and row.ttft > 0 and row.tpot > 0]
    flights = [flight(row) for row in found]
    modes = [_mode(row) for row in found]
    at = [levels(row.deployment, kernels_of(row.deployment.engine), mode, row.prompt, row.output)
          for row, mode in zip(found, modes, strict=True)]  # fmt: skip
    groups = sorted({group for one in at for group in one})
    numbers: dict[tuple[float, ...], int] = {}
    same = [(row.tpot, row.ttft, row.prompt, row.output) for row in found]
    return Measured(
        decode=stacked(Work, [
            decoding(row.deployment, row.prompt, row.output, one.running)
            for row, one in zip(found, flights, strict=True)
        ]),
        prompt=stacked(Work, [prompting(row.prefill, row.prompt, 0.0) for row in found]),
        reach=stacked(Hardware, [hardware(row.deployment) for row in found]),
        prefill=stacked(Hardware, [hardware(row.prefill) for row in found]),
        flight=stacked(Flight, flights),
        requests=np.array([one.running for one in flights]),
        engines=np.array([kernels_of(row.deployment.engine) for row in found]),
        levels={group: np.array([one.get(group, "") for one in at]) for group in groups},
        modes=np.array(modes),
        ttft=np.array([row.ttft for row in found]),
        tpot=np.array([row.tpot for row in found]),
        twins=np.array([numbers.setdefault(one, len(numbers)) for one in same]),
    )  # fmt: skip


def flight(row: Row) -> Flight:
    """The requests in flight of a row."""
    workers = None if row.together else Workers(prefills=row.prefills, decodes=row.workers)
    concurrency = row.concurrency / (row.workers if row.together else 1)
    return flight_of(row.deployment, row.prompt, row.output, concurrency, workers)


def _mode(row: Row) -> Mode:
    return mode_of(row.deployment, together=row.together, workers=row.workers > 0)
