"""The place that costs a request, and those behind it, the least: it weighs what a replica holds
of the prompt against what it has to do.

Cost of a place, in seconds: until it will have read the prompts it has; to read what it lacks of
this one; by which that delays those who come next, which is little where nobody waits and much
behind a queue; for requests in flight, a full KV cache and the requests of others; and a little
for work given to it lately, so that what is new goes where least was.
A conversation so stays where it is until to read it all again elsewhere costs everybody less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import compress, islice
from math import inf
from typing import Final

from plimsoll.policy.requests.types import Place, Ticket
from plimsoll.policy.routing.delay import Delay
from plimsoll.policy.routing.index import Level, PrefixIndex
from plimsoll.policy.routing.notes import Notes
from plimsoll.policy.routing.protocol import Explanation
from plimsoll.policy.routing.rate import ReadingTime
from plimsoll.policy.routing.seats import Seat, Seats, before, chosen_by, first, key_of, slots_in
from plimsoll.policy.routing.weights import Weights

_GRAIN: Final = 0.005  # seconds: idle places whose costs differ by less are alike
_OFTEN: Final = 0.01  # seconds between two measurements: more of them would only cost
_LATE: Final = 0.1  # of what a late place has to read and has spent: how much longer it takes
_TOKENS: Final = 400_000  # that a KV cache is taken to hold where nobody says
_FEW: Final = 24  # places that are looked at one by one
_PAGE: Final = 512  # tokens of answers that are counted together


class PrefixRouter:
    """See the module's docstring and `Router`.

    model    whose places these are, for explanations
    ends     tokens from a prompt's beginning to the end of each block of `Ticket.blocks`
    rate     tokens that a replica reads per second; None: measured, `guess` until then
    tokens   that the KV cache of a replica holds; None: not known
    entries  blocks remembered at most, all replicas together
    """

    def __init__(
        self,
        model: str,
        *,
        ends: Sequence[int],
        rate: float | None = None,
        guess: float = 5_000.0,
        tokens: int | None = None,
        entries: int = 1 << 18,
        weights: Weights | None = None,
    ) -> None:
        self._weights = weights or Weights()
        self._index = PrefixIndex(ends, entries)
        self._reading = ReadingTime(1.0 / (rate or guess), fixed=bool(rate))
        self._bound = tokens or _TOKENS
        self._seats = Seats()
        self._at = self._seats.all
        self._open = 0
        self._stale: list[Seat] = []  # whose cost is reckoned before the next choice
        self._count = 0  # of all seats
        self._work = 0.0
        self._far = self._weights.balance * self._weights.memory  # from the average, at most
        self._reads = 0  # seats that have prompts to read
        self._delay = Delay()
        self._sample = 0.0  # time of the next measurement of the rate
        # By slot; infinite where it does not apply. `_idle`: cost in grains of a place that has
        # no prompt to read. `_busy`: time at which another has read them, plus its other costs.
        self._idle: list[float] = []
        self._busy: list[float] = []
        # Times at which something is to be done about a place that still reads, at most two a
        # place; the one that counts is `Seat.due`.
        self._due: list[tuple[float, int]] = []
        self._until: list[float] = []  # time at which it has read them, alone
        self._notes = Notes(
            model,
            seats=self._at,
            figures=(self._idle, self._busy, self._until),
            grain=_GRAIN,
            ends=ends,
            reading=self._reading,
            others=self._others,
        )
        self._note = self._notes.note

    # What Router asks for.

    def room(self) -> bool:
        """See Router.room."""
        if self._stale:
            self._reckon()
        return self._open > 0

    def choose(self, ticket: Ticket, now: float) -> Place | None:
        """See Router.choose."""
        if self._stale:
            self._reckon()
        if not self._open:
            return None
        if self._due and self._due[0][0] < now:
            self._late(now)
        levels: Sequence[Level] = ()
        if ticket.blocks:
            levels = self._index.levels(ticket.blocks)
        if ticket.tried:
            chosen = self._untried(ticket, levels, now)
        else:
            chosen = self._cheapest(ticket, levels, now)
        self._note(ticket, chosen, levels, now)
        return chosen.place

    def placed(self, ticket: Ticket, now: float) -> None:
        """See Router.placed."""
        assert ticket.place is not None
        seat = ticket.place.routing
        if not isinstance(seat, Seat) or seat.slot < 0:
            return
        tokens = ticket.prompt + ticket.tokens - ticket.cached
        tokens = max(tokens, 1)
        seconds = self._reading.seconds(tokens, ticket.cached)
        waits = seat.until - now if seat.waiting and seat.until > now else 0.0
        self._delay.came(now, waits, self._reads, self._count)
        if not seat.waiting:
            self._reads += 1
            seat.since = seat.until = now
            seat.clean = True
        elif seat.until < now:
            seat.until = now
        seat.until += seconds
        if seat.until < seat.due:
            seat.due = seat.until
            heappush(self._due, (seat.due, seat.slot))
        seat.waiting[ticket] = seconds
        seat.pending += seconds
        self._worked(seat, tokens * self._reading.token)
        if ticket.blocks:
            assert seat.shelf is not None
            self._index.hold(seat.shelf, ticket.blocks)
        self._later(seat)

    def began(self, ticket: Ticket, now: float) -> None:
        """See Router.began."""
        assert ticket.place is not None
        seat = ticket.place.routing
        if not isinstance(seat, Seat):
            return
        seconds = seat.waiting.pop(ticket, None)
        if seconds is None:
            return
        if now >= self._sample:
            self._sample = now + _OFTEN
            if seat.clean:
                tokens = max(ticket.prompt + ticket.tokens - ticket.cached, 1)
                self._reading.took(tokens, ticket.cached, now - seat.since)
        seat.since = now
        seat.clean = True
        if seat.waiting:
            seat.pending -= seconds
        else:
            seat.pending = 0.0
            self._reads -= seat.slot >= 0
        seat.until = now + seat.pending
        self._later(seat)

    def left(self, ticket: Ticket, now: float) -> None:
        """See Router.left."""
        assert ticket.place is not None
        seat = ticket.place.routing
        if not isinstance(seat, Seat):
            return
        seconds = seat.waiting.pop(ticket, None)
        if seconds is not None:
            seat.clean = False
            if seat.waiting:
                seat.pending -= seconds
            else:
                seat.pending = 0.0
                self._reads -= seat.slot >= 0
            seat.until -= seconds
            self._later(seat)
            return
        seat.answers += ticket.tokens
        if seat.answers > _PAGE and seat.slot >= 0:
            assert seat.shelf is not None
            self._index.fill(seat.shelf, seat.answers)
            seat.answers = 0
        self._later(seat)

    def replace(self, places: Sequence[Place], now: float) -> None:
        """See Router.replace."""
        new, gone = self._seats.replace(places)
        for seat in gone:
            self._idle[seat.slot] = self._busy[seat.slot] = inf
            self._open -= seat.open
            self._work -= seat.work
            self._reads -= bool(seat.waiting)
            assert seat.shelf is not None
            self._index.drop(seat.shelf)
            seat.slot = -1
        self._count = len(self._seats.of)
        stayed = self._count - len(new)
        for seat in new:
            seat.work = self._work / stayed if stayed else 0.0
            seat.shelf = self._index.shelf(seat.bit, self._bound)
        self._work += sum(seat.work for seat in new)
        longer = len(self._at) - len(self._idle)
        self._idle.extend([inf] * longer)
        self._busy.extend([inf] * longer)
        self._until.extend([0.0] * longer)
        for place in places:
            self.changed(place)

    def changed(self, place: Place) -> None:
        """See Router.changed."""
        seat = place.routing
        if not isinstance(seat, Seat) or seat.slot < 0:
            return
        weights = self._weights
        seat.fixed = 0.0
        if place.others and place.in_flight:  # of theirs, as much waits to be read as of ours
            seat.fixed += place.others * seat.pending / place.in_flight
        usage = place.kv_usage
        if usage is not None and usage > weights.comfort:
            over = (min(usage, 1.0) - weights.comfort) / (1.0 - weights.comfort)
            seat.fixed += over * weights.pressure
        self._weigh(seat)

    def explain(self, request_id: str | bytes) -> Explanation | None:
        """See Router.explain."""
        return self._notes.explain(request_id)

    # What a place costs.

    def _later(self, seat: Seat) -> None:
        """Its cost changed: a request begins and ends between two choices."""
        if not seat.stale:
            seat.stale = True
            self._stale.append(seat)

    def _reckon(self) -> None:
        for seat in self._stale:
            seat.stale = False
            self._weigh(seat)
        self._stale.clear()

    def _weigh(self, seat: Seat) -> None:
        """Set what it costs now, but for what it holds of a prompt."""
        place, slot = seat.place, seat.slot
        if slot < 0:
            return
        if place.in_flight >= place.limit or place.suspect:
            if seat.open:
                seat.open = False
                self._open -= 1
            self._idle[slot] = self._busy[slot] = inf
            return
        if not seat.open:
            seat.open = True
            self._open += 1
        used = place.in_flight + place.others
        free = min(place.capacity - used, place.limit - place.in_flight)
        cost = seat.fixed + self._weights.load * used / max(free, 0.5) + seat.work
        if seat.waiting:
            self._idle[slot] = inf
            self._until[slot] = seat.until
            self._busy[slot] = seat.until + cost
        else:
            self._busy[slot] = inf
            self._idle[slot] = cost // _GRAIN

    def _worked(self, seat: Seat, seconds: float) -> None:
        """It was given so many seconds of reading; none is ever far from the average."""
        mean, far = self._work / self._count, self._far
        work = seat.work + self._weights.balance * seconds
        if work > mean + far:
            work = mean + far
        elif work < mean - far:
            work = mean - far
        self._work += work - seat.work
        seat.work = work

    def _late(self, now: float) -> None:
        """Places that should have read everything and have not: they take a part longer."""
        due = self._due
        while due and due[0][0] < now:
            at, slot = heappop(due)
            seat = self._at[slot]
            if seat is None or seat.due != at:
                continue
            seat.due = inf
            if not seat.waiting:
                continue
            if seat.until < now:
                seat.until = now + _LATE * (seat.pending + now - seat.since) + _OFTEN
                self._weigh(seat)
            seat.due = seat.until
            heappush(due, (seat.due, slot))

    def _cost(self, seat: Seat, now: float) -> float:
        """Seconds, but for what it holds of a prompt."""
        return self._busy[seat.slot] - now if seat.waiting else self._idle[seat.slot] * _GRAIN

    # Which is the cheapest.

    def _untried(self, ticket: Ticket, levels: Sequence[Level], now: float) -> Seat:
        """The cheapest where no earlier try failed; where there is none, the cheapest."""
        tried = {
            seat.slot: seat
            for seat in (place.routing for place in ticket.tried)
            if isinstance(seat, Seat) and seat.slot >= 0 and seat.open
        }
        if len(tried) == self._open:
            return self._cheapest(ticket, levels, now)
        try:
            for slot in tried:
                self._idle[slot] = self._busy[slot] = inf
            return self._cheapest(ticket, levels, now)
        finally:
            for seat in tried.values():
                self._weigh(seat)

    def _cheapest(self, ticket: Ticket, levels: Sequence[Level], now: float) -> Seat:
        """Of all places with room; ties go by rank, the same at every gateway."""
        least, best = self._least(ticket, now)
        ticket.cached = 0
        if not levels:
            return best
        ends, prompt = self._index.ends, ticket.prompt
        holders, depth = levels[-1]
        if holders & best.bit:  # nobody holds more, and nobody costs less
            ticket.cached = min(ends[depth - 1], prompt)
            return best
        for holders, depth in reversed(levels):
            if holders & best.bit:
                ticket.cached = min(ends[depth - 1], prompt)
                break
        seconds, others = self._reading.seconds, self._others
        reads = seconds(prompt - ticket.cached, ticket.cached)
        lowest = least + reads + others(least, reads)
        seen = 0
        for holders, depth in reversed(levels):
            cached = min(ends[depth - 1], prompt)
            reads = seconds(prompt - cached, cached)
            if least + reads + others(least, reads) >= lowest:
                break  # nobody here or in the rest can cost less: `least` is the least of all
            fresh = holders & ~seen
            few = slots_in(fresh) if fresh.bit_count() <= _FEW else self._best_of(fresh)
            for slot in few:
                seat = self._at[slot]
                assert seat is not None
                cost = self._cost(seat, now)
                cost += reads + others(cost, reads)
                if cost < lowest or (cost == lowest and before(key_of(ticket), seat, best)):
                    lowest, best = cost, seat
                    ticket.cached = cached
            seen = holders
        return best

    def _others(self, cost: float, reads: float) -> float:
        """Seconds that so many of reading cost others at a place of such a cost: never less for
        more of either.
        """
        queue = cost - self._work / self._count  # what all were given since ever is no queue
        delay = self._delay
        wait = delay.queue + 0.5 * reads + max(queue, 0.0)
        return reads * (self._weights.reread + delay.each * wait)

    def _best_of(self, bits: int) -> Iterable[int]:
        """Of many places, the cheapest that rests and the cheapest that reads."""
        wanted = chosen_by(bits)
        slots = range(len(wanted))
        idles = list(compress(self._idle, wanted))
        rests = next(islice(compress(slots, wanted), idles.index(min(idles)), None))
        busies = list(compress(self._busy, wanted))
        soon = min(busies)
        if soon == inf:
            return (rests,)
        return rests, next(islice(compress(slots, wanted), busies.index(soon), None))

    def _least(self, ticket: Ticket, now: float) -> tuple[float, Seat]:
        """The place that costs the least but for what it holds of the prompt, and its cost."""
        at, idle, busy = self._at, self._idle, self._busy
        rest, soon = min(idle), min(busy)
        if soon - now < rest * _GRAIN:
            seat = at[busy.index(soon)]
            assert seat is not None
            return soon - now, seat
        seat = at[idle.index(rest)]
        assert seat is not None
        alike = idle.count(rest)
        if alike > 1:
            seat = first(key_of(ticket), at, idle, rest, alike)
        return rest * _GRAIN, seat
