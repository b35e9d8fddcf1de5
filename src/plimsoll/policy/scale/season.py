"""What the same time of day brought on the days before: means of ten minutes, for a week."""

from __future__ import annotations

from math import sqrt

import msgspec

SLOT = 600.0  # seconds
DAY = 144  # slots
WEEK = 7 * DAY
_FADES = 36.0  # comparisons over which the two kinds of errors are averaged


class Season(msgspec.Struct, frozen=True, kw_only=True):
    """Means of the past, slot by slot. Demand in replicas.

    slot     number of the slot that is being filled, counted from the clock's zero
    total    demand of its cells so far
    cells    of it so far
    past     means of the slots before it, the latest last; at most a week
    plain    mean error, squared, of expecting the next slot to be as this one
    seasonal the same of expecting it to change as it did a day, or a week, before
    """

    slot: int = -1
    total: float = 0.0
    cells: int = 0
    past: tuple[float, ...] = ()
    plain: float = 0.0
    seasonal: float = 0.0


def noted(season: Season, demand: float, at: float) -> Season:
    """The memory after one more cell that ended at a time."""
    slot = int(at // SLOT)
    if slot == season.slot:
        return msgspec.structs.replace(season, total=season.total + demand, cells=season.cells + 1)
    if season.cells == 0:
        return msgspec.structs.replace(season, slot=slot, total=demand, cells=1)
    mean = round(season.total / season.cells, 4)
    plain, seasonal = _compared(season, mean)
    skipped = min(max(0, slot - season.slot - 1), WEEK)
    return Season(
        slot=slot,
        total=demand,
        cells=1,
        past=(*season.past, *(mean,) * (1 + skipped))[-WEEK:],
        plain=plain,
        seasonal=seasonal,
    )


def change(season: Season, at: float, lead: float) -> float:
    """By how many times demand changed over such a lead, at this time of the day or week before,
    taken for as much as it was right of late; 1 where history says nothing.
    """
    if season.plain <= 0.0 or season.seasonal >= season.plain:
        return 1.0
    trust = 1.0 - sqrt(season.seasonal / season.plain)
    back = _back(season)
    now, then = _at(season, at, back), _at(season, at + lead, back)
    if now is None or then is None or now <= 0.0:
        return 1.0
    return 1.0 + trust * (min(max(then / now, 0.25), 4.0) - 1.0)


def _compared(season: Season, mean: float) -> tuple[float, float]:
    past = season.past
    back = _back(season)
    if not back or len(past) < back + 1:
        return season.plain, season.seasonal
    last, then, before = past[-1], past[-back], past[-back - 1]
    expected = last * min(max(then / before, 0.25), 4.0) if before > 0 else last
    weight = 1.0 / _FADES
    return (
        season.plain + weight * ((mean - last) ** 2 - season.plain),
        season.seasonal + weight * ((mean - expected) ** 2 - season.seasonal),
    )


def _back(season: Season) -> int:
    """Slots in a season: a week once a whole one is known, else a day, else 0."""
    if len(season.past) >= WEEK:
        return WEEK - 1
    return DAY if len(season.past) > DAY + 1 else 0


def _at(season: Season, at: float, back: int) -> float | None:
    """Mean of the slot that holds a time, one season before it."""
    if not back:
        return None
    place = int(at // SLOT) - season.slot - (back if back == DAY else WEEK)
    return season.past[place] if -len(season.past) <= place < 0 else None
