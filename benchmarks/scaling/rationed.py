"""What even the clairvoyant pays where changes of direction are rationed."""

from __future__ import annotations

import numpy as np

from benchmarks.scaling.clairvoyant import CELL, Bound, Counts
from benchmarks.scaling.demand import Seconds
from benchmarks.scaling.fluid import Setting

MINUTE = 6
"""Cells of the clairvoyant for which the number stays the same here."""

_HALVINGS = 7


def rationed(bound: Bound, setting: Setting, *, per_hour: float) -> float:
    """Replica-seconds of the cheapest schedule found that turns at most so often an hour.

    With a price on each turn, exactly the cheapest way, a minute at a time, never to have fewer
    replicas than the clairvoyant needs; the price is found by halving.
    """
    rest = -len(bound.replicas) % MINUTE
    cells = np.concatenate([bound.replicas, np.zeros(rest, dtype=np.int64)])
    need = cells.reshape(-1, MINUTE).max(axis=1)
    hours = len(need) * MINUTE * CELL / 3600
    low, high = 0.0, float(need.mean()) * 3600
    best = None
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        paid, turns = _chain(need, setting, price)
        if turns / hours > per_hour:
            low = price
        else:
            high, best = price, paid
    return best if best is not None else _chain(need, setting, high)[0]


def _chain(need: Counts, setting: Setting, price: float) -> tuple[float, float]:
    """Cost without the price, and turns: dynamic programme over number and last direction."""
    again = setting.cold_start + setting.drain
    levels = np.arange(int(need.max()) + 1, dtype=np.float64)
    cost = levels * (MINUTE * CELL)
    up = np.where(levels >= need[0], 0.0, np.inf)
    down = up + price
    ups, downs = np.zeros_like(levels), np.ones_like(levels)
    whole = 0.0
    for least in need.tolist():
        come, came = _cheaper(up, ups, down + price, downs + 1)
        raised, raised_turns = _running(come - again * levels, came)
        raised += again * levels
        go, gone = _cheaper(down, downs, up + price, ups + 1)
        lowered, lowered_turns = (each[::-1] for each in _running(go[::-1], gone[::-1]))
        up, ups = _cheaper(up, ups, raised, raised_turns)
        down, downs = _cheaper(down, downs, lowered, lowered_turns)
        up, down = up + cost, down + cost
        up[:least] = down[:least] = np.inf
        lowest = min(float(up.min()), float(down.min()))
        whole += lowest
        up -= lowest
        down -= lowest
    turns = ups[up.argmin()] if up.min() <= down.min() else downs[down.argmin()]
    return whole - float(turns) * price, float(turns)


def _cheaper(
    one: Seconds, ones: Seconds, other: Seconds, others: Seconds
) -> tuple[Seconds, Seconds]:
    """The smaller of two costs, level by level, with its turns."""
    keep = one <= other
    return np.where(keep, one, other), np.where(keep, ones, others)


def _running(values: Seconds, turns: Seconds) -> tuple[Seconds, Seconds]:
    """The least of all values up to each, with its turns."""
    least = np.minimum.accumulate(values)
    places = np.where(values == least, np.arange(len(values)), 0)
    return least, turns[np.maximum.accumulate(places)]
