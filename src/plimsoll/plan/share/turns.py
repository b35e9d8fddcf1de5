"""Replicas that take turns on one accelerator: the fewest accelerators for their shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from plimsoll.errors import InputError
from plimsoll.plan.share.cover import Cover, cover
from plimsoll.plan.share.geometry import Counts, undominated

_WHOLE = 10**6  # shares are read to a millionth, rounded down, so that three thirds fit
_MOST_PATTERNS = 400  # distinct ways to fill an accelerator up to which the proof is exhaustive
_MOST_STEPS = 50_000  # in looking for those ways


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Replicas alike that each take part of an accelerator.

    name    of the service
    share   of the accelerator's compute, above 0, at most 1
    memory  bytes
    count   replicas
    """

    name: str
    share: float
    memory: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Which replicas share which accelerator.

    gpus    replicas per part on each accelerator, in the order of the parts
    bound   no arrangement has fewer accelerators
    """

    gpus: tuple[Counts, ...]
    bound: int

    @property
    def proven(self) -> bool:
        """Whether it is proven that fewer accelerators do not hold them."""
        return len(self.gpus) == self.bound


def slots_for(share: float, memory: int, device_memory: int) -> int:
    """Equal slots that an accelerator may have so that each holds such a replica."""
    by_share = _WHOLE // max(1, _millionths(share))
    by_memory = device_memory // memory if memory else by_share
    return min(by_share, by_memory)


def take_turns(parts: Sequence[Part], *, memory: int, slots: int = 0) -> Turns:
    """The fewest accelerators on which these replicas fit, two resources at once.

    memory  bytes of one accelerator
    slots   most replicas on one accelerator; 0: any number

    Largest first is tried, then a cover by all ways to fill an accelerator, which proves itself.
    With more than 400 such ways the smaller of the two answers stands, with a bound that may be
    lower. Raises InputError for a replica that fits on no accelerator.
    """
    sizes = [_size(part, memory) for part in parts]
    most = slots or sum(part.count for part in parts)
    demand = tuple(part.count for part in parts)
    greedy = _largest_first(sizes, demand, memory, most)
    bound = _volume_bound(sizes, demand, memory, most)
    if len(greedy) == bound:
        return Turns(gpus=greedy, bound=bound)
    ways = _ways(sizes, demand, memory, most)
    found = cover(ways, demand) if ways is not None else None
    if ways is None or found is None:
        return Turns(gpus=greedy, bound=bound)
    exact = _arranged(ways, found, demand)
    return Turns(gpus=min(greedy, exact, key=len), bound=max(bound, found.bound))


def _millionths(share: float) -> int:
    return int(share * _WHOLE + 1e-6)


def _size(part: Part, memory: int) -> tuple[int, int]:
    if not 0 < part.share <= 1:
        raise InputError(
            f"`{part.name}` asks for {part.share:g} of an accelerator",
            hint="a share is above 0 and at most 1",
            code="share.share-out-of-range",
        )
    if not 0 <= part.memory <= memory:
        raise InputError(
            f"`{part.name}` takes {part.memory} bytes of an accelerator that has {memory}",
            hint="take a larger accelerator or a smaller model",
            code="share.memory",
        )
    return (_millionths(part.share), part.memory)


def _volume_bound(sizes: Sequence[tuple[int, int]], demand: Counts, memory: int, most: int) -> int:
    """Sum over capacity in each resource, and replicas of which no two fit together."""
    pairs = list(zip(sizes, demand, strict=True))
    share = sum(size[0] * count for size, count in pairs)
    held = sum(size[1] * count for size, count in pairs)
    apart = max(
        sum(count for size, count in pairs if 2 * size[0] > _WHOLE),
        sum(count for size, count in pairs if 2 * size[1] > memory),
    )
    fractions = (-(-share // _WHOLE), -(-held // memory) if memory else 0)
    return max(*fractions, apart, ceil(sum(demand) / most) if most else 0)


def _largest_first(
    sizes: Sequence[tuple[int, int]], demand: Counts, memory: int, most: int
) -> tuple[Counts, ...]:
    """Replicas in descending order of their larger resource, each into the fullest that fits."""
    order = sorted(
        range(len(sizes)),
        key=lambda i: (-max(sizes[i][0] / _WHOLE, sizes[i][1] / memory if memory else 0), i),
    )
    bins: list[tuple[list[int], list[int]]] = []
    for i in order:
        for _ in range(demand[i]):
            fitting = [
                (room, held)
                for room, held in bins
                if room[0] >= sizes[i][0] and room[1] >= sizes[i][1] and sum(held) < most
            ]
            if not fitting:
                fitting = [([_WHOLE, memory], [0] * len(sizes))]
                bins.extend(fitting)
            room, held = min(fitting, key=lambda pair: pair[0][0] + pair[0][1])
            room[0] -= sizes[i][0]
            room[1] -= sizes[i][1]
            held[i] += 1
    return tuple(tuple(held) for _, held in bins)


def _ways(
    sizes: Sequence[tuple[int, int]], demand: Counts, memory: int, most: int
) -> tuple[Counts, ...] | None:
    """Ways to fill an accelerator that no other exceeds; None where they are too many."""
    found: list[Counts] = []
    for step, way in enumerate(_fillings(sizes, demand, (_WHOLE, memory, most), 0)):
        if step >= _MOST_STEPS:
            return None
        if way is not None:
            found.append(way)
            if len(found) > 4 * _MOST_PATTERNS:
                return None
    kept = undominated(found)
    return kept if len(kept) <= _MOST_PATTERNS else None


def _fillings(
    sizes: Sequence[tuple[int, int]], demand: Counts, room: tuple[int, int, int], at: int
) -> Iterator[Counts | None]:
    """Numbers of each part from `at` on that fit, those that take most of it first."""
    yield None  # one step of the search, so that the caller can count and stop
    if at == len(sizes):
        yield ()
        return
    share, memory = sizes[at]
    most = min(
        demand[at],
        room[0] // share if share else demand[at],
        room[1] // memory if memory else demand[at],
        room[2],
    )
    for number in range(most, -1, -1):
        left = (room[0] - number * share, room[1] - number * memory, room[2] - number)
        for rest in _fillings(sizes, demand, left, at + 1):
            yield None if rest is None else (number, *rest)


def _arranged(ways: Sequence[Counts], found: Cover, demand: Counts) -> tuple[Counts, ...]:
    """What each accelerator holds, less the replicas that nobody wanted."""
    left = list(demand)
    gpus: list[Counts] = []
    for way, use in zip(ways, found.uses, strict=True):
        for _ in range(use):
            kept = tuple(min(have, need) for have, need in zip(way, left, strict=True))
            left = [need - have for need, have in zip(left, kept, strict=True)]
            gpus.append(kept)
    return tuple(gpus)
