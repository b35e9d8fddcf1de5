"""The places of one model as its router keeps them: which have room, what each costs, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Final
from zlib import crc32

from plimsoll.policy.requests.types import Place, Ticket
from plimsoll.policy.routing.index import Shelf

_CROWD: Final = 24  # seats that are ranked one by one at most


class Seat:
    """What a router keeps about one place.

    place    itself
    slot     its number among the router's places, -1 when it is no longer one of them
    bit      the same as one bit
    seed     its part in the order of those that cost the same, equal at every gateway
    open     whether it has room
    stale    whether its cost is to be reckoned before the next choice
    fixed    seconds of its cost that change only with what it reports
    work     seconds of prompts read here since ever, more or less: only differences count
    until    time by which it has read the prompts that it has, while there are any
    due      time at which to see whether it has; infinite where nobody will
    since    time since which it reads the prompt that it is at
    clean    whether what it reads since then was read whole, so that the time measures the rate
    pending  seconds of these prompts
    waiting  tickets whose prompts these are, and the seconds of each
    answers  tokens of answers written here that the shelf does not count yet
    shelf    what it is believed to hold; None where nobody asks
    """

    __slots__ = (
        "answers", "bit", "clean", "due", "fixed", "open", "pending", "place", "seed", "shelf",
        "since", "slot", "stale", "until", "waiting", "work",
    )  # fmt: skip

    def __init__(self, place: Place, slot: int) -> None:
        self.place = place
        self.slot = slot
        self.bit = 1 << slot
        self.seed = crc32(place.upstream.replica.encode())
        self.open = False
        self.stale = False
        self.fixed = 0.0
        self.work = 0.0
        self.until = 0.0
        self.due = inf
        self.since = 0.0
        self.clean = True
        self.pending = 0.0
        self.waiting: dict[Ticket, float] = {}
        self.answers = 0
        self.shelf: Shelf | None = None


def rank(key: int, seat: Seat) -> int:
    """Order of seats that cost a request the same, the least first: stable, and another one for
    every key (rendezvous hashing).
    """
    return (key ^ seat.seed) * 0x9E3779B1 & 0xFFFFFFFF


def before(key: int, seat: Seat, other: Seat) -> bool:
    """Whether it comes first of two that cost the same."""
    return rank(key, seat) < rank(key, other)


def first(
    key: int, seats: Sequence[Seat | None], costs: Sequence[float], cost: float, alike: int
) -> Seat:
    """The first by rank of the seats that have this cost, so many of them; of a crowd, the first
    from where the key points.
    """
    if alike > _CROWD:
        start = key % len(costs)
        slot = costs.index(cost, start) if cost in costs[start:] else costs.index(cost)
        best = seats[slot]
    else:
        slot, best, lowest = -1, None, 0
        for _ in range(alike):
            slot = costs.index(cost, slot + 1)
            seat = seats[slot]
            assert seat is not None
            its = rank(key, seat)
            if best is None or its < lowest:
                best, lowest = seat, its
    assert best is not None
    return best


def key_of(ticket: Ticket) -> int:
    """What makes requests that belong together rank seats alike: session, or prompt's beginning."""
    if ticket.session:
        return crc32(ticket.session.encode())
    blocks = ticket.blocks
    if blocks:
        return blocks[min(3, len(blocks) - 1)] & 0xFFFFFFFF
    request = ticket.request_id
    return crc32(request.encode() if isinstance(request, str) else request)


def slots_in(bits: int) -> Iterator[int]:
    """Numbers of the bits that are set, of few."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def chosen_by(bits: int) -> bytes:
    """A byte by slot, one where its bit is set: what `itertools.compress` takes, of many."""
    return f"{bits:b}"[::-1].encode().translate(_DIGITS)


_DIGITS = bytes(byte & 1 for byte in range(256))  # of `0` and `1`, their value


class Seats:
    """The places of a model by slot. Slots of those that left are used again."""

    __slots__ = ("_free", "all", "of")

    def __init__(self) -> None:
        self.all: list[Seat | None] = []
        self.of: dict[Place, Seat] = {}
        self._free: list[int] = []

    def replace(self, places: Sequence[Place]) -> tuple[list[Seat], list[Seat]]:
        """Take these; those that are new, and those that left."""
        stay = set(places)
        gone = [seat for place, seat in self.of.items() if place not in stay]
        for seat in gone:
            del self.of[seat.place]
            self.all[seat.slot] = None
            self._free.append(seat.slot)
        self._free.sort(reverse=True)
        new: list[Seat] = []
        for place in places:
            if place not in self.of:
                if self._free:
                    slot = self._free.pop()
                else:
                    slot = len(self.all)
                    self.all.append(None)
                seat = Seat(place, slot)
                self.all[slot] = self.of[place] = seat
                new.append(seat)
                place.routing = seat
        return new, gone
