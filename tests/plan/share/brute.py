"""MIG layouts and packings by brute force: slow, plain, without the code that is checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from plimsoll.plan.share.geometry import Geometry, mig_geometry

H100 = mig_geometry("H100-80GB-SXM")
A30 = mig_geometry("A30")
assert H100 is not None
assert A30 is not None


def overlap_free(geometry: Geometry, instances: Sequence[tuple[str, int]]) -> bool:
    """Whether (profile, start) pairs are a legal state: by sets of slices and plain counting."""
    shapes = {p.name: p for p in geometry.profiles}
    cells: list[int] = []
    for name, start in instances:
        if start not in shapes[name].starts:
            return False
        cells.extend(range(start, start + shapes[name].memory))
    if len(cells) != len(set(cells)) or any(cell >= geometry.memory for cell in cells):
        return False
    if sum(shapes[name].compute for name, _ in instances) > geometry.compute:
        return False
    held = Counter(name for name, _ in instances)
    return all(count <= shapes[name].most for name, count in held.items())


def every_subset(geometry: Geometry) -> Iterator[tuple[tuple[str, int], ...]]:
    """Every set of (profile, start) pairs, legal or not."""
    pairs = [(p.name, start) for p in geometry.profiles for start in p.starts]
    for mask in range(1 << len(pairs)):
        yield tuple(pair for i, pair in enumerate(pairs) if mask >> i & 1)


@cache
def realisable(geometry: Geometry) -> frozenset[tuple[int, ...]]:
    """Counts per profile for which some set of pairs is legal."""
    names = [p.name for p in geometry.profiles]
    found: set[tuple[int, ...]] = set()
    for subset in every_subset(geometry):
        if overlap_free(geometry, subset):
            held = Counter(name for name, _ in subset)
            found.add(tuple(held[name] for name in names))
    return frozenset(found)


@cache
def largest(geometry: Geometry) -> tuple[tuple[int, ...], ...]:
    """Of the realisable counts those to which nothing can be added: trying these is enough."""
    every = realisable(geometry)
    one_more = [
        tuple(int(i == place) for i in range(len(geometry.profiles)))
        for place in range(len(geometry.profiles))
    ]
    return tuple(
        way
        for way in every
        if not any(
            tuple(a + b for a, b in zip(way, more, strict=True)) in every for more in one_more
        )
    )


def fewest(geometry: Geometry, demand: tuple[int, ...]) -> int:
    """Accelerators, by trying every full set on each: breadth first, all remainders."""
    ways = largest(geometry)
    reached, number = {demand}, 0
    while not any(not any(left) for left in reached):
        reached = {
            tuple([a - b if a > b else 0 for a, b in zip(left, way, strict=True)])
            for left in reached
            for way in ways
        }
        number += 1
    return number
