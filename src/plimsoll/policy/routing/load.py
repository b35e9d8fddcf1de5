"""The place with the smallest share of its capacity in use; those alike take turns."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from plimsoll.policy.requests.types import Place, Ticket
from plimsoll.policy.routing.decisions import SHOWN, Decisions, explanation
from plimsoll.policy.routing.protocol import Candidate, Explanation
from plimsoll.policy.routing.seats import Seat, Seats

_Note = tuple[Seat, str, Sequence[tuple[Seat, float]]]


class LeastLoaded:
    """See the module's docstring and `Router`.

    model  whose places these are, for explanations
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._seats = Seats()
        self._loads: list[float] = []  # by slot; infinite where there is no room
        self._open = 0
        self._turn = 0
        self._decisions: Decisions[_Note] = Decisions(self._read)

    def room(self) -> bool:
        """See Router.room."""
        return self._open > 0

    def choose(self, ticket: Ticket, now: float) -> Place | None:
        """See Router.choose."""
        return self._choose(ticket, "it has the smallest share of its capacity in use")

    def _choose(self, ticket: Ticket, why: str) -> Place | None:
        if not self._open:
            return None
        seat = self._untried(ticket) if ticket.tried else self._least()
        return self._chosen(ticket, seat, why)

    def _chosen(self, ticket: Ticket, seat: Seat, why: str) -> Place:
        ticket.cached = 0
        seats = [each for each in self._seats.all[:SHOWN] if each is not None and each is not seat]
        seen = [(each, self._loads[each.slot]) for each in (seat, *seats)]
        self._decisions.note((ticket.request_id, (seat, why, seen)))
        return seat.place

    def _least(self) -> Seat:
        loads = self._loads
        least = min(loads)
        self._turn += 1
        if loads.count(least) > 1:
            start = self._turn % len(loads)
            try:
                slot = loads.index(least, start)
            except ValueError:
                slot = loads.index(least)
        else:
            slot = loads.index(least)
        seat = self._seats.all[slot]
        assert seat is not None
        return seat

    def _untried(self, ticket: Ticket) -> Seat:
        """The least loaded where no earlier try failed; where there is none, the least loaded."""
        tried = {
            seat.slot: self._loads[seat.slot]
            for seat in (place.routing for place in ticket.tried)
            if isinstance(seat, Seat) and seat.slot >= 0 and seat.open
        }
        if len(tried) == self._open:
            return self._least()
        for slot in tried:
            self._loads[slot] = inf
        seat = self._least()
        for slot, load in tried.items():
            self._loads[slot] = load
        return seat

    def placed(self, ticket: Ticket, now: float) -> None:
        """See Router.placed."""
        assert ticket.place is not None
        self.changed(ticket.place)

    def began(self, ticket: Ticket, now: float) -> None:
        """See Router.began."""

    def left(self, ticket: Ticket, now: float) -> None:
        """See Router.left."""
        assert ticket.place is not None
        self.changed(ticket.place)

    def replace(self, places: Sequence[Place], now: float) -> None:
        """See Router.replace."""
        _, gone = self._seats.replace(places)
        for seat in gone:
            self._loads[seat.slot] = inf
            self._open -= seat.open
            seat.slot = -1
        self._loads.extend([inf] * (len(self._seats.all) - len(self._loads)))
        for place in places:
            self.changed(place)

    def changed(self, place: Place) -> None:
        """See Router.changed."""
        seat = place.routing
        if not isinstance(seat, Seat) or seat.slot < 0:
            return
        has_room = place.in_flight < place.limit and not place.suspect
        if has_room != seat.open:
            seat.open = has_room
            self._open += 1 if has_room else -1
        used = (place.in_flight + place.others) / place.capacity
        self._loads[seat.slot] = used if has_room else inf

    def explain(self, request_id: str | bytes) -> Explanation | None:
        """See Router.explain."""
        return self._decisions.explain(request_id)

    def _read(self, note: _Note) -> Explanation:
        chosen, why, seen = note
        candidates = [
            Candidate(
                replica=seat.place.upstream.replica,
                cached=0,
                terms={} if load == inf else {"load": load},
                reason="it has no room" if load == inf else "",
            )
            for seat, load in seen
        ]
        return explanation(self._model, chosen.place.upstream.replica, why, candidates)
