"""Made-up traffic without memory between requests: even, in bursts, and by hour and weekday."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import cos, floor, inf, pi
from random import Random

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.lengths import Lengths
from plimsoll.worlds.virtual.workloads.types import Arrival

DAY_SECONDS = 86400.0
_DAYS = 7
_STEP_SECONDS = 60.0  # for which the rate is taken as constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """How the rate goes up and down: one wave a day, and days of their own height.

    swing     share of the day's mean by which the wave rises and falls, from 0 to 1
    busiest   hour of the day at its top, from 0 to 24
    weekdays  seven times the mean, the workload's first day first
    """

    swing: float = 0.6
    busiest: float = 15.0
    weekdays: tuple[float, ...] = (1.0,) * _DAYS

    def __post_init__(self) -> None:
        fine = (
            0 <= self.swing <= 1
            and 0 <= self.busiest <= 24
            and len(self.weekdays) == _DAYS
            and all(0 <= day < inf for day in self.weekdays)
            and any(self.weekdays)
        )
        if not fine:
            raise InputError(
                f"no week has a swing of {self.swing:g}, its busiest hour at {self.busiest:g} and "
                f"the weekdays {self.weekdays}",
                hint="a swing from 0 to 1, an hour from 0 to 24, seven factors from 0",
                code="workload.week",
            )

    def at(self, seconds: float) -> float:
        """Times the mean rate, at a time of the workload."""
        day, hour = divmod(seconds, DAY_SECONDS)
        wave = cos(2 * pi * (hour / DAY_SECONDS - self.busiest / 24))
        return self.weekdays[int(day) % _DAYS] * (1 + self.swing * wave)


EVEN = Week(swing=0.0)
"""The same rate at all times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """Requests at a rate, as uneven as wished.

    rate     mean requests/s, before the weekdays' factors
    seconds  how long
    lengths  of the requests
    seed     of all that is drawn
    burst    standard deviation of the time between requests over its mean: 1 is Poisson, above
             it requests come in bursts (times between them of a gamma distribution)
    week     how the rate goes up and down
    model    that is asked
    """

    rate: float
    seconds: float
    lengths: Lengths
    seed: int = 0
    burst: float = 1.0
    week: Week = EVEN
    model: str = "default"

    def __post_init__(self) -> None:
        check_rate(self.rate, self.seconds)
        if not 0 < self.burst <= 100:
            raise InputError(
                f"bursts of {self.burst:g} cannot be drawn",
                hint="1 is Poisson, 3 bursty; it must be above 0 and at most 100",
                code="workload.burst",
            )

    def at_rate(self, factor: float) -> Synthetic:
        """As many times as many requests, as uneven as before."""
        return replace(self, rate=self.rate * factor)

    def between(self, begin: float, end: float) -> _Part:
        """The part from `begin` to `end` seconds."""
        return _Part(of=self, begin=begin, end=min(end, self.seconds))

    def __iter__(self) -> Iterator[Arrival]:
        """See Workload."""
        return self.part(0.0, self.seconds)

    def part(self, begin: float, end: float) -> Iterator[Arrival]:
        """The requests of a part, at seconds from its beginning."""
        when, what = Random(f"{self.seed} times"), Random(f"{self.seed} lengths")
        draw, model = self.lengths.draw, self.model
        for at in moments(rate=self.rate, burst=self.burst, week=self.week, chance=when):
            if at >= end:
                return
            prompt_tokens, output_tokens = draw(what)
            if at >= begin:
                yield Arrival(
                    at=at - begin,
                    prompt_tokens=prompt_tokens,
                    output_tokens=output_tokens,
                    model=model,
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    of: Synthetic
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        return max(0.0, self.end - self.begin)

    def at_rate(self, factor: float) -> _Part:
        return replace(self, of=self.of.at_rate(factor))

    def between(self, begin: float, end: float) -> _Part:
        return replace(self, begin=self.begin + begin, end=min(self.end, self.begin + end))

    def __iter__(self) -> Iterator[Arrival]:
        return self.of.part(self.begin, self.end)


def check_rate(rate: float, seconds: float) -> None:
    """Raise InputError unless there is a rate and a time."""
    if not (0 < rate < inf and 0 < seconds < inf):
        raise InputError(
            f"{rate:g} requests/s for {seconds:g} s is no workload",
            hint="both must be above 0, and the time must have an end",
            code="workload.rate",
        )


def moments(
    *, rate: float, burst: float, week: Week, chance: Random, origin: float = 0.0
) -> Iterator[float]:
    """Times of requests without end, seconds, from `origin` on.

    Gaps are drawn as if the rate were 1 and then passed at the rate of each minute, so that
    bursts are as uneven at night as by day.
    """
    shape = burst**-2
    # As if it had been going on for long: the first gap is the rest of one that is met midway.
    gap = chance.random() * chance.gammavariate(shape + 1, 1 / shape)
    at = origin
    minute = floor(origin / _STEP_SECONDS)
    while True:
        until = (minute + 1) * _STEP_SECONDS
        speed = rate * week.at(until - _STEP_SECONDS / 2)
        while (left := (until - at) * speed) > gap:
            at += gap / speed
            yield at
            gap = chance.expovariate(1.0) if burst == 1 else chance.gammavariate(shape, 1 / shape)
        gap -= left
        at = until
        minute += 1
