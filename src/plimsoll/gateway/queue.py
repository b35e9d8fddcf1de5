"""The queue of one model: its replicas, who waits for one and who holds one. No I/O, no clock.

A request enters with a ticket. The ticket either waits or holds one place at one replica; it
alone gives the place back, once, whatever happens. So counts cannot leak or go below zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from plimsoll.gateway.errors import Refused
from plimsoll.policy.route import Report, least_loaded, limit, others


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One ready replica.

    replica   its name, unique in the world
    host      address it listens on
    port      port it listens on
    capacity  requests it works on at once; may change while it stays the same replica
    gateways  that send it requests, this one included; may change too
    """

    replica: str
    host: str
    port: int
    capacity: int = field(compare=False)
    gateways: int = field(default=1, compare=False)


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
    adapters       names of adapters that the same replicas serve
    hold           seconds that a request waits while no replica is ready; None: as for any other
                   wait
    """

    name: str
    aliases: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    task: str
    context: int
    hold: float | None = None
    assemble: bool = False
    stream_fields: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait per model: requests, and bytes of their bodies."""

    requests: int
    bytes: int


class Place:
    """A replica as the board counts it.

    capacity   requests it works on at once, whoever sends them
    in_flight  tickets that hold a place here
    others     requests of others here, as far as it was told
    limit      tickets that may hold a place here
    suspect    no new work before this time, or 0.0
    """

    __slots__ = (
        "_gateways", "_report", "capacity", "in_flight", "limit", "others", "suspect", "upstream",
    )  # fmt: skip

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.in_flight = 0
        self.suspect = 0.0
        self._report: Report | None = None
        self.describe(upstream)

    def describe(self, upstream: Upstream) -> None:
        """Take another capacity, or number of gateways, of the same replica."""
        self.capacity = upstream.capacity
        self._gateways = upstream.gateways
        self._weigh()

    def told(self, requests: int | None, own: int) -> None:
        """It says that it has so many requests, whoever sent them; None: nobody knows.

        own  it had from here when it was asked
        """
        before, self._report = self._report, None
        if requests is not None:
            last = before.requests if before is not None else requests
            own = max(own, self.in_flight)
            self._report = Report(requests=requests, own=own, before=last)
        self._weigh()

    def _weigh(self) -> None:
        self.others = others(self._report)
        self.limit = limit(self.capacity, self._gateways, self._report)


class Ticket:
    """One request's claim on one model: it waits, or holds a place, or is done.

    place    where it holds a place, else None
    tried    places where an earlier try failed
    size     bytes that wait with it
    granted  called when a place is found after a wait
    refused  called instead when the model is withdrawn while it waits; it has left by then
    """

    __slots__ = ("_queue", "granted", "place", "refused", "size", "tried")

    def __init__(
        self,
        queue: ModelQueue,
        size: int,
        granted: Callable[[], None],
        refused: Callable[[Refused], None] | None,
    ) -> None:
        self._queue = queue
        self.size = size
        self.granted = granted
        self.refused = refused
        self.place: Place | None = None
        self.tried: tuple[Place, ...] = ()

    def again(self, now: float) -> bool:
        """Give the place back after a failed try and ask for one, ahead of those who wait.

        True when there is one at once; else `granted` is called later. Raises Refused when the
        model was withdrawn.
        """
        if self.place is not None:
            self.tried = (*self.tried, self.place)
        return self._queue.again(self, now)

    def leave(self, now: float) -> None:
        """Be done: the place or the wait is given up. More than once does no harm."""
        self._queue.leave(self, now)


class ModelQueue:
    """The replicas of one model and the tickets for it, first come first served.

    served     the model
    adapts     whether requests are changed for the engine, see Served
    withdrawn  whether it is no longer offered: what runs goes on, nothing new begins
    """

    def __init__(
        self, served: Served, limits: QueueLimits, wake: Callable[[str], None] | None
    ) -> None:
        self.describe(served)
        self.withdrawn = False
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

    def describe(self, served: Served) -> None:
        """Take another description of the same model."""
        self.served = served
        self.adapts = served.assemble or bool(served.stream_fields)

    def patience(self, usual: float) -> float:
        """Seconds that a request which comes now may wait; `usual` where a replica is ready."""
        hold = self.served.hold
        return usual if hold is None or self.places else hold

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

    def enter(
        self,
        size: int,
        granted: Callable[[], None],
        now: float,
        refused: Callable[[Refused], None] | None = None,
    ) -> Ticket:
        """A new ticket: with a place when one is free and nobody waits, else waiting.

        Raises Refused `queue_full`, and `model_not_found` when it was withdrawn.
        """
        if self.withdrawn:
            raise self._gone()
        self.last_used = now
        ticket = Ticket(self, size, granted, refused)
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
        if self.withdrawn:
            raise self._gone()
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
        latest = {upstream: upstream for upstream in upstreams}
        for place in self.places:
            place.describe(latest[place.upstream])
        stay = set(self.places)
        gone = [place for place in (*known.values(), *self._leaving) if place not in stay]
        self._leaving = [place for place in gone if place.in_flight]
        self._ready = tuple(place for place in self.places if not place.suspect)
        self.grant()

    def told(self, upstream: Upstream, requests: int | None, *, own: int = 0) -> None:
        """A replica says how many requests it has, whoever sent them; None: nobody knows.

        own  it had from here when it was asked
        A replica that gets no new work may say what it will.
        """
        for place in self.places:
            if place.upstream == upstream:
                place.told(requests, own)
                self.grant()
                return

    def withdraw(self) -> None:
        """Offer the model no longer: whoever waits is refused, what runs goes on."""
        self.withdrawn = True
        self.replace(())
        for ticket in (*self._first, *self._waiting):
            self._drop(ticket)
            if ticket.refused is not None:
                ticket.refused(self._gone())

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

    def _gone(self) -> Refused:
        return Refused(
            "model_not_found", f"`{self.served.name}` is no longer offered", param="model"
        )

    def _call_for_replicas(self) -> None:
        if self._wake is not None and not self.places:
            self._wake(self.served.name)
