"""Which replica gets the next request, and how much of it one of several gateways may use. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Load(Protocol):
    """What routing must know of a replica.

    capacity   requests it works on at once, whoever sends them
    in_flight  requests it has now from this gateway
    others     requests it has from others, as far as known
    limit      of `in_flight`: with so many it gets no more from this gateway
    """

    @property
    def capacity(self) -> int:
        """Requests it works on at once."""
        ...

    @property
    def in_flight(self) -> int:
        """Requests it has now from this gateway."""
        ...

    @property
    def others(self) -> int:
        """Requests it has from others."""
        ...

    @property
    def limit(self) -> int:
        """Requests that this gateway may have there."""
        ...


L = TypeVar("L", bound=Load)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a replica said of itself at one moment.

    requests  it ran and queued, whoever sent them
    own       of this gateway: the most that it had there while it asked, lest requests that end
              meanwhile count as those of others
    before    what `requests` was at the report before this
    """

    requests: int
    own: int
    before: int = 0


def others(report: Report | None) -> int:
    """Requests of others at a replica; 0 where nothing is known, so that only one's own count."""
    return max(0, report.requests - report.own) if report is not None else 0


def limit(capacity: int, gateways: int, report: Report | None) -> int:
    """Requests that one of several gateways may have at a replica.

    Always its equal share, rounded up: no gateway starves behind another that came first. Above
    that, what it had at the report and its part of the room that was left then: gateways that all
    act on the same report do not overload the replica, and one that is busy alone comes to all of
    it within a few reports. Where the replica had too much, the busy ones give back. The larger
    of two reports counts, for between two requests a busy replica looks free for a moment.
    """
    share = -(-capacity // gateways)
    if report is None:
        return share
    free = capacity - max(report.requests, report.before, report.own)
    return min(capacity, max(share, report.own + free // gateways))


def least_loaded(replicas: Sequence[L], *, turn: int, avoid: Collection[L] = ()) -> L | None:
    """The replica with the smallest share of its capacity in use, or None at every limit.

    turn   a counter that grows by one per choice, so that ties go round
    avoid  replicas that come last whatever their load: an earlier try failed there
    """
    count = len(replicas)
    best: L | None = None
    best_key = (True, 0.0)
    for step in range(count):
        replica = replicas[(turn + step) % count]
        if replica.in_flight >= replica.limit:
            continue
        key = (
            replica in avoid if avoid else False,
            (replica.in_flight + replica.others) / replica.capacity,
        )
        if best is None or key < best_key:
            best, best_key = replica, key
    return best
