"""The fewest accelerators that hold the wanted MIG instances, and why fewer cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from plimsoll.errors import DoesNotFit
from plimsoll.plan.share.cover import Cover, cover, weighed
from plimsoll.plan.share.geometry import (
    Counts,
    Geometry,
    Layout,
    demanded,
    patterns,
    placements,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Accelerators that are cut alike.

    count   how many
    layout  the instances of each
    """

    count: int
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Accelerators and their instances.

    geometry  what the accelerators can be cut into
    runs      alike accelerators together; the instances are exactly those that were wanted
    gpus      accelerators in all
    bound     no packing has fewer
    weights   weight of an instance per profile, so that no accelerator holds more than 1: the
              wanted instances' weight, rounded up, is `bound` unless `searched`
    searched  whether the bound is above that of the weights, proven by an exhaustive search
    """

    geometry: Geometry
    runs: tuple[Run, ...]
    gpus: int
    bound: int
    weights: Mapping[str, Fraction]
    searched: bool

    @property
    def proven(self) -> bool:
        """Whether it is proven that fewer accelerators do not hold them."""
        return self.gpus == self.bound

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The instances of each accelerator."""
        return tuple(run.layout for run in self.runs for _ in range(run.count))


def pack(demands: Mapping[str, int], geometry: Geometry, *, limit: int | None = None) -> Packing:
    """The fewest accelerators of one type that hold the wanted instances.

    demands   instances per profile name
    geometry  of the accelerator
    limit     accelerators that there are; None: any number

    Raises InputError for a profile that the accelerator lacks, DoesNotFit beyond the limit.
    """
    wanted = demanded(geometry, demands)
    found = cover(patterns(geometry), wanted)
    assert found is not None, "every profile is in a pattern"
    if limit is not None and found.total > limit:
        raise _too_many(geometry, wanted, found, limit)
    return Packing(
        geometry=geometry,
        runs=tuple(trimmed(geometry, wanted, zip(patterns(geometry), found.uses, strict=True))),
        gpus=found.total,
        bound=found.bound,
        weights={
            profile.name: weight
            for profile, weight in zip(geometry.profiles, found.weights, strict=True)
        },
        searched=found.searched,
    )


def trimmed(
    geometry: Geometry, wanted: Counts, uses: Iterable[tuple[Counts, int]]
) -> Iterator[Run]:
    """Accelerators cut by these patterns, less the instances that nobody wanted.

    wanted  instances per profile, which the patterns cover
    uses    patterns, each with the number of accelerators that are cut so
    """
    left = wanted
    for pattern, use in uses:
        remaining = use
        while remaining:
            kept = tuple(min(have, need) for have, need in zip(pattern, left, strict=True))
            if not any(kept):
                break
            alike = min(need // have for have, need in zip(kept, left, strict=True) if have)
            alike = min(alike, remaining)
            yield Run(count=alike, layout=placements(geometry)[kept])
            left = tuple(need - have * alike for have, need in zip(kept, left, strict=True))
            remaining -= alike


def weight_bound(
    demands: Mapping[str, int], geometry: Geometry, weights: Mapping[str, Fraction]
) -> int:
    """Accelerators that are needed at least, if these weights are a certificate.

    Checks every pattern: ValueError where one weighs more than 1, or a weight is negative.
    """
    ordered = [weights[profile.name] for profile in geometry.profiles]
    heaviest = max(weighed(ordered, pattern) for pattern in patterns(geometry))
    if heaviest > 1 or min(ordered) < 0:
        raise ValueError(f"not a certificate: an accelerator may weigh {heaviest}")
    return ceil(weighed(ordered, demanded(geometry, demands)))


def _too_many(geometry: Geometry, wanted: Counts, found: Cover, limit: int) -> DoesNotFit:
    words = ", ".join(
        f"{number} x {profile.name}"
        for profile, number in zip(geometry.profiles, wanted, strict=True)
        if number
    )
    least = f"{found.bound} at least" if found.proven else f"{found.total}"
    return DoesNotFit(
        f"{words} take {least} of {geometry.accelerator}, and there are {limit}",
        hint="take smaller profiles, fewer replicas or more accelerators",
        code="share.too-many-slices",
    )
