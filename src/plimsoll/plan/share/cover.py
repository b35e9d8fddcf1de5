"""The fewest patterns that cover a demand, with a proof that fewer cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from plimsoll.plan.share.simplex import Counts, FractionalCover, fractional_cover

_MOST_NODES = 20_000  # of the search; more than any instance has needed by a factor of hundreds


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Whole uses of patterns that cover a demand.

    uses     how often each pattern is used
    total    their sum
    bound    no cover has fewer
    weights  weight of each demanded thing; no pattern weighs more than 1, so that the demand's
             weight, rounded up, is a bound that anybody can check
    searched whether the bound is above that of the weights, proven by branching
    """

    uses: tuple[int, ...]
    total: int
    bound: int
    weights: tuple[Fraction, ...]
    searched: bool = False

    @property
    def proven(self) -> bool:
        """Whether the cover is proven to be the smallest."""
        return self.total == self.bound


def weighed(weights: Sequence[Fraction], counts: Counts) -> Fraction:
    """Sum of weight times count."""
    total = Fraction(0)
    for weight, count in zip(weights, counts, strict=True):
        if count:
            total += weight * count
    return total


def cover(patterns: Sequence[Counts], demand: Counts) -> Cover | None:
    """The smallest cover; None where the patterns lack something that is demanded.

    Fractional optimum, its whole part, and the rest by greedy choice; where that is not as small
    as the bound, branch and bound with the same exact fractional optimum at each node.
    """
    root = fractional_cover(patterns, demand, {})
    if root is None:
        return None
    bound = ceil(root.total)
    uses = _rounded(patterns, demand, root)
    first = Cover(uses=uses, total=sum(uses), bound=bound, weights=root.weights)
    return first if first.proven else _search(patterns, demand, first)


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of the search: patterns already taken, most uses beyond them, what is still wanted."""

    taken: tuple[int, ...]
    limits: Mapping[int, int]
    demand: Counts


def _search(patterns: Sequence[Counts], demand: Counts, best: Cover) -> Cover:
    stack = [_Node((0,) * len(patterns), {}, demand)]
    visited = 0
    while stack and not best.proven:
        node = stack.pop()
        visited += 1
        if visited > _MOST_NODES:
            return best
        relaxed = fractional_cover(patterns, node.demand, node.limits)
        base = sum(node.taken)
        if relaxed is None or base + ceil(relaxed.total) >= best.total:
            continue
        found = _rounded(patterns, node.demand, relaxed)
        if base + sum(found) < best.total:
            uses = tuple(a + b for a, b in zip(node.taken, found, strict=True))
            best = replace(best, uses=uses, total=sum(uses))
        stack.extend(_branches(patterns, node, relaxed))
    return best if best.proven else replace(best, bound=best.total, searched=True)


def _branches(
    patterns: Sequence[Counts], node: _Node, relaxed: FractionalCover
) -> tuple[_Node, ...]:
    """Fewer or more of the pattern that is farthest from whole; more is looked at first.

    Without one the fractional cover is whole, and rounding has already found it.
    """
    chosen = max(range(len(patterns)), key=lambda j: min(relaxed.uses[j] % 1, -relaxed.uses[j] % 1))
    use = relaxed.uses[chosen]
    if use.denominator == 1:
        return ()
    fewer = _Node(node.taken, {**node.limits, chosen: floor(use)}, node.demand)
    more = ceil(use)
    taken = tuple(have + more * (j == chosen) for j, have in enumerate(node.taken))
    limits = {j: most - more * (j == chosen) for j, most in node.limits.items()}
    return (fewer, _Node(taken, limits, _less(node.demand, patterns[chosen], more)))


def _rounded(
    patterns: Sequence[Counts], demand: Counts, relaxed: FractionalCover
) -> tuple[int, ...]:
    """The whole part of a fractional cover, the rest by the pattern that serves most weight.

    It may use a pattern more often than a branch allows: what it finds is a cover all the same.
    """
    uses = [floor(use) for use in relaxed.uses]
    left = demand
    for pattern, use in zip(patterns, uses, strict=True):
        if use:
            left = _less(left, pattern, use)
    scale = max((w.denominator for w in relaxed.weights), default=1)
    values = [floor(weight * scale * len(demand)) + 1 for weight in relaxed.weights]
    while any(left):
        chosen = max(range(len(patterns)), key=lambda j: _served(patterns[j], left, values))
        uses[chosen] += 1
        left = _less(left, patterns[chosen], 1)
    return tuple(uses)


def _served(pattern: Counts, left: Counts, values: Sequence[int]) -> int:
    return sum(
        min(have, need) * value
        for have, need, value in zip(pattern, left, values, strict=True)
        if need
    )


def _less(demand: Counts, pattern: Counts, times: int) -> Counts:
    return tuple(
        need - have * times if need > have * times else 0
        for need, have in zip(demand, pattern, strict=True)
    )
