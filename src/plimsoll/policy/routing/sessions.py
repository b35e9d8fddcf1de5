"""The place that a session had before; a new session's place follows from its name alone, so that
every gateway chooses the same one while it has no more than its share.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final
from zlib import crc32

from plimsoll.policy.requests.types import Place, Ticket
from plimsoll.policy.routing.load import LeastLoaded
from plimsoll.policy.routing.seats import Seat

_POINTS: Final = 64  # of each place on the ring
_MORE: Final = 1.25  # times the average load that a place may have and still get new sessions
_KEPT: Final = 100_000  # sessions remembered


class SessionRouter(LeastLoaded):
    """See the module's docstring and `Router`. A request without a session goes by load.

    A session keeps its place until that leaves, or is under suspicion; while it is full, single
    requests go elsewhere.

    model  whose places these are, for explanations
    ttl    seconds that a session is remembered after its last request
    kept   sessions remembered at most; the one unused for longest goes first
    """

    def __init__(self, model: str, *, ttl: float, kept: int = _KEPT) -> None:
        super().__init__(model)
        self._ttl = ttl
        self._kept = kept
        self._sessions: OrderedDict[str, tuple[Seat, float]] = OrderedDict()
        self._ring: list[tuple[int, Seat]] = []

    def __len__(self) -> int:
        """Sessions remembered."""
        return len(self._sessions)

    def choose(self, ticket: Ticket, now: float) -> Place | None:
        """See Router.choose."""
        session = ticket.session
        if not session or ticket.tried:
            return super().choose(ticket, now)
        if not self._open:
            return None
        self._forget(now)
        known = self._sessions.get(session)
        if known is not None and known[0].slot >= 0 and not known[0].place.suspect:
            seat = known[0]
            if not seat.open:
                return self._choose(ticket, "the place of its session is full")
            why = "its session was there before"
        else:
            seat = self._home(session)
            why = "a new session: its name leads there"
        self._sessions[session] = (seat, now)
        self._sessions.move_to_end(session)
        return self._chosen(ticket, seat, why)

    def replace(self, places: Sequence[Place], now: float) -> None:
        """See Router.replace."""
        super().replace(places, now)
        self._ring = sorted(
            (
                (crc32(b"%d" % point, seat.seed), seat)
                for seat in self._seats.of.values()
                for point in range(_POINTS)
            ),
            key=lambda each: (each[0], each[1].place.upstream.replica),
        )

    def _forget(self, now: float) -> None:
        """Of what is too old, at most two: so it never takes long, and never grows."""
        for _ in range(2):
            if not self._sessions:
                return
            session, (_, used) = next(iter(self._sessions.items()))
            if used > now - self._ttl and len(self._sessions) < self._kept:
                return
            del self._sessions[session]

    def _home(self, session: str) -> Seat:
        """The first place on the ring, from where the session's name points, that has no more than
        its share; the least loaded where none has that little.
        """
        seats, ring = self._seats.of, self._ring
        running = sum(place.in_flight + place.others for place in seats)
        most = _MORE * (running + 1) / len(seats)
        # A number that is far from that of a name alike, unlike a checksum's.
        point = crc32(session.encode()) * 0x9E3779B1 & 0xFFFFFFFF
        at = bisect_left(ring, point, key=lambda each: each[0])
        for step in range(len(ring)):
            seat = ring[(at + step) % len(ring)][1]
            if seat.open and seat.place.in_flight + seat.place.others < max(most, 1.0):
                return seat
        return self._least()
