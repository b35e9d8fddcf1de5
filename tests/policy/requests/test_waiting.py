"""Who gets a place, who waits, and what becomes of replicas and models meanwhile."""

from __future__ import annotations

import random

import pytest

from plimsoll.policy.requests.types import Do, QueueLimits, Reason
from plimsoll.policy.retry import Failure
from tests.policy.requests.machine import Machine, replicas_of, served, upstream


def test_who_waits_is_served_in_order_and_who_lost_a_place_first() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=1))
    first, second, third = m.arrive(), m.arrive(), m.arrive()
    m.fail(first, Failure.CONNECT, sent=0)
    assert first.place is None
    m.pass_time(0.4)
    assert m.started() == [first]
    m.pass_time(0.2)
    assert m.started() == [first, first]
    m.end(first)
    m.end(second)
    assert m.started() == [first, first, second, third]


def test_those_who_lost_a_place_keep_their_order_among_themselves() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=2))
    first, second = m.arrive(), m.arrive()
    m.fail(second, Failure.CONNECT, sent=0)
    m.fail(first, Failure.CONNECT, sent=0)
    m.pass_time(1.0)
    assert m.started()[-2:] == [second, first]


def test_one_that_loses_its_place_leaves_it_to_those_who_lost_theirs_before() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=1), upstream(2, capacity=1))
    first, second = m.arrive(), m.arrive()
    m.fail(first, Failure.CONNECT, sent=0)
    left = second.place
    m.fail(second, Failure.BUSY)
    assert (first.place, second.place) == (left, None)


def test_a_stale_connection_is_tried_once_more_at_the_same_replica() -> None:
    m = Machine()
    m.replicas(upstream(1), upstream(2))
    ticket = m.arrive()
    place = ticket.place
    m.fail(ticket, Failure.STALE, sent=0)
    assert m.started() == [ticket, ticket]
    assert ticket.place is place
    assert place is not None
    assert (place.in_flight, place.suspect) == (1, 0.0)


def test_a_failed_try_goes_elsewhere_until_the_tries_are_used_up() -> None:
    m = Machine(tries=2)
    m.replicas(upstream(1), upstream(2))
    ticket = m.arrive()
    first = replicas_of([ticket])
    m.fail(ticket, sent=1)
    assert replicas_of([ticket]) != first
    m.fail(ticket, sent=2)
    assert m.reason(ticket) is Reason.GIVE_UP
    assert m.it.in_flight_of("m") == 0


def test_an_answer_that_broke_off_goes_on_elsewhere_only_where_it_can_be_resumed() -> None:
    m = Machine()
    m.replicas(upstream(1), upstream(2), upstream(3))
    whole, broken = m.arrive(prompt=10), m.arrive(prompt=10)
    for ticket in (whole, broken):
        m.it.began(ticket, m.now)
        m.it.chunk(ticket, 7)
    m.fail(broken, answering=True, resumable=False)
    assert m.reason(broken) is Reason.GIVE_UP
    m.fail(whole, answering=True, resumable=True)
    assert whole.place is not None
    assert (whole.place.prefill, whole.place.context) == (17, 17)  # it reads the answer too


def test_the_queue_is_bounded_in_requests_and_bytes() -> None:
    m = Machine(requests=2, size=1000)
    m.arrive(size=10)
    assert m.reason(m.arrive(size=991)) is Reason.QUEUE_FULL
    m.arrive(size=990)
    assert m.reason(m.arrive(size=0)) is Reason.QUEUE_FULL
    assert (m.it.queued("m"), m.it.queued_bytes("m")) == (2, 1000)
    m.it.limit(QueueLimits(requests=3, bytes=1000))
    assert m.reason(m.arrive(size=0)) is None


def test_a_request_whose_try_failed_waits_although_the_queue_is_full() -> None:
    m = Machine(requests=1)
    m.replicas(upstream(1, capacity=1))
    running, waiting = m.arrive(), m.arrive()
    m.fail(running, Failure.CONNECT, sent=0)
    assert m.it.queued("m") == 2
    assert not m.refused()
    m.pass_time(1.0)
    m.end(running)
    assert waiting.place is not None


