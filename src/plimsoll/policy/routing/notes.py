"""What prefix routing saw when it chose, kept for a while and put in words when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf

from plimsoll.policy.requests.types import Ticket
from plimsoll.policy.routing.decisions import SHOWN, Decisions, explanation
from plimsoll.policy.routing.index import Level
from plimsoll.policy.routing.protocol import Candidate, Explanation
from plimsoll.policy.routing.rate import ReadingTime
from plimsoll.policy.routing.seats import Seat, slots_in

_Figures = list[float]
_Note = tuple[
    Seat, float, int, Sequence[Level], Sequence[Seat | None], _Figures, _Figures, _Figures
]


class Notes:
    """The last decisions of one router.

    model    whose places these are
    seats    the router's seats by slot, and
    figures  theirs: grains of cost of those that rest, times of those that read with and without
             other costs; all of them change under it, so they are copied
    grain    seconds
    ends     tokens from a prompt's beginning to the end of each block
    reading  how long reading takes
    others   what it costs others, of a place's cost and the seconds of reading
    """

    def __init__(
        self,
        model: str,
        *,
        seats: list[Seat | None],
        figures: tuple[_Figures, _Figures, _Figures],
        grain: float,
        ends: Sequence[int],
        reading: ReadingTime,
        others: Callable[[float, float], float],
    ) -> None:
        self._model = model
        self._seats = seats
        self._idle, self._busy, self._until = figures
        self._grain = grain
        self._ends = ends
        self._reading = reading
        self._others = others
        self._decisions: Decisions[_Note] = Decisions(self._read)
        self._add = self._decisions.note
        self.explain = self._decisions.explain

    def note(self, ticket: Ticket, chosen: Seat, levels: Sequence[Level], now: float) -> None:
        """Note what a decision rests on."""
        seats, idle, busy, until = self._seats, self._idle, self._busy, self._until
        if len(seats) <= SHOWN:
            seats, idle, busy, until = seats[:], idle[:], busy[:], until[:]
        else:
            shown = self._shown(chosen, levels)
            seats = [seats[slot] for slot in shown]
            idle = [idle[slot] for slot in shown]
            busy = [busy[slot] for slot in shown]
            until = [until[slot] for slot in shown]
        self._add(
            (ticket.request_id, (chosen, now, ticket.prompt, levels, seats, idle, busy, until))
        )

    def _shown(self, chosen: Seat, levels: Sequence[Level]) -> Sequence[int]:
        """Slots to show of many: the chosen one, the warmest, and some of the rest."""
        slots = [chosen.slot]
        for holders, _ in reversed(levels):
            if len(slots) > SHOWN or holders.bit_count() > SHOWN:
                break
            slots.extend(slots_in(holders))
        slots.extend(range(SHOWN))
        return list(dict.fromkeys(slots))[:SHOWN]

    def _read(self, note: _Note) -> Explanation:
        """A decision in words."""
        chosen, now, prompt, levels, seats, idles, busies, untils = note
        candidates: list[Candidate] = []
        most = held = 0
        for seat, idle, busy, until in zip(seats, idles, busies, untils, strict=True):
            if seat is None:
                continue
            cached = self._held(seat, levels, prompt)
            most = max(most, cached)
            held = cached if seat is chosen else held
            full = idle == busy == inf
            reads = busy < inf
            prefill = self._reading.seconds(max(prompt - cached, 0), cached)
            queue = max(until - now, 0.0) if reads else 0.0
            load = busy - until if reads else idle * self._grain
            # As it is now, which is near enough: it is an average over many requests.
            others = 0.0 if full else self._others(queue + load, prefill)
            terms = {"queue": queue, "prefill": prefill, "others": others, "load": load}
            candidates.append(
                Candidate(
                    replica=seat.place.upstream.replica,
                    cached=cached,
                    terms={} if full else terms,
                    reason="it has no room" if full else "",
                )
            )
        if held and held == most:
            why = f"it holds {held:,} of {prompt:,} prompt tokens, and no other shown holds more"
        elif most:
            why = f"another holds {most:,} of {prompt:,} prompt tokens, and costs more all the same"
        else:
            why = "none shown is known to hold any of the prompt, and it costs the least"
        return explanation(self._model, chosen.place.upstream.replica, why, _even(candidates))

    def _held(self, seat: Seat, levels: Sequence[Level], prompt: int) -> int:
        """Tokens of a prompt that it was believed to hold."""
        for holders, depth in reversed(levels):
            if holders & seat.bit:
                return min(self._ends[depth - 1], prompt)
        return 0


def _even(candidates: Sequence[Candidate]) -> Iterable[Candidate]:
    """Load counted from the least: what everybody was given since ever tells nothing."""
    least = min((each.terms["load"] for each in candidates if each.terms), default=0.0)
    for each in candidates:
        if each.terms:
            each.terms["load"] -= least
    return candidates
