"""What demand will be when a replica that is started now is ready: a quantile, learned as it goes.

Demand is smoothed over several times; differences between those say whether it rises, falls or
only flickers. A linear quantile regression over them says how much demand will be after the lead
with a given chance of more. It starts from weights that did well on traffic of several kinds and
learns from each of its own errors at that very lead. Memory is bounded: a few dozen numbers and,
where the season is used, one mean for each ten minutes of a week.
"""

from __future__ import annotations

from math import exp, log, sqrt

import msgspec

CELL = 10.0
"""Seconds over which arrivals are added up before they count."""

HORIZONS = (20.0, 60.0, 150.0, 600.0)
"""Seconds over which demand is smoothed, from hasty to slow."""

PEAK_FADES = 180.0  # seconds
NOISE_OVER = 600.0  # seconds
SWINGS_OVER = (1800.0, 300.0)  # seconds, over which swings are averaged
MOST_PENDING = 32
"""Forecasts that wait for their outcome; at long leads not every one is kept."""

_PRICE, _PRICE_BOUNDS = 4.0, (2.0, 8.0)
_RATE, _RATE_BOUNDS = 1e-4, (3e-5, 4e-4)
_AT = 120.0  # seconds of lead for which these two are

PRIORS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (30.0, (1.0, 1.0, -1.3, 0.2, 0.2, 0.3, -0.1, 0.1, 0.2, -0.2, 0.2)),
    (120.0, (1.0, 0.8, -1.6, 0.4, 0.3, 0.4, -0.2, 0.2, 0.3, 0.0, 0.45)),
    (300.0, (1.0, 0.2, -1.7, 0.9, 0.8, 0.5, 0.0, 0.5, 0.9, 0.8, 1.0)),
)
"""Lead in seconds, and the weights of `features` that learning starts from. Rounded means of fits
to three of ServeGen's models (alibaba/ServeGen), which agree within about 0.3; the last is larger
than fitted, so that a rise that goes on for hours is followed. 2026-11-21."""

