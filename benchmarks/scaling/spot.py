"""Spot replicas and how they are lost: one by one, and many of a zone at once."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from random import Random

from plimsoll.facts.instances import instances

PROVIDER, ACCELERATOR, COUNT = "gcp", "H100-80GB-SXM", 2
"""Whose price for two of these GPUs is taken: the only one sold in this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """How spot replicas behave. Assumed, and harsher than what providers publish.

    share   of the replicas that are spot
    notice  seconds between the notice and the loss
    life    hours that one lasts on average
    zones   over which they are spread evenly
    calm    hours between two times at which a zone takes half of its replicas back
    seed    of what is drawn
    """

    share: float = 0.7
    notice: int = 30
    life: float = 12.0
    zones: int = 3
    calm: float = 48.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Some spot replicas are lost.

    at       second of the notice
    part     of those there are that go; 0 where one or none goes
    chance   between 0 and 1: one goes where there are at least `chance` times `most`
    most     as many replicas as single losses were drawn for
    """

    at: int
    part: float
    chance: float = 0.0
    most: int = 1

    def count(self, staying: int) -> int:
        """Replicas that go, of those that stay."""
        if self.part:
            return ceil(staying * self.part)
        return int(staying > self.chance * self.most)


def drawn(spot: Spot, seconds: int, most: int = 500) -> list[Loss]:
    """Losses in the order of time. Single ones are drawn for `most` replicas and thinned."""
    chance = Random(spot.seed)
    losses = []
    at = 0.0
    while (at := at + chance.expovariate(most / (spot.life * 3600))) < seconds:
        losses.append(Loss(at=int(at), part=0.0, chance=chance.random(), most=most))
    at = 0.0
    while (at := at + chance.expovariate(spot.zones / (spot.calm * 3600))) < seconds:
        losses.append(Loss(at=int(at), part=0.5 / spot.zones))
    return sorted(losses, key=lambda loss: loss.at)


def price() -> float:
    """A spot replica's price as a share of one on demand, from the table of instances."""
    for row in instances():
        sold = (row.provider, row.accelerator, row.count) == (PROVIDER, ACCELERATOR, COUNT)
        if sold and row.spot and row.on_demand:
            return row.spot / row.on_demand
    raise LookupError(f"no spot price of {COUNT} {ACCELERATOR} at {PROVIDER}")
