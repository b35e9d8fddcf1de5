"""Chance without memory: a number for a name, the same whenever it is asked."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from hashlib import blake2b
from itertools import accumulate


def share_of(seed: int, purpose: str, name: str) -> float:
    """A number from 0 to below 1 that looks drawn, for a name and what it is drawn for."""
    digest = blake2b(f"{seed} {purpose} {name}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)


def weighted(weights: Mapping[str, float]) -> Callable[[float], str]:
    """The name at a share (0 to below 1) of the sum of the weights; empty without any name."""
    names = [name for name, weight in weights.items() if weight > 0]
    edges = list(accumulate(weights[name] for name in names))
    if not names:
        return lambda _: ""
    total, last = edges[-1], len(names) - 1
    return lambda share: names[min(last, bisect_right(edges, share * total))]
