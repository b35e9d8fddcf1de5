"""Who waits for a model, in the order in which they get a place. Bounded.

First those whose try failed, as they came back; then strictly by priority; within a priority by
the tenants' shares; within a tenant first come first served. Nothing here takes longer than the
logarithm of what waits.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from plimsoll.policy.requests.shares import Flow, Shares, Wait
from plimsoll.policy.requests.types import QueueLimits, Ticket

_PRIORITIES: Final = 64  # above so many, those that nobody uses are forgotten


class Line:
    """Tickets that wait for one model.

    limits  how much may wait; a ticket whose try failed always may
    queued  tickets that wait
    size    bytes that wait with them
    ahead   those of them whose try failed
    """

    def __init__(self, limits: QueueLimits) -> None:
        self.limits = limits
        self.queued = 0
        self.size = 0
        self.ahead = 0
        self._first: deque[Wait] = deque()
        self._shares: dict[int, Shares] = {}
        self._order: list[Shares] = []  # the highest priority first
        self._deadlines: list[tuple[float, int, Wait]] = []
        self._number = count()

    def limit(self, limits: QueueLimits) -> None:
        """Set how much may wait from now on; who waits already stays."""
        self.limits = limits
        for shares in self._order:
            shares.measure_anew()

    def flow(self, ticket: Ticket) -> Flow:
        """What is counted for a ticket's tenant at its priority."""
        shares = self._shares.get(ticket.priority)
        if shares is None:
            shares = self._open(ticket.priority)
        flow = shares.flows.get(ticket.tenant)
        if flow is None or flow.weight != ticket.weight:
            flow = shares.flow(ticket.tenant, ticket.weight)
        return flow

    def _open(self, priority: int) -> Shares:
        if len(self._order) >= _PRIORITIES:
            used = [
                shares
                for shares in self._order
                if any(flow.queued or flow.in_flight for flow in shares.flows.values())
            ]
            self._order = used
            self._shares = {shares.priority: shares for shares in used}
        shares = self._shares[priority] = Shares(priority)
        insort(self._order, shares, key=lambda each: -each.priority)
        return shares

    def add(self, ticket: Ticket, until: float, *, ahead: bool = False) -> Wait:
        """One more waits, no longer than `until`; `ahead` of all others where its try failed. The
        only function that counts a wait.
        """
        if ahead:
            wait = Wait(ticket, None)
            self._first.append(wait)
            self.ahead += 1
        else:
            flow = self.flow(ticket)
            wait = Wait(ticket, flow)
            flow.shares.add(wait, self.limits)
        self.queued += 1
        self.size += wait.size
        heappush(self._deadlines, (until, next(self._number), wait))
        return wait

    def remove(self, wait: Wait) -> None:
        """A wait is over, for whatever reason; the only function that no longer counts it. More
        than once does no harm.
        """
        if wait.ticket is None:
            return
        wait.ticket = None
        self.queued -= 1
        self.size -= wait.size
        if len(self._deadlines) > 2 * self.queued + 64:
            self._deadlines = [each for each in self._deadlines if each[2].ticket is not None]
            heapify(self._deadlines)
        if wait.flow is not None:
            wait.flow.shares.remove(wait)
            return
        self.ahead -= 1
        if len(self._first) > 2 * self.ahead + 16:
            self._first = deque(each for each in self._first if each.ticket is not None)

    def head(self) -> Wait:
        """Who is next; somebody must wait."""
        if self.ahead:
            return _oldest(self._first)
        for shares in self._order:
            if shares.queued:
                return _oldest(shares.head().waiting)
        raise AssertionError("nobody waits")

    def fits(self, ticket: Ticket) -> bool:
        """Whether one more may wait without anybody giving way."""
        limits = self.limits
        return self.queued < limits.requests and self.size + ticket.size <= limits.bytes

    def displace(self, ticket: Ticket) -> list[Ticket]:
        """End the waits of those who must give way so that one more may wait; nobody where that
        would not help.

        Lower priorities give way to higher ones. Within a priority the tenant with the largest
        part of the queue gives way to one that has less even with this ticket; so a tenant that
        floods cannot keep others out. Always the newest of a tenant.
        """
        requests = self.queued + 1 - self.limits.requests
        size = self.size + ticket.size - self.limits.bytes
        lower = [each for each in self._order if each.priority < ticket.priority and each.queued]
        if (
            sum(each.queued for each in lower) >= requests
            and sum(each.size for each in lower) >= size
        ):
            return self._from_lower(lower, requests, size)
        return self._from_heaviest(ticket, requests, size)

    def _from_lower(self, lower: list[Shares], requests: int, size: int) -> list[Ticket]:
        out: list[Ticket] = []
        while requests > 0 or size > 0:
            if not lower[-1].queued:
                lower.pop()
                continue
            wait = next(lower[-1].heaviest(self.limits).newest())
            requests -= 1
            size -= wait.size
            out.append(self._end(wait))
        return out

    def _from_heaviest(self, ticket: Ticket, requests: int, size: int) -> list[Ticket]:
        limits = self.limits
        own = self.flow(ticket)
        if not own.shares.queued:
            return []
        heaviest = own.shares.heaviest(limits)
        least = own.share(limits, requests=1, size=ticket.size)
        waits: list[Wait] = []
        taken = 0
        for wait in heaviest.newest():
            if heaviest.share(limits, requests=-len(waits), size=-taken) <= least:
                return []
            waits.append(wait)
            taken += wait.size
            if len(waits) >= requests and taken >= size:
                return [self._end(each) for each in waits]
        return []

    def _end(self, wait: Wait) -> Ticket:
        ticket = wait.ticket
        assert ticket is not None
        self.remove(wait)
        return ticket

    def expired(self, now: float) -> list[Wait]:
        """The waits whose time is over; they still count."""
        out: list[Wait] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            wait = heappop(deadlines)[2]
            if wait.ticket is not None:
                out.append(wait)
        return out

    def everyone(self) -> list[Wait]:
        """Every wait; in no order."""
        return [each[2] for each in self._deadlines if each[2].ticket is not None]

    def before(self, ticket: Ticket) -> float:
        """Tickets that would get a place before this one if it waited now, by what counts tell."""
        shares = self._shares.get(ticket.priority)
        first = float(self.ahead)
        for other in self._order:
            if other.priority > ticket.priority:
                first += other.queued
        if shares is None or not shares.queued:
            return first
        return first + shares.before(ticket.tenant, ticket.weight)


def _oldest(waiting: deque[Wait]) -> Wait:
    while waiting[0].ticket is None:
        waiting.popleft()
    return waiting[0]