_FEATURES = len(PRIORS[0][1])


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """A forecast whose outcome is not known yet.

    due       the cell that it is about
    features  that it was made of
    """

    due: int
    features: tuple[float, ...]


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of demand. In replicas, but for the last two.

    cells    that were added up so far
    levels   demand smoothed over HORIZONS
    peak     the most of the hasty level, fading
    noise    variance around the level of a minute
    swings   mean distance between levels, over SWINGS_OVER
    weights  of the features; empty before the first cell
    pending  forecasts whose outcome is awaited
    miss     mean distance of outcomes from the quantile, as a share of the level
    """

    cells: int = 0
    levels: tuple[float, ...] = ()
    peak: float = 0.0
    noise: float = 0.0
    swings: tuple[float, ...] = (0.0, 0.0)
    weights: tuple[float, ...] = ()
    pending: tuple[Pending, ...] = ()
    miss: float = 0.05


def features(trend: Trend) -> tuple[float, ...]:
    """What the quantile is a weighted sum of: the hasty level, differences of levels as they are
    and where they rise, the fading peak above the level, noise, and swings.
    """
    hasty, minute, minutes, slow = trend.levels
    return (
        hasty,
        minute - hasty,
        minutes - minute,
        slow - minutes,
        trend.peak - hasty,
        sqrt(trend.noise),
        *trend.swings,
        max(0.0, hasty - minute),
        max(0.0, minute - minutes),
        max(0.0, minutes - slow),
    )


def seen(trend: Trend, demand: float, lead: float) -> Trend:
    """The memory after one more cell.

    demand  replicas that it would have kept busy
    lead    seconds between a forecast and what it is about
    """
    if not trend.levels:
        return Trend(
            cells=1,
            levels=(demand,) * len(HORIZONS),
            peak=demand,
            noise=demand * 0.02,
            swings=(demand * 0.03, demand * 0.03),
            weights=prior(lead),
        )
    levels = tuple(
        level + _GAINS[place] * (demand - level) for place, level in enumerate(trend.levels)
    )
    hasty, minute, minutes, _ = levels
    swing = abs(hasty - minutes)
    grown = msgspec.structs.replace(
        trend,
        cells=trend.cells + 1,
        levels=levels,
        peak=max(hasty, trend.peak + _PEAK_GAIN * (hasty - trend.peak)),
        noise=trend.noise + _NOISE_GAIN * ((demand - minute) ** 2 - trend.noise),
        swings=tuple(
            old + gain * (swing - old) for old, gain in zip(trend.swings, _SWING_GAINS, strict=True)
        ),
    )
    return _learned(grown, demand, lead)


def ahead(trend: Trend) -> float:
    """The quantile of demand after the lead, replicas; 0 before the first cell."""
    if not trend.levels:
        return 0.0
    return max(0.0, _dot(trend.weights, features(trend)))


def prior(lead: float) -> tuple[float, ...]:
    """The weights that learning starts from, between those of the leads in PRIORS."""
    before = PRIORS[0]
    for after in PRIORS:
        if lead <= after[0]:
            if after is before:
                return after[1]
            part = log(lead / before[0]) / log(after[0] / before[0])
            return tuple(
                low + part * (high - low) for low, high in zip(before[1], after[1], strict=True)
            )
        before = after
    return before[1]


def price(lead: float) -> float:
    """Too little is this many times as bad as too much: the quantile is 1 - 1 / price.

    It is no higher because what keeps replicas on the way down covers most of what is above it;
    the longer the lead, the less of it.
    """
    low, high = _PRICE_BOUNDS
    return min(max(_PRICE * sqrt(lead / _AT), low), high)


def rate(lead: float) -> float:
    """Step of learning. Errors at a long lead overlap, so that many of them say the same."""
    low, high = _RATE_BOUNDS
    return min(max(_RATE * _AT / lead, low), high)


def _learned(trend: Trend, demand: float, lead: float) -> Trend:
    """Learn from the forecasts that were about this cell, and note the one made now."""
    weights, miss = trend.weights, trend.miss
    waiting = trend.pending
    dear, step_size = price(lead), rate(lead)
    while waiting and waiting[0].due <= trend.cells:
        made = waiting[0].features
        waiting = waiting[1:]
        error = demand - _dot(weights, made)
        scale = max(made[0], trend.levels[3], 1e-9)
        miss += _MISS_GAIN * (min(abs(error) / scale, 1.0) - miss)
        pull = (dear - 1.0 if error > 0 else -1.0) * step_size / scale
        weights = tuple(
            weight + pull * size * step
            for weight, size, step in zip(weights, made, _STEPS, strict=True)
        )
    ahead_by = 1 + int(-(-lead // CELL))
    every = 1 + ahead_by // MOST_PENDING
    if trend.cells % every == 0:
        note = Pending(trend.cells + ahead_by, features(trend))
        waiting = (*waiting, note)[-MOST_PENDING:]
    return msgspec.structs.replace(trend, weights=weights, pending=waiting, miss=miss)


def _dot(weights: tuple[float, ...], sizes: tuple[float, ...]) -> float:
    return sum(weight * size for weight, size in zip(weights, sizes, strict=True))


def _gain(seconds: float) -> float:
    return 1.0 - exp(-CELL / seconds)


_GAINS = tuple(_gain(seconds) for seconds in HORIZONS)
_PEAK_GAIN = _gain(PEAK_FADES)
_NOISE_GAIN = _gain(NOISE_OVER)
_SWING_GAINS = tuple(_gain(seconds) for seconds in SWINGS_OVER)
_MISS_GAIN = _gain(6 * 3600.0)
_STEPS = (1.0, *(20.0,) * (_FEATURES - 1))
"""Differences are small beside the level; their weights move in larger steps."""
