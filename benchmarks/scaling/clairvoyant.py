"""The fewest GPU hours that would have done, known only afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.scaling.demand import Demand, Seconds
from benchmarks.scaling.fluid import Setting

CELL = 10
"""Seconds for which the clairvoyant's number stays the same."""

_PASSES = 200

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What the clairvoyant pays.

    paid        replica-seconds: serving, loading and draining
    attainment  share of the requests within the objectives
    replicas    that serve, cell by cell
    """

    paid: float
    attainment: float
    replicas: Counts


def cells(demand: Demand) -> Seconds:
    """Work of each second, a row for each cell; the last cell is filled with nothing."""
    rest = -len(demand.work) % CELL
    return np.concatenate([demand.work, np.zeros(rest)]).reshape(-1, CELL)


def needed(work: Seconds, slack: float) -> Counts:
    """Fewest replicas for each cell that turn nothing away, if the queue was empty before it.

    Nothing is turned away exactly if over every stretch of seconds what comes is at most what
    is done in it and in the slack after it.
    """
    count, cell = work.shape
    most = np.zeros(count)
    for begin in range(cell):
        come = np.zeros(count)
        for end in range(begin, cell):
            come += work[:, end]
            np.maximum(most, come / (end - begin + 1 + slack), out=most)
    return np.ceil(most - 1e-9).astype(np.int64)


def bound(
    demand: Demand, slack: float, setting: Setting, *, least: int, attainment: float = 1.0
) -> Bound:
    """The cheapest schedule found that serves this share of the requests within the objectives.

    From the floor upwards: where work is turned away one replica more is needed. For any such
    needs the schedule is exactly the cheapest, level by level: the k-th replica serves wherever k
    are needed; in a gap between it stays, or stops and is paid for once more while it drains and
    loads, whichever is cheaper. For less than every request, what is cheapest to turn away is
    left out: cells in which little is missed, up to a limit that is found by halving.
    """
    work = cells(demand)
    allowed = (1.0 - attainment) * float(demand.work.sum())
    best = _raised(work, slack, setting, least, 0.0)
    if allowed <= 0.0:
        return best
    low, high = 0.0, 30.0 * float(work.sum(axis=1).mean())
    for _ in range(10):
        middle = (low + high) / 2 if low else high / 8
        tried = _raised(work, slack, setting, least, middle)
        if tried.attainment >= attainment:
            low = middle
            best = min(best, tried, key=lambda each: each.paid)
        else:
            high = middle
    return best


def _raised(work: Seconds, slack: float, setting: Setting, least: int, spared: float) -> Bound:
    """Needs raised until no cell turns away more than `spared` (work)."""
    want = np.maximum(needed(work, slack) if spared == 0.0 else 0, least)
    if spared:
        want = np.maximum(np.floor(work.mean(axis=1)).astype(np.int64) - 2, least)
    rows = work.tolist()
    total = float(work.sum())
    for _ in range(_PASSES):
        kept = _kept(want, setting)
        away = _away(rows, kept, slack)
        over = away > spared + 1e-6
        if not over.any():
            break
        want[over] = kept[over] + 1
    return Bound(
        paid=_paid(kept, setting),
        attainment=1.0 - float(away.sum()) / total if total else 1.0,
        replicas=kept,
    )


def _kept(want: Counts, setting: Setting) -> Counts:
    """The cheapest schedule that never has fewer than are wanted."""
    again = (setting.cold_start + setting.drain) / CELL
    kept = np.zeros(len(want), dtype=np.int64)
    for level in range(1, int(want.max()) + 1):
        at = np.flatnonzero(want >= level)
        gaps = np.diff(at) - 1
        short = (gaps > 0) & (gaps <= again)
        change = np.zeros(len(want) + 1, dtype=np.int64)
        change[at] += 1
        change[at + 1] -= 1
        np.add.at(change, at[:-1][short] + 1, 1)
        np.add.at(change, at[1:][short], -1)
        kept += np.cumsum(change)[:-1]
    return kept


def _paid(kept: Counts, setting: Setting) -> float:
    starts = int(np.maximum(np.diff(kept), 0).sum())
    return float(kept.sum()) * CELL + starts * (setting.cold_start + setting.drain)


def _away(rows: list[list[float]], kept: Counts, slack: float) -> Seconds:
    """Work turned away in each cell."""
    away = np.zeros(len(rows))
    queue = 0.0
    for index, (row, able) in enumerate(zip(rows, kept.tolist(), strict=True)):
        most = able * slack
        for amount in row:
            queue += amount - able
            if queue > most:
                away[index] += queue - most
                queue = most
            elif queue < 0.0:
                queue = 0.0
    return away
