from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plimsoll.gateway.board import Board
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.queue import QueueLimits, Served, Ticket, Upstream


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


def test_a_replica_keeps_its_requests_when_its_capacity_changes() -> None:
    it = board(upstream(1, capacity=2))
    queue = it.find("m")
    tickets = [queue.enter(1, lambda: None, 0.0) for _ in range(4)]
    assert (queue.in_flight, queue.queued) == (2, 2)
    it.update("m", (upstream(1, capacity=3),))
    assert (queue.in_flight, queue.queued) == (3, 1)
    it.update("m", (upstream(1, capacity=1),))
    tickets[0].leave(0.0)
    assert (queue.in_flight, queue.queued) == (2, 1)  # nobody was granted above the new capacity
    for ticket in tickets:
        ticket.leave(0.0)
    assert (queue.in_flight, queue.queued) == (0, 0)


def test_of_several_gateways_one_takes_more_than_its_share_once_a_replica_says_it_is_free() -> None:
    one = replace(upstream(1, capacity=8), gateways=2)
    it = board(one)
    queue = it.find("m")
    for _ in range(9):
        queue.enter(1, lambda: None, 0.0)
    assert (queue.in_flight, queue.queued) == (4, 5)
    queue.told(one, 4)  # nobody else is there: half of the four that are free
    assert (queue.in_flight, queue.queued) == (6, 3)
    queue.told(one, 14)  # eight are another's
    assert queue.places[0].limit == 4
    queue.told(one, None)
    assert (queue.places[0].limit, queue.places[0].others) == (4, 0)


def test_what_ended_while_a_replica_was_asked_is_not_anothers() -> None:
    it = board(upstream(1, capacity=8))
    queue = it.find("m")
    queue.told(upstream(1), 3, own=3)
    assert queue.places[0].others == 0


def test_a_replica_that_others_keep_busy_gets_less() -> None:
    it = board(upstream(1, capacity=8), upstream(2, capacity=8))
    queue = it.find("m")
    queue.told(upstream(1), 6)
    for _ in range(6):
        queue.enter(1, lambda: None, 0.0)
    assert (it.in_flight("m-1"), it.in_flight("m-2")) == (0, 6)
    queue.enter(1, lambda: None, 0.0)
    queue.enter(1, lambda: None, 0.0)
    assert (it.in_flight("m-1"), it.in_flight("m-2")) == (1, 7)


def test_models_come_and_go_and_those_that_stay_keep_everything() -> None:
    it = board(upstream(1, capacity=1))
    queue = it.find("m")
    running, waiting = (queue.enter(1, lambda: None, 0.0) for _ in range(2))
    it.offer([
        Served(name="m", task="chat", context=2),
        Served(name="fresh", aliases=("f",), adapters=("g",), task="chat", context=1),
    ])  # fmt: skip
    assert it.find("m") is queue
    assert (queue.served.context, queue.in_flight, queue.queued) == (2, 1, 1)
    assert it.find("n") is None
    assert it.find("f") is it.find("g") is it.find("fresh")
    running.leave(0.0)
    assert waiting.place is not None


def test_a_model_that_goes_refuses_who_waits_and_lets_finish_who_runs() -> None:
    it = board(upstream(1, capacity=1))
    queue = it.find("m")
    refusals: list[str] = []

    def refused(error: Refused) -> None:
        refusals.append(error.code)

    running = queue.enter(1, lambda: None, 0.0, refused)
    queue.enter(1, lambda: None, 0.0, refused)
    queue.suspect(running.place, until=9.0)
    lost = queue.enter(1, lambda: None, 0.0, refused)
    it.offer([])
    assert refusals == ["model_not_found"] * 2
    assert it.find("m") is None
    assert it.upstreams() == frozenset()
    assert (queue.in_flight, queue.queued, queue._waiting_bytes) == (1, 0, 0)
    lost.leave(0.0)
    with pytest.raises(Refused, match="no longer offered"):
        queue.enter(1, lambda: None, 0.0)
    with pytest.raises(Refused, match="no longer offered"):
        running.again(0.0)
    assert queue.in_flight == 0
    running.leave(0.0)
    assert queue._leaving == []


def test_a_request_waits_longer_while_no_replica_is_ready_where_the_model_says_so() -> None:
    it = Board([Served(name="m", task="chat", context=1, hold=180.0)])
    queue = it.find("m")
    assert queue.patience(60.0) == 180.0
    it.update("m", (upstream(1),))
    assert queue.patience(60.0) == 60.0


class Requests(RuleBasedStateMachine):
    """Everything that can happen, in any order: nothing lost, nothing counted twice."""

    def __init__(self) -> None:
        super().__init__()
        self.board = board(requests=10)
        self.queue = self.board.find("m")
        self.now = 0.0
        self.most = 2  # the largest capacity that a replica ever had
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

    @rule(numbers=st.sets(st.integers(1, 5)), capacity=st.integers(1, 4))
    def shares_change(self, numbers: set[int], capacity: int) -> None:
        self.most = max(self.most, capacity)
        self.board.update("m", tuple(upstream(number, capacity) for number in sorted(numbers)))

    @rule(number=st.integers(1, 5), gateways=st.integers(1, 3))
    def gateways_change(self, number: int, gateways: int) -> None:
        self.board.update("m", (replace(upstream(number), gateways=gateways),))

    @rule(number=st.integers(1, 5), requests=st.none() | st.integers(0, 9))
    def a_replica_tells(self, number: int, requests: int | None) -> None:
        self.queue.told(upstream(number), requests)

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
            assert place.others >= 0
            assert -(-place.capacity // 3) <= place.limit <= place.capacity
            assert 0 <= place.in_flight <= self.most  # more than now, where it was lowered

    @invariant()
    def nobody_waits_while_a_place_is_free(self) -> None:
        free = [
            place
            for place in self.queue.places
            if not place.suspect and place.in_flight < place.limit
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
