"""Ways that another way of the same service replaces at no more cost: left out of the search."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from plimsoll.plan.share.buckets import Way, matching
from plimsoll.plan.share.geometry import Geometry, Profile, layouts
from plimsoll.plan.share.types import Alternative, Offer


def pruned(ways: Sequence[Way], offers: Sequence[Offer]) -> tuple[Way, ...]:
    """The ways without those that take room in which another of the service fits as well.

    The cheapest assignment stays as cheap: wherever the one is placed the other could be, on the
    same accelerators. Of ways that replace each other the first stays.
    """
    by_service: dict[str, list[Way]] = {}
    for way in ways:
        kept = by_service.setdefault(way.service.name, [])
        if any(_replaces(other, way, offers) for other in kept):
            continue
        kept[:] = [other for other in kept if not _replaces(way, other, offers)]
        kept.append(way)
    return tuple(way for kept in by_service.values() for way in kept)


def _replaces(leaner: Way, way: Way, offers: Sequence[Offer]) -> bool:
    """Whether the room of the one always holds the other; False where that is not known."""
    a, b = leaner.alternative, way.alternative
    if a.accelerator != b.accelerator:
        return False
    used = {bucket.offer for bucket in way.buckets}
    if not used <= {bucket.offer for bucket in leaner.buckets}:
        return False
    if not b.replicas or not a.replicas:
        return not a.replicas
    return all(
        a.replicas <= b.replicas * _inside(a, b, offer)
        for offer in matching(b, offers)
        if offer.name in used
    )


def _inside(a: Alternative, b: Alternative, offer: Offer) -> int:
    """Replicas of `a` that fit into the room of one replica of `b`, wherever that lies."""
    whole_a = a.sharing in ("none", "dra") and not a.profile and a.share == 1
    whole_b = b.sharing in ("none", "dra") and not b.profile and b.share == 1
    if whole_a and whole_b:
        if a.sharing != b.sharing:
            return 0
        each_a, each_b = a.devices // a.nodes, b.devices // b.nodes
        return each_b // each_a * b.nodes // a.nodes
    if not a.profile or a.sharing not in ("mig", "dra") or offer.single or offer.layout:
        return 0
    assert offer.geometry is not None
    if whole_b:
        return b.devices * _fitting(offer.geometry, a.profile, "")
    if b.profile and a.sharing == b.sharing:
        return _fitting(offer.geometry, a.profile, b.profile)
    return 0


@cache
def _fitting(geometry: Geometry, small: str, large: str) -> int:
    """Instances of one profile in place of one of another, wherever that lies; or on a whole one.

    They take no more compute than what they replace. A profile of which there may be fewer than
    have room (a media variant) replaces only itself: others of it may be beside.
    """
    if small == large:
        return 1
    little = geometry.profile(small)
    if large and little.most < _with_room(little):
        return 0
    if not large:
        regions = [(0, geometry.memory, geometry.compute)]
    else:
        big = geometry.profile(large)
        regions = [(start, start + big.memory, big.compute) for start in big.starts]
    return min(
        max(
            len(layout)
            for layout in layouts(geometry)
            if len(layout) * little.compute <= compute
            and all(
                instance.profile == small
                and low <= instance.start
                and instance.start + little.memory <= high
                for instance in layout
            )
        )
        for low, high, compute in regions
    )


def _with_room(profile: Profile) -> int:
    """Instances of the profile that lie side by side, however many are allowed."""
    count = end = 0
    for start in profile.starts:
        if start >= end:
            count, end = count + 1, start + profile.memory
    return count
