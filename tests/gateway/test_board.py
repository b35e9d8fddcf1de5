from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plimsoll.gateway.board import Board, QueueLimits, Served, Ticket, Upstream
from plimsoll.gateway.errors import Refused


def upstream(number: int, capacity: int = 2) -> Upstream:
    return Upstream(replica=f"m-{number}", host="h", port=number, capacity=capacity)


def board(*upstreams: Upstream, requests: int = 100) -> Board:
    made = Board([Served(name="m", aliases=("n",), task="chat", context=1)])
    made.limit(QueueLimits(requests=requests, bytes=1000))
    made.update("m", upstreams)
    return made


def test_who_waits_is_served_in_order_and_who_lost_a_place_first() -> None:
    it = board(upstream(1, capacity=1))
    queue = it.find("m")
    served: list[str] = []
    first = queue.enter(1, lambda: served.append("first"), 0.0)
    for name in ("second", "third"):
        queue.enter(1, lambda name=name: served.append(name), 0.0)
    queue.suspect(first.place, until=5.0)
    assert not first.again(1.0)
    it.tick(4.9)
    assert served == []
    it.tick(5.0)
    assert served == ["first"]
    first.leave(6.0)
    assert served == ["first", "second"]


def test_a_name_and_its_alias_are_one_queue_and_demand_is_by_name() -> None:
    it = board(upstream(1))
    assert it.find("n") is it.find("m")
    it.find("n").enter(1, lambda: None, 7.0)
    assert {name: (d.queued, d.in_flight, d.last_used) for name, d in it.demand().items()} == {
        "m": (0, 1, 7.0)
    }


def test_the_queue_is_bounded_in_requests_and_bytes() -> None:
    it = board(requests=2)
    queue = it.find("m")
    queue.enter(10, lambda: None, 0.0)
    with pytest.raises(Refused, match="already wait"):
        queue.enter(991, lambda: None, 0.0)
    queue.enter(990, lambda: None, 0.0)
    with pytest.raises(Refused, match="already wait"):
        queue.enter(0, lambda: None, 0.0)


class Requests(RuleBasedStateMachine):
    """Everything that can happen, in any order: nothing lost, nothing counted twice."""

    def __init__(self) -> None:
        super().__init__()
        self.board = board(requests=10)
        self.queue = self.board.find("m")
        self.now = 0.0
        self.tickets: list[Ticket] = []
        self.granted: set[int] = set()

    @rule(size=st.integers(0, 300))
    def enter(self, size: int) -> None:
        number = len(self.tickets)
        with suppress(Refused):
            self.tickets.append(self.queue.enter(size, lambda: self.granted.add(number), self.now))

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.tickets)).leave(self.now)

    @precondition(lambda self: any(ticket.place for ticket in self.tickets))
    @rule(data=st.data(), suspect=st.booleans())
    def fail(self, data: st.DataObject, *, suspect: bool) -> None:
        ticket = data.draw(st.sampled_from([each for each in self.tickets if each.place]))
        if suspect:
            self.queue.suspect(ticket.place, until=self.now + 1.0)
        ticket.again(self.now)

    @rule(numbers=st.sets(st.integers(1, 5)))
    def replicas_change(self, numbers: set[int]) -> None:
        self.board.update("m", tuple(upstream(number) for number in sorted(numbers)))

    @rule(seconds=st.sampled_from([0.1, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.board.tick(self.now)

    @invariant()
    def counts_are_right(self) -> None:
        holding = [ticket for ticket in self.tickets if ticket.place is not None]
        assert self.queue.in_flight == len(holding)
        waiting = [*self.queue._first, *self.queue._waiting]
        assert self.queue.queued == len(waiting)
        assert self.queue._waiting_bytes == sum(ticket.size for ticket in waiting)
        assert not set(map(id, waiting)) & set(map(id, holding))
        for number in range(1, 6):
            name = f"m-{number}"
            here = [each for each in holding if each.place.upstream.replica == name]
            assert self.board.in_flight(name) == len(here)
        for place in self.queue.places:
            assert 0 <= place.in_flight <= place.capacity

    @invariant()
    def nobody_waits_while_a_place_is_free(self) -> None:
        free = [
            place
            for place in self.queue.places
            if not place.suspect and place.in_flight < place.capacity
        ]
        assert not (free and self.queue.queued)

    def teardown(self) -> None:
        for ticket in self.tickets:
            ticket.leave(self.now)
            ticket.leave(self.now)
        assert (self.queue.queued, self.queue.in_flight, self.queue._waiting_bytes) == (0, 0, 0)
        assert self.queue._leaving == []


Requests.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRequests = Requests.TestCase