def test_a_replica_keeps_its_requests_when_its_capacity_changes() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=2))
    tickets = [m.arrive() for _ in range(4)]
    counts = lambda: (m.it.in_flight_of("m"), m.it.queued("m"))  # noqa: E731
    assert counts() == (2, 2)
    m.replicas(upstream(1, capacity=3))
    assert counts() == (3, 1)
    m.replicas(upstream(1, capacity=1))
    m.end(tickets[0])
    assert counts() == (2, 1)  # nobody was let in above the new capacity
    for ticket in tickets:
        m.cancel(ticket)
    assert counts() == (0, 0)


def test_a_replica_that_leaves_gets_nothing_new_and_what_runs_there_goes_on() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=1))
    running, waiting = m.arrive(), m.arrive()
    m.replicas()
    assert (m.it.in_flight("m-1"), m.it.queued("m"), m.it.held("m")) == (1, 1, 1)
    m.end(running)
    assert waiting.place is None
    assert m.it.in_flight("m-1") == 0
    assert not m.it._models["m"]._leaving
    m.replicas(upstream(2))
    assert replicas_of([waiting]) == ["m-2"]
    assert m.it.held("m") == 0


def test_a_replica_that_comes_back_while_it_drains_still_counts_what_runs_there() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=1))
    m.arrive()
    m.replicas()
    m.replicas(upstream(1, capacity=1))
    assert m.arrive().place is None


def test_of_several_gateways_one_takes_more_than_its_share_once_a_replica_is_free() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=8, gateways=2))
    for _ in range(9):
        m.arrive()
    assert (m.it.in_flight_of("m"), m.it.queued("m")) == (4, 5)
    m.it.told("m", "m-1", 4, 0, None, m.now)  # nobody else is there: half of the four left
    assert (m.it.in_flight_of("m"), m.it.queued("m")) == (6, 3)
    m.it.told("m", "m-1", 14, 0, None, m.now)  # eight are another's
    assert m.place().limit == 4
    m.it.told("m", "m-1", None, 0, None, m.now)
    assert (m.place().limit, m.place().others) == (4, 0)


def test_what_ended_while_a_replica_was_asked_is_not_anothers() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=8))
    m.it.told("m", "m-1", 3, 3, 0.5, m.now)
    assert (m.place().others, m.place().kv_usage) == (0, 0.5)


def test_word_of_a_replica_or_model_that_is_not_there_is_nothing() -> None:
    m = Machine()
    m.replicas(upstream(1))
    assert not m.it.told("m", "m-2", 3, 0, None, m.now)
    assert not m.it.told("x", "m-1", 3, 0, None, m.now)


def test_replicas_of_an_unknown_model_are_an_error_and_change_nothing() -> None:
    m = Machine()
    with pytest.raises(KeyError):
        m.it.replicas({"m": (upstream(1),), "x": ()}, m.now)
    assert not m.it.places("m")


def test_models_come_and_go_and_those_that_stay_keep_everything() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=1))
    running, waiting = m.arrive(), m.arrive()
    m.offer(served(context=2), served("fresh", aliases=("f",), adapters=("g",)))
    assert m.it.served("m") == served(context=2)
    assert (m.it.in_flight_of("m"), m.it.queued("m")) == (1, 1)
    assert tuple(m.it.spoken()) == ("m", "fresh", "f", "g")
    m.end(running)
    assert waiting.place is not None


def test_a_model_that_goes_refuses_who_waits_and_lets_finish_who_runs() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=2))
    running, lost, waiting = m.arrive(), m.arrive(), m.arrive()
    out = m.offer()
    assert [(each.ticket, each.reason) for each in out] == [(waiting, Reason.WITHDRAWN)]
    assert m.it.in_flight("m-1") == 2
    m.fail(lost)
    assert m.reason(lost) is Reason.WITHDRAWN
    assert m.reason(m.arrive()) is Reason.WITHDRAWN
    m.end(running)
    assert m.it.in_flight("m-1") == 0
    assert not m.it._gone


def test_a_model_that_is_offered_again_still_counts_what_runs_there() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=1))
    running = m.arrive()
    m.offer()
    m.offer(served())
    assert m.it.in_flight_of("m") == 1
    m.replicas(upstream(1, capacity=1))
    waiting = m.arrive()
    assert waiting.place is None
    m.end(running)
    assert waiting.place is not None


