"""Traffic by the second, made from rates of clients or from a trace of requests."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.scaling.replica import Replica, replica
from plimsoll.worlds.virtual.workloads.azure import AzureTrace
from plimsoll.worlds.virtual.workloads.servegen_rates import Rates

Seconds = NDArray[np.float64]
"""One number a second."""

SPREAD = 60.0
"""Copies of a trace's requests are moved by up to so many seconds: users of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What arrives in each second.

    requests  that arrive
    prompt    tokens of theirs
    output    tokens of theirs
    work      seconds that one replica needs for them, at the rate that keeps the objectives
    factor    how many times the traffic of the file it is
    """

    requests: Seconds
    prompt: Seconds
    output: Seconds
    work: Seconds
    factor: float

    @property
    def seconds(self) -> int:
        """How long it lasts."""
        return len(self.requests)


def enough(mean: float, least: float) -> float:
    """How many times the traffic is taken so that it keeps `least` replicas busy on average."""
    return max(1.0, least / mean) if mean > 0 else 1.0


def of_rates(rates: Rates, unit: Replica, *, least: float, ramps: bool, seed: int) -> Demand:
    """Traffic of a rates file.

    least  replicas that the mean keeps busy at least; smaller traffic is multiplied, each client
           as uneven as before
    ramps  whether the rate passes from window to window in straight lines that keep each window's
           number of requests, instead of jumping
    """
    window = round(rates.window)
    windows = round(rates.seconds / rates.window)
    mean = sum(rates.requests()) / rates.seconds
    factor = enough(mean / unit.rate, least)
    counts = np.zeros(windows * window)
    chance = np.random.default_rng(seed)
    for start in rates.starts(rates.start, rates.start + rates.seconds):
        first = round(start - rates.start)
        for row in rates.at(start):
            count = int(row.rate * window * factor + chance.random())
            if count:
                place = _moments(row.kind, row.shape, count, window, chance)
                counts[first : first + window] += np.bincount(place, minlength=window)
    if ramps:
        counts *= _ramps(counts, window)
    return Demand(
        requests=counts,
        prompt=counts * unit.prompt,
        output=counts * unit.output,
        work=counts / unit.rate,
        factor=factor,
    )


def _moments(
    kind: int, shape: float, count: int, window: int, chance: np.random.Generator
) -> NDArray[np.int64]:
    """Seconds of a window in which a client asks: gaps of its distribution, stretched until they
    fill the window, on a circle turned at random; as plimsoll.worlds.virtual.workloads does.
    """
    drawn = chance.standard_gamma(shape, count) if kind == 0 else chance.weibull(shape, count)
    along = np.cumsum(drawn)
    total = along[-1]
    stretched = along * (window / total) if 0 < total < np.inf else np.zeros(count)
    turned = (stretched + chance.random() * window) % window
    return np.minimum(turned.astype(np.int64), window - 1)


def _ramps(counts: Seconds, window: int) -> Seconds:
    """By how much each second's traffic is multiplied so that windows pass into each other.

    At a boundary the rate is the mean of both sides; in the middle whatever keeps the window's
    number; where that would be below nothing, nothing.
    """
    mean = counts.reshape(-1, window).mean(axis=1)
    edges = np.concatenate([mean[:1], (mean[1:] + mean[:-1]) / 2, mean[-1:]])
    middle = np.maximum(2 * mean - (edges[1:] + edges[:-1]) / 2, 0.0)
    at = np.arange(len(counts)) + 0.5
    places = np.arange(2 * len(mean) + 1) * (window / 2)
    values = np.empty(2 * len(mean) + 1)
    values[0::2], values[1::2] = edges, middle
    wished = np.interp(at, places, values)
    have = np.repeat(mean, window)
    ramps: Seconds = np.divide(wished, have, out=np.ones_like(wished), where=have > 0)
    return ramps


def of_trace(path: Path, *, least: float, seed: int) -> tuple[Demand, Replica]:
    """Traffic of a trace in Azure's shape, and the replica for requests of its mean lengths.

    Smaller traffic is multiplied by copies of its requests, each moved by up to SPREAD seconds.
    Raises InputError that names the line.
    """
    arrivals = [(each.at, each.prompt_tokens, each.output_tokens) for each in AzureTrace(path=path)]
    at, prompt, output = (
        np.array(column, dtype=np.float64) for column in zip(*arrivals, strict=True)
    )
    unit = replica(float(prompt.mean()), float(output.mean()))
    seconds = int(at[-1]) + 1
    each = (prompt / unit.prompt + output / unit.output) / (2 * unit.rate)
    factor = ceil(enough(float(each.sum()) / seconds, least))
    chance = np.random.default_rng(seed)
    spreads = [chance.uniform(-SPREAD, SPREAD, len(at)) for _ in range(factor - 1)]
    moved = np.abs(np.concatenate([at, *(at + spread for spread in spreads)]))
    turned = np.where(moved < seconds, moved, 2 * seconds - moved - 1e-6)
    place = np.clip(turned, 0, seconds - 1).astype(np.int64)
    sums: list[Seconds] = [
        np.bincount(place, np.tile(weights, factor), seconds).astype(np.float64)
        for weights in (np.ones(len(at)), prompt, output, each)
    ]
    requests, prompts, outputs, work = sums
    demand = Demand(
        requests=requests, prompt=prompts, output=outputs, work=work, factor=float(factor)
    )
    return demand, unit
