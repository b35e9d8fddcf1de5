"""What the gateway knows: models, ready replicas, who waits and who is served. No I/O, no clock.

A request enters with a ticket. The ticket either waits or holds one place at one replica; it
alone gives the place back, once, whatever happens. So counts cannot leak or go below zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from plimsoll.gateway.errors import Refused
from plimsoll.policy.route import least_loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One ready replica.

    replica   its name, unique in the world
    host      address it listens on
    port      port it listens on
    capacity  requests it works on at once
    """

    replica: str
    host: str
    port: int
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One model that the gateway offers.

    name           as callers name it
    aliases        other names for it
    task           chat | completion | embedding
    context        tokens one request may hold
    assemble       whether whole answers are read from the engine as a stream, because it
                   notices a caller that left only when it writes
    stream_fields  fields added to every streamed request, so that the engine writes while it
                   reads the prompt; what it writes then is not passed on
    """

    name: str
    aliases: tuple[str, ...] = ()
    task: str
    context: int
    assemble: bool = False
    stream_fields: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDemand:
    """What is asked of a model now.

    queued     requests that wait for a place
    in_flight  requests that hold one
    last_used  when a request last came or ended, seconds of the caller's clock; None before
    """

    queued: int
    in_flight: int
    last_used: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait per model: requests, and bytes of their bodies."""

    requests: int
    bytes: int


class Place:
    """A replica as the board counts it.

    in_flight  tickets that hold a place here
    suspect    no new work before this time, or 0.0
    """

    __slots__ = ("capacity", "in_flight", "suspect", "upstream")

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.capacity = upstream.capacity
        self.in_flight = 0
        self.suspect = 0.0


class Ticket:
    """One request's claim on one model: it waits, or holds a place, or is done.

    place    where it holds a place, else None
    tried    places where an earlier try failed
    size     bytes that wait with it
    granted  called when a place is found after a wait
    """

    __slots__ = ("_queue", "granted", "place", "size", "tried")

    def __init__(self, queue: ModelQueue, size: int, granted: Callable[[], None]) -> None:
        self._queue = queue
        self.size = size
        self.granted = granted
        self.place: Place | None = None
        self.tried: tuple[Place, ...] = ()

    def again(self, now: float) -> bool:
        """Give the place back after a failed try and ask for one, ahead of those who wait.

        True when there is one at once; else `granted` is called later.
        """
        if self.place is not None:
            self.tried = (*self.tried, self.place)
        return self._queue.again(self, now)

    def leave(self, now: float) -> None:
        """Be done: the place or the wait is given up. More than once does no harm."""
        self._queue.leave(self, now)