def test_two_models_of_one_name_are_an_error_and_change_nothing() -> None:
    m = Machine()
    waiting = m.arrive()
    with pytest.raises(ValueError, match="offered twice: x"):
        m.offer(served("x"), served("x"))
    assert (m.it.names(), m.it.queued("m"), waiting.over) == (("m",), 1, False)


def test_a_model_without_replicas_is_woken_by_who_comes_and_by_who_waits_when_they_go() -> None:
    m = Machine()
    m.arrive()
    assert m.woken() == ["m"]
    m.replicas(upstream(1, capacity=1))
    m.arrive()
    assert m.woken() == ["m"]
    m.replicas()
    assert m.woken() == ["m", "m"]


def test_a_wait_ends_at_its_deadline_and_not_before() -> None:
    m = Machine()
    late, early = m.arrive(wait=20.0), m.arrive(wait=10.0)
    m.pass_time(9.9)
    assert not m.refused()
    m.pass_time(0.1)
    assert m.refused() == [early]
    assert m.reason(early) is Reason.NO_REPLICA
    m.pass_time(10.0)
    assert m.refused() == [early, late]
    assert m.it.queued("m") == 0


def test_one_that_may_not_wait_is_refused_at_once_unless_a_place_is_free() -> None:
    m = Machine()
    assert m.reason(m.arrive(wait=0.0)) is Reason.NO_REPLICA
    m.replicas(upstream(1, capacity=1))
    assert m.arrive(wait=0.0).place is not None


def test_a_ticket_arrives_once() -> None:
    m = Machine()
    ticket = m.arrive()
    with pytest.raises(ValueError, match="once"):
        m.it.arrive(ticket, m.now)
    m.cancel(ticket)
    with pytest.raises(ValueError, match="once"):
        m.it.arrive(ticket, m.now)


def test_what_is_cancelled_ended_or_failed_again_changes_nothing() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=1))
    running, waiting = m.arrive(prompt=5), m.arrive()
    for ticket in (waiting, running, running, waiting):
        m.cancel(ticket)
        m.end(ticket, tokens=3)
        m.fail(ticket)
    place = m.place()
    assert (place.in_flight, place.prefill, place.context) == (0, 0, 0)
    assert (m.it.queued("m"), m.it.queued_bytes("m")) == (0, 0)
    assert [each.do for each in m.told] == [Do.START]


def test_a_place_counts_prompts_until_they_are_read_and_answers_as_they_come() -> None:
    m = Machine()
    m.replicas(upstream(1))
    ticket = m.arrive(prompt=30)
    place = m.place()
    assert (place.prefill, place.context) == (30, 30)
    m.it.began(ticket, m.now)
    m.it.began(ticket, m.now)
    m.it.chunk(ticket, 4)
    assert (place.prefill, place.context) == (0, 34)
    m.end(ticket, tokens=2)
    assert (place.prefill, place.context) == (0, 0)


@pytest.mark.parametrize("stays", [0, 999], ids=["the first stays", "the last stays"])
def test_a_thousand_that_leave_the_middle_of_the_queue_leave_nothing_behind(stays: int) -> None:
    m = Machine(requests=10_000, size=10**9)
    for _ in range(3):
        tickets = [m.arrive(tenant=str(n % 7), wait=10.0 + n) for n in range(1000)]
        for ticket in tickets[:stays] + tickets[stays + 1 :]:
            m.cancel(ticket)
    line = m.it._models["m"].line
    kept = sum(len(flow.waiting) for each in line._order for flow in each.flows.values())
    assert line.queued == 3
    assert kept + len(line._deadlines) < 300


def test_waits_end_in_their_time_whoever_left_before() -> None:
    m = Machine(requests=10_000, size=10**9)
    chance = random.Random(3)
    tickets = [m.arrive(wait=chance.uniform(1.0, 100.0)) for _ in range(600)]
    for ticket in chance.sample(tickets, 450):
        m.cancel(ticket)
    left = [ticket for ticket in tickets if not ticket.over]
    for second in range(0, 101, 5):
        m.now = float(second)
        m.pass_time(0.0)
        assert set(m.refused()) == {ticket for ticket in left if ticket.deadline <= second}
