"""Which replica gets the next request: the one with the most room, ties in turn. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar


class Load(Protocol):
    """What routing must know of a replica.

    capacity   requests it works on at once
    in_flight  requests it has now
    """

    @property
    def capacity(self) -> int:
        """Requests it works on at once."""
        ...

    @property
    def in_flight(self) -> int:
        """Requests it has now."""
        ...


L = TypeVar("L", bound=Load)


def least_loaded(replicas: Sequence[L], *, turn: int, avoid: Collection[L] = ()) -> L | None:
    """The replica with the smallest share of its capacity in use, or None when all are full.

    turn   a counter that grows by one per choice, so that ties go round
    avoid  replicas that come last whatever their load: an earlier try failed there
    """
    count = len(replicas)
    best: L | None = None
    best_key = (True, 1.0)
    for step in range(count):
        replica = replicas[(turn + step) % count]
        share = replica.in_flight / replica.capacity if replica.capacity else 1.0
        if share >= 1.0:
            continue
        key = (replica in avoid if avoid else False, share)
        if best is None or key < best_key:
            best, best_key = replica, key
    return best
