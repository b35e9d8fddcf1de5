"""How long something takes, by chance: distributions to draw seconds from."""

from __future__ import annotations

from math import exp, log
from random import Random
from typing import Protocol

import msgspec

_NORMAL_90 = 1.2815515655446004  # the 90th percentile of a normal distribution


class Duration(Protocol):
    """Seconds by chance."""

    def draw(self, chance: Random) -> float:
        """Some seconds, 0 or more."""
        ...

    @property
    def median(self) -> float:
        """What half of them do not exceed."""
        ...


class Constant(msgspec.Struct, frozen=True, kw_only=True):
    """Always the same number of seconds."""

    seconds: float = 0.0

    def draw(self, chance: Random) -> float:
        """See Duration.draw."""
        return self.seconds

    @property
    def median(self) -> float:
        """See Duration.median."""
        return self.seconds


class LogNormal(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds whose logarithm is normal, as those of starts mostly are.

    p50, p90  quantiles, seconds; above 0
    """

    p50: float
    p90: float

    def __post_init__(self) -> None:
        if not 0.0 < self.p50 <= self.p90:
            raise ValueError("p50 is above 0 and not above p90")

    def draw(self, chance: Random) -> float:
        """See Duration.draw."""
        return self.p50 * exp(chance.gauss(0.0, 1.0) * log(self.p90 / self.p50) / _NORMAL_90)

    @property
    def median(self) -> float:
        """See Duration.median."""
        return self.p50


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds as they were measured: any of these, as likely as any other."""

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.seconds or min(self.seconds) < 0.0:
            raise ValueError("seconds: one measurement or more, none below 0")

    def draw(self, chance: Random) -> float:
        """See Duration.draw."""
        return chance.choice(self.seconds)

    @property
    def median(self) -> float:
        """See Duration.median."""
        return sorted(self.seconds)[len(self.seconds) // 2]
