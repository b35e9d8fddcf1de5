"""Replicas of several accelerators, each inside one node: the fewest nodes that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from plimsoll.errors import InputError
from plimsoll.plan.share.cover import cover
from plimsoll.plan.share.geometry import Counts, undominated

_MOST_WAYS = 5_000


def chained(sizes: Iterable[int]) -> bool:
    """Whether each size divides the next larger one, as 1, 2, 4, 8 do."""
    return all(large % small == 0 for small, large in pairwise(sorted(sizes)))


def node_patterns(sizes: tuple[int, ...], per_node: int) -> tuple[Counts, ...]:
    """How many of each size one node can hold; those that no other exceeds.

    Raises InputError where there are more than 5,000 ways to fill a node.
    """
    ways: list[Counts] = []
    for way in _ways(sizes, per_node):
        ways.append(way)
        if len(ways) > _MOST_WAYS:
            raise InputError(
                f"replicas of {', '.join(map(str, sizes))} accelerators fill a node of {per_node} "
                "in too many ways",
                hint="use sizes that divide each other, such as 1, 2, 4 and 8",
                code="share.too-many-node-patterns",
            )
    return undominated(ways)


def fill(parts: Mapping[int, int], per_node: int) -> tuple[tuple[int, ...], ...]:
    """The sizes on each of the fewest nodes, largest first.

    parts     how many of each size
    per_node  accelerators of a node, no smaller than the largest size

    Sizes that divide each other fill nodes greedily without loss (a node that cannot take one more
    of a size has less than that left); others are covered by whole nodes.
    """
    counts = {size: count for size, count in sorted(parts.items(), reverse=True) if count}
    if chained(counts):
        return _largest_first(counts, per_node)
    sizes = tuple(counts)
    ways = node_patterns(sizes, per_node)
    found = cover(ways, tuple(counts.values()))
    assert found is not None, "every size is in a pattern"
    left = dict(counts)
    nodes: list[tuple[int, ...]] = []
    for way, use in zip(ways, found.uses, strict=True):
        for _ in range(use):
            kept = [min(have, left[size]) for size, have in zip(sizes, way, strict=True)]
            for size, number in zip(sizes, kept, strict=True):
                left[size] -= number
            nodes.append(
                tuple(size for size, number in zip(sizes, kept, strict=True) for _ in range(number))
            )
    return tuple(nodes)


def _largest_first(counts: Mapping[int, int], per_node: int) -> tuple[tuple[int, ...], ...]:
    """Into the first node with room; nodes before `first` have none for this size or a larger."""
    nodes: list[list[int]] = []
    room: list[int] = []
    for size, count in counts.items():
        first = 0
        for _ in range(count):
            while first < len(nodes) and room[first] < size:
                first += 1
            if first == len(nodes):
                nodes.append([])
                room.append(per_node)
            nodes[first].append(size)
            room[first] -= size
    return tuple(tuple(node) for node in nodes)


def _ways(sizes: tuple[int, ...], room: int) -> Iterator[Counts]:
    """Numbers of each size that fit; of the last size as many as do."""
    if not sizes:
        yield ()
        return
    most = room // sizes[0]
    for number in [most] if len(sizes) == 1 else range(most, -1, -1):
        for rest in _ways(sizes[1:], room - number * sizes[0]):
            yield (number, *rest)
