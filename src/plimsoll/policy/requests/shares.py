"""Weighted fairness by tokens between the tenants of one priority.

Every tenant has a counter of the tokens that it was served, over its weight; who waits with the
smallest is next. A tenant that comes back is lifted to those who wait, so that idling earns
nothing. After "Fairness in Serving Large Language Models" (arXiv 2401.00588), with the expected
answer charged when a request starts and settled when it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from operator import attrgetter
from typing import Final, TypeAlias

from plimsoll.policy.requests.types import QueueLimits, Ticket

CACHED: Final = 0.1
"""Charge for a prompt token that its replica holds already; one that it must read is 1."""
ANSWER: Final = 2.0
"""Charge for a token of the answer: it takes longer than one of the prompt."""
FIRST_GUESS: Final = 128.0
"""Tokens of an answer as long as none has been seen."""
_LEARNS: Final = 0.1  # weight of the newest answer in the expectation of the next
_IDLE: Final = 256  # tenants with nothing waiting or running that are remembered


class Wait:
    """One wait of one ticket.

    ticket  that waits, or None when the wait is over
    flow    its tenant's; None where it goes ahead of all tenants
    size    bytes that wait
    """

    __slots__ = ("flow", "size", "ticket")

    def __init__(self, ticket: Ticket, flow: Flow | None) -> None:
        self.ticket: Ticket | None = ticket
        self.flow = flow
        self.size = ticket.size


class Flow:
    """One tenant's requests of one priority.

    counter    tokens charged, over the weight
    waiting    its waits, the oldest first; those that are over are left out
    queued     tickets that wait
    size       bytes that wait
    in_flight  tickets that hold a place
    expected   tokens of its next answer
    entry      number of its valid one in the heap of those who wait; 0: none
    """

    __slots__ = (
        "counter", "entry", "expected", "in_flight", "queued", "shares", "size", "tenant",
        "waiting", "weight",
    )  # fmt: skip

    def __init__(self, shares: Shares, tenant: str, expected: float) -> None:
        self.shares = shares
        self.tenant = tenant
        self.weight = 1
        self.counter = shares.level
        self.expected = expected
        self.waiting: deque[Wait] = deque()
        self.queued = 0
        self.size = 0
        self.in_flight = 0
        self.entry = 0

    def learn(self, tokens: int) -> None:
        """An answer ended with so many tokens."""
        self.expected += _LEARNS * (tokens - self.expected)
        shares = self.shares
        shares.expected += _LEARNS * (tokens - shares.expected)

    def share(self, limits: QueueLimits, *, requests: int = 0, size: int = 0) -> float:
        """The part of the queue that it holds, in requests or bytes, over its weight; with so
        many requests and bytes more.
        """
        requests += self.queued
        size += self.size
        part = max(requests / max(1, limits.requests), size / max(1, limits.bytes))
        return part / self.weight

    def newest(self) -> Iterator[Wait]:
        """Its waits, the newest first."""
        return (wait for wait in reversed(self.waiting) if wait.ticket is not None)


_Entry: TypeAlias = tuple[float, float, int, Flow]


class Shares:
    """The tenants of one priority.

    level     where a tenant's counter begins while nobody waits
    queued    tickets that wait
    size      bytes that wait
    expected  tokens of the next answer of a tenant that is not known
    """

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.level = 0.0
        self.queued = 0
        self.size = 0
        self.expected = FIRST_GUESS
        self.flows: dict[str, Flow] = {}
        self._heap: list[_Entry] = []
        self._heavy: list[_Entry] | None = None  # the largest share of the queue first
        self._number = count(1)
        self._weights = 0  # of the tenants that wait
        self._most = _IDLE

    def flow(self, tenant: str, weight: int) -> Flow:
        """The flow of a tenant; a weight below 1 counts as 1."""
        flow = self.flows.get(tenant)
        if flow is None:
            if len(self.flows) >= self._most:
                self._forget()
            flow = self.flows[tenant] = Flow(self, tenant, self.expected)
        weight = max(1, weight)
        if flow.queued:
            self._weights += weight - flow.weight
        flow.weight = weight
        return flow

    def _forget(self) -> None:
        """Forget tenants that are idle, those first that were served least: the level rises to
        theirs, so that none gains by it.
        """
        idle = [flow for flow in self.flows.values() if not (flow.queued or flow.in_flight)]
        idle.sort(key=attrgetter("counter"))
        for flow in idle[: len(idle) - _IDLE // 2]:
            self.level = max(self.level, flow.counter)
            del self.flows[flow.tenant]
        self._most = max(_IDLE, 2 * len(self.flows))

    def add(self, wait: Wait, limits: QueueLimits) -> None:
        """One more waits."""
        flow = wait.flow
        assert flow is not None
        if not flow.queued:
            self.lift(flow)
            self._weights += flow.weight
        flow.waiting.append(wait)
        flow.queued += 1
        flow.size += wait.size
        self.queued += 1
        self.size += wait.size
        if not flow.entry:
            self._push(flow)
        if self._heavy is not None:
            half = 2 * self.queued < limits.requests and 2 * self.size < limits.bytes
            if half or len(self._heavy) > 2 * self.queued + _IDLE:
                self._heavy = None
            else:
                heappush(self._heavy, (-flow.share(limits), 0, next(self._number), flow))

    def lift(self, flow: Flow) -> None:
        """A tenant with nothing waiting comes: level with those who wait, else with the last."""
        floor = self.head().counter if self.queued else self.level
        flow.counter = max(flow.counter, floor)

    def remove(self, wait: Wait) -> None:
        """A wait is over."""
        flow = wait.flow
        assert flow is not None
        flow.queued -= 1
        flow.size -= wait.size
        self.queued -= 1
        self.size -= wait.size
        waiting = flow.waiting
        while waiting and waiting[-1].ticket is None:
            waiting.pop()
        if not flow.queued:
            self._weights -= flow.weight
        elif len(waiting) > 2 * flow.queued + 16:
            flow.waiting = deque(each for each in waiting if each.ticket is not None)

    def head(self) -> Flow:
        """The tenant who is next; somebody must wait."""
        heap = self._heap
        while True:
            entry = heap[0]
            flow = entry[3]
            if entry[2] != flow.entry:
                heappop(heap)
            elif not flow.queued:
                flow.entry = 0
                heappop(heap)
            elif entry[0] < flow.counter:  # it was charged since
                heapreplace(heap, self._entry(flow))
            else:
                return flow

    def charge(self, flow: Flow, tokens: float) -> None:
        """A tenant's tokens, over its weight; below 0 they are given back."""
        flow.counter += tokens
        if tokens < 0.0 and flow.entry:
            self._push(flow)

    def heaviest(self, limits: QueueLimits) -> Flow:
        """The tenant that holds the largest part of the queue; somebody must wait."""
        heavy = self._heavy
        if heavy is None:
            flows = (flow for flow in self.flows.values() if flow.queued)
            heavy = [(-flow.share(limits), 0, next(self._number), flow) for flow in flows]
            heapify(heavy)
            self._heavy = heavy
        while True:
            key, _, number, flow = heavy[0]
            share = flow.share(limits)
            if not flow.queued:
                heappop(heavy)
            elif share < -key:
                heapreplace(heavy, (-share, 0, number, flow))
            else:
                return flow

    def before(self, tenant: str, weight: int) -> float:
        """Tickets of this priority that go before another of a tenant: its own, and for each of
        them one of others' by weight, but not more than wait.
        """
        flow = self.flows.get(tenant)
        own = 0 if flow is None else flow.queued
        others = self._weights - (flow.weight if flow is not None and own else 0)
        return min(float(self.queued), own + (own + 1) * others / max(1, weight))

    def measure_anew(self) -> None:
        """The limits are others: so is everybody's part of the queue."""
        self._heavy = None

    def _entry(self, flow: Flow) -> _Entry:
        # Of equal counters the one goes first that has less running.
        flow.entry = number = next(self._number)
        return (flow.counter, flow.in_flight / flow.weight, number, flow)

    def _push(self, flow: Flow) -> None:
        heappush(self._heap, self._entry(flow))
        if len(self._heap) > 2 * len(self.flows) + 64:
            self._tidy()

    def _tidy(self) -> None:
        kept: list[_Entry] = []
        for entry in self._heap:
            flow = entry[3]
            if entry[2] != flow.entry:
                continue
            if flow.queued:
                kept.append(entry)
            else:
                flow.entry = 0
        heapify(kept)
        self._heap = kept
