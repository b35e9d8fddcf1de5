"""When another model answers, and when a request waits for its own."""

from __future__ import annotations

import pytest

from plimsoll.policy.requests.types import Reason
from plimsoll.policy.retry import Failure
from tests.policy.requests.machine import Machine, served, upstream


def machine(*names: str, requests: int = 100, tries: int = 1) -> Machine:
    """Models of which only the last named has replicas: two places."""
    m = Machine(*(served(name) for name in names), requests=requests, tries=tries)
    m.replicas(upstream(1, model=names[-1]), model=names[-1])
    return m


def test_a_full_queue_sends_to_the_fallback() -> None:
    m = machine("a", "b", requests=1)
    m.arrive("a", fallbacks=("b",))
    ticket = m.arrive("a", fallbacks=("b",))
    assert ticket.model == "b"
    assert ticket.place is m.place(model="b")
    assert (m.it.queued("a"), m.it.in_flight_of("b")) == (1, 1)


def test_who_gives_way_in_a_full_queue_falls_back_too() -> None:
    m = machine("a", "b", requests=1)
    low = m.arrive("a", fallbacks=("b",))
    m.arrive("a", priority=1)
    assert low.model == "b"
    assert low.place is not None


def test_each_model_gets_an_equal_part_of_the_time_that_is_left() -> None:
    m = machine("a", "b", "c")
    m.replicas(model="c")
    ticket = m.arrive("a", fallbacks=("b", "c"), wait=30.0)
    m.pass_time(9.9)
    assert ticket.model == "a"
    m.pass_time(0.2)
    assert ticket.model == "b"
    m.pass_time(9.9)
    assert ticket.model == "b"
    m.pass_time(0.2)
    assert ticket.model == "c"
    m.pass_time(9.7)
    assert not ticket.over
    m.pass_time(0.2)
    assert m.reason(ticket) is Reason.NO_REPLICA


def test_a_refusal_is_for_the_model_that_the_request_waited_for_last() -> None:
    m = machine("a", "b", requests=1)
    m.replicas(model="b")
    m.arrive("b")
    ticket = m.arrive("a", fallbacks=("b",), wait=10.0)
    m.pass_time(5.0)
    assert (ticket.model, m.reason(ticket)) == ("a", Reason.NO_REPLICA)


def test_one_that_has_waited_to_its_end_takes_a_fallback_that_is_free() -> None:
    m = machine("a", "b")
    m.replicas(upstream(1, model="a"), model="a")
    ticket = m.arrive("a", fallbacks=("b",), wait=0.0)
    m.fail(ticket, Failure.ENGINE)
    assert (ticket.model, ticket.place) == ("b", m.place(model="b"))


def test_a_model_that_cannot_be_woken_in_time_is_passed_over_and_woken_all_the_same() -> None:
    m = machine("a", "b")
    first = m.arrive("a", wait=300.0)
    m.pass_time(100.0)  # so long its replica takes to come
    m.replicas(upstream(1, model="a"), model="a")
    m.end(first)
    m.replicas(model="a")
    hasty = m.arrive("a", fallbacks=("b",), wait=60.0)
    assert (hasty.model, hasty.place) == ("b", m.place(model="b"))
    assert m.woken() == ["a", "a"]
    patient = m.arrive("a", fallbacks=("b",), wait=600.0)
    assert (patient.model, patient.place) == ("a", None)
    alone = m.arrive("a", wait=10.0)
    assert not alone.over  # it has nowhere else to go


def test_a_model_whose_every_try_failed_falls_back() -> None:
    m = machine("a", "b", tries=2)
    m.replicas(*(upstream(number, model="a") for number in (1, 2)), model="a")
    ticket = m.arrive("a", fallbacks=("b",))
    m.fail(ticket, sent=1)
    assert ticket.model == "a"
    m.fail(ticket, sent=2)
    assert (ticket.model, ticket.place) == ("b", m.place(model="b"))
    assert ticket.tried == ()
    m.fail(ticket, sent=3)
    assert m.reason(ticket) is Reason.GIVE_UP
    assert ticket.model == "b"


def test_an_answer_that_has_begun_never_changes_its_model() -> None:
    m = machine("a", "b", tries=1)
    m.replicas(*(upstream(number, model="a") for number in (1, 2)), model="a")
    ticket = m.arrive("a", fallbacks=("b",))
    m.it.began(ticket, m.now)
    m.fail(ticket, sent=1, answering=True, resumable=True)
    assert m.reason(ticket) is Reason.GIVE_UP


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.TOO_LONG])
def test_a_request_that_is_at_fault_does_not_fall_back(failure: Failure) -> None:
    m = machine("a", "b")
    m.replicas(upstream(1, model="a"), model="a")
    ticket = m.arrive("a", fallbacks=("b",))
    m.fail(ticket, failure)
    assert m.reason(ticket) is Reason.GIVE_UP


def test_nobody_gives_way_to_a_request_that_fell_back() -> None:
    m = machine("a", "b", requests=1)
    for _ in range(2):
        m.arrive("b")
    low = m.arrive("b")
    m.arrive("a", priority=9)
    ticket = m.arrive("a", fallbacks=("b",), priority=9)
    assert (m.reason(ticket), ticket.model) == (Reason.QUEUE_FULL, "a")
    assert not low.over


def test_fallbacks_that_are_not_offered_or_that_lead_back_are_passed_over() -> None:
    m = machine("a", "b", requests=1)
    m.arrive("a")
    ticket = m.arrive("a", fallbacks=("gone", "a", "b"))
    assert ticket.model == "b"
    assert ticket.place is not None
