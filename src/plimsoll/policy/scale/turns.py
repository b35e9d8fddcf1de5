"""Changes of direction are rationed: few an hour on average, saved up for when they save most."""

from __future__ import annotations

import msgspec

MOST_SAVED = 8.0
"""Turns that can be saved up."""

FIRST = 2.0
"""Turns that a new model has."""


class Turns(msgspec.Struct, frozen=True, kw_only=True):
    """Turns left.

    left       turns
    at         when that was reckoned; None before the first look
    direction  1 while the number last rose, -1 while it fell, 0 before it changed
    """

    left: float = FIRST
    at: float | None = None
    direction: int = 0


def left_at(turns: Turns, now: float, per_hour: float) -> float:
    """Turns left at a time."""
    since = 0.0 if turns.at is None else max(0.0, now - turns.at)
    return min(MOST_SAVED, turns.left + since * per_hour / 3600.0)


def may_turn(turns: Turns, now: float, per_hour: float) -> bool:
    """Whether the number may fall after a rise: a turn is left for that, and another for the
    rise that will follow. On the way down it may always fall further.
    """
    return turns.direction <= 0 or left_at(turns, now, per_hour) >= 2.0


def turned(turns: Turns, now: float, step: int, per_hour: float) -> Turns:
    """What is left after a step up (above 0), down (below 0), or none."""
    left = left_at(turns, now, per_hour)
    direction = (step > 0) - (step < 0)
    if direction == 0:
        return msgspec.structs.replace(turns, left=left, at=now)
    if turns.direction == -direction:
        left -= 1.0
    return Turns(left=left, at=now, direction=direction)