class ModelQueue:
    """The replicas of one model and the tickets for it, first come first served.

    adapts  whether requests are changed for the engine, see Served
    """

    def __init__(
        self, served: Served, limits: QueueLimits, wake: Callable[[str], None] | None
    ) -> None:
        self.served = served
        self.adapts = served.assemble or bool(served.stream_fields)
        self.limits = limits
        self.last_used: float | None = None
        self.places: tuple[Place, ...] = ()
        self._ready: tuple[Place, ...] = ()  # places that are not suspect
        self._leaving: list[Place] = []
        self._first: dict[Ticket, None] = {}  # those who had a place and lost it
        self._waiting: dict[Ticket, None] = {}
        self._waiting_bytes = 0
        self._in_flight = 0
        self._turn = 0
        self._wake = wake
        self._granting = False

    @property
    def queued(self) -> int:
        """Tickets that wait."""
        return len(self._waiting) + len(self._first)

    @property
    def in_flight(self) -> int:
        """Tickets that hold a place, also at replicas that are leaving."""
        return self._in_flight

    def in_flight_at(self, replica: str) -> int:
        """Tickets that hold a place at one replica, also when it is leaving."""
        places = (*self.places, *self._leaving)
        return sum(place.in_flight for place in places if place.upstream.replica == replica)

    def enter(self, size: int, granted: Callable[[], None], now: float) -> Ticket:
        """A new ticket: with a place when one is free and nobody waits, else waiting.

        Raises Refused `queue_full`.
        """
        self.last_used = now
        ticket = Ticket(self, size, granted)
        if not (self._waiting or self._first) and self._place(ticket):
            return ticket
        limits = self.limits
        if self.queued >= limits.requests or self._waiting_bytes + size > limits.bytes:
            raise Refused(
                "queue_full",
                f"{self.queued} requests already wait for `{self.served.name}`",
                hint="try again later",
            )
        self._waiting[ticket] = None
        self._waiting_bytes += size
        self._call_for_replicas()
        return ticket

    def again(self, ticket: Ticket, now: float) -> bool:
        """See Ticket.again."""
        self.last_used = now
        self._drop(ticket)
        if self._place(ticket):
            self.grant()  # the place given back may suit another
            return True
        self._first[ticket] = None
        self._waiting_bytes += ticket.size
        self._call_for_replicas()
        return False

    def leave(self, ticket: Ticket, now: float) -> None:
        """See Ticket.leave."""
        if self._drop(ticket):
            self.last_used = now
            if self._waiting or self._first:
                self.grant()

    def replace(self, upstreams: tuple[Upstream, ...]) -> None:
        """Take these as the ready replicas; the ones that stay keep their counts."""
        known = {place.upstream: place for place in self.places}
        revived = {place.upstream: place for place in self._leaving}
        self.places = tuple(
            known.get(upstream) or revived.get(upstream) or Place(upstream)
            for upstream in dict.fromkeys(upstreams)
        )
        stay = set(self.places)
        gone = [place for place in (*known.values(), *self._leaving) if place not in stay]
        self._leaving = [place for place in gone if place.in_flight]
        self._ready = tuple(place for place in self.places if not place.suspect)
        self.grant()

    def suspect(self, place: Place, until: float) -> None:
        """Give a replica no new work for a moment."""
        place.suspect = until
        self._ready = tuple(place for place in self.places if not place.suspect)

    def tick(self, now: float) -> None:
        """End suspicions whose time is over."""
        if len(self._ready) == len(self.places):
            return
        for place in self.places:
            if place.suspect and place.suspect <= now:
                place.suspect = 0.0
        self._ready = tuple(place for place in self.places if not place.suspect)
        self.grant()

    def grant(self) -> None:
        """Give free places to those who wait, in their order."""
        if self._granting:  # a ticket that fails at once gives its place back in here
            return
        self._granting = True
        try:
            while self._first or self._waiting:
                ticket = next(iter(self._first or self._waiting))
                if not self._free(ticket):
                    return
                self._drop(ticket)
                self._place(ticket)
                ticket.granted()
        finally:
            self._granting = False

    def _free(self, ticket: Ticket) -> bool:
        return least_loaded(self._ready, turn=self._turn, avoid=ticket.tried) is not None

    def _place(self, ticket: Ticket) -> bool:
        place = least_loaded(self._ready, turn=self._turn, avoid=ticket.tried)
        if place is None:
            return False
        self._turn += 1
        place.in_flight += 1
        self._in_flight += 1
        ticket.place = place
        return True

    def _drop(self, ticket: Ticket) -> bool:
        """End a ticket's place or wait; False when it had neither."""
        place = ticket.place
        if place is not None:
            ticket.place = None
            place.in_flight -= 1
            self._in_flight -= 1
            if not place.in_flight and self._leaving:
                self._leaving = [other for other in self._leaving if other.in_flight]
            return True
        for line in (self._first, self._waiting):
            if ticket in line:
                del line[ticket]
                self._waiting_bytes -= ticket.size
                return True
        return False

    def _call_for_replicas(self) -> None:
        if self._wake is not None and not self.places:
            self._wake(self.served.name)


class Board:
    """Every model with its replicas and its demand."""

    def __init__(
        self, models: Iterable[Served], *, wake: Callable[[str], None] | None = None
    ) -> None:
        limits = QueueLimits(requests=2000, bytes=64 * 1024 * 1024)
        self._queues = {served.name: ModelQueue(served, limits, wake) for served in models}
        self._by_name = dict(self._queues)
        for queue in self._queues.values():
            for alias in queue.served.aliases:
                self._by_name.setdefault(alias, queue)
        self._changed: Callable[[], None] | None = None

    def limit(self, limits: QueueLimits) -> None:
        """Set how much may wait, for every model."""
        for queue in self._queues.values():
            queue.limits = limits

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called after the replicas of a model changed."""
        self._changed = changed

    def names(self) -> tuple[str, ...]:
        """The names of all models, in the fleet's order."""
        return tuple(self._queues)

    def spoken(self) -> tuple[str, ...]:
        """Every name that a caller may use: names and aliases."""
        return tuple(self._by_name)

    def find(self, name: str) -> ModelQueue | None:
        """The queue of a model by name or alias."""
        return self._by_name.get(name)

    def queues(self) -> Iterable[ModelQueue]:
        """The queue of every model."""
        return self._queues.values()

    def update(self, model: str, upstreams: tuple[Upstream, ...]) -> None:
        """Set the ready replicas of a model. Requests that wait are released to them; a replica
        that is no longer there gets no new work, and what runs on it goes on.

        Raises KeyError for a model that is not offered.
        """
        self._queues[model].replace(upstreams)
        if self._changed is not None:
            self._changed()

    def upstreams(self) -> frozenset[Upstream]:
        """Every ready replica of every model."""
        places = (place for queue in self._queues.values() for place in queue.places)
        return frozenset(place.upstream for place in places)

    def demand(self) -> Mapping[str, ModelDemand]:
        """What is asked of every model now."""
        return {
            name: ModelDemand(
                queued=queue.queued, in_flight=queue.in_flight, last_used=queue.last_used
            )
            for name, queue in self._queues.items()
        }

    def in_flight(self, replica: str) -> int:
        """Requests at one replica, also when it no longer gets new work."""
        return sum(queue.in_flight_at(replica) for queue in self._queues.values())

    def tick(self, now: float) -> None:
        """Let time pass: end suspicions whose time is over."""
        for queue in self._queues.values():
            queue.tick(now)
