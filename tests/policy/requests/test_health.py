"""Which replicas get no new work: suspicion, proof by one request, ejection of outliers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.policy.requests.types import Place, Ticket
from plimsoll.policy.retry import Failure
from tests.policy.requests.machine import Machine, upstream


def machine(count: int, capacity: int = 8) -> Machine:
    m = Machine(tries=1, requests=1000, size=10**9)
    m.replicas(*(upstream(number, capacity) for number in range(1, count + 1)))
    return m


def at(m: Machine, place: Place) -> Ticket:
    """A request that runs at this replica and no other."""
    others = []
    while (ticket := m.arrive()).place is not place:
        assert ticket.place is not None, "the replica takes nothing"
        others.append(ticket)
    for other in others:
        m.cancel(other)
    return ticket


def suspicion(m: Machine, place: Place) -> float:
    return place.suspect - m.now if place.suspect else 0.0


def test_a_replica_that_cannot_be_reached_is_left_alone_longer_each_time_but_not_for_ever() -> None:
    m = machine(1)
    place = m.place()
    seen = []
    for _ in range(8):
        m.fail(at(m, place), Failure.CONNECT, sent=0)
        seen.append(round(suspicion(m, place), 3))
        m.pass_time(seen[-1])
        m.refused()
        for ticket in [each for each in m.started() if not each.over]:
            m.cancel(ticket)
    assert seen == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_an_answer_ends_the_back_off() -> None:
    m = machine(1)
    place = m.place()
    for _ in range(2):
        m.fail(at(m, place), Failure.CONNECT, sent=0)
        m.pass_time(60.0)
        for ticket in [each for each in m.started() if not each.over]:
            m.end(ticket)
    m.fail(at(m, place), Failure.CONNECT, sent=0)
    assert suspicion(m, place) == pytest.approx(0.5)


def test_many_requests_that_break_at_once_count_as_one_failure() -> None:
    m = machine(2)
    place = m.place()
    tickets = [at(m, place) for _ in range(5)]
    for ticket in tickets:
        m.fail(ticket, Failure.LOST)
    assert suspicion(m, place) == pytest.approx(0.5)


def test_after_suspicions_in_a_row_a_replica_proves_itself_with_one_request() -> None:
    m = machine(1)
    place = m.place()
    first = at(m, place)
    m.fail(first, Failure.CONNECT, sent=0)
    m.pass_time(0.5)
    m.fail(first, Failure.CONNECT, sent=0)
    more = [m.arrive() for _ in range(3)]
    m.pass_time(1.0)
    assert first.place is place
    assert not any(ticket.place for ticket in more)
    m.it.began(first, m.now)
    late = m.arrive()
    assert all(ticket.place for ticket in (*more, late))


def test_a_proof_that_is_cancelled_lets_another_request_prove() -> None:
    m = machine(1)
    place = m.place()
    proof = at(m, place)
    for _ in range(2):
        m.fail(proof, Failure.CONNECT, sent=0)
        m.pass_time(2.0)
    second, third = m.arrive(), m.arrive()
    m.cancel(proof)
    assert second.place is place
    assert third.place is None


def test_a_proof_that_tells_nothing_is_followed_by_another_after_a_while() -> None:
    m = machine(1)
    proof = at(m, m.place())
    for _ in range(2):
        m.fail(proof, Failure.CONNECT, sent=0)
        m.pass_time(2.0)
    second = m.arrive()
    m.pass_time(4.9)
    assert second.place is None
    m.pass_time(0.2)
    assert second.place is not None


def test_at_most_half_of_the_replicas_are_left_alone_for_broken_answers() -> None:
    m = machine(5)
    for place in list(m.it.places("m")):
        m.fail(at(m, place), Failure.LOST)
    assert sum(bool(place.suspect) for place in m.it.places("m")) == 2


def test_the_only_replica_is_not_left_alone_for_a_broken_answer() -> None:
    m = machine(1)
    m.fail(at(m, m.place()), Failure.GARBAGE)
    assert not m.place().suspect


def test_all_replicas_that_cannot_be_reached_are_left_alone() -> None:
    m = machine(3)
    for place in list(m.it.places("m")):
        m.fail(at(m, place), Failure.CONNECT, sent=0)
    assert all(place.suspect for place in m.it.places("m"))


@pytest.mark.parametrize("failure", [Failure.ENGINE, Failure.FIRST_BYTE, Failure.BUSY])
def test_errors_in_a_row_count_as_a_broken_connection(failure: Failure) -> None:
    m = machine(2)
    place = m.place()
    for _ in range(4):
        m.fail(at(m, place), failure)
        assert not place.suspect
    m.fail(at(m, place), failure)
    assert place.suspect
    assert m.it.ejections("m") == {("m-1", "broken"): 1}


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.TOO_LONG])
def test_requests_that_are_at_fault_say_nothing_against_a_replica(failure: Failure) -> None:
    m = machine(2)
    for _ in range(20):
        m.fail(at(m, m.place()), failure)
    assert not m.place().suspect
    assert not m.it.ejections("m")


def mixed(m: Machine, place: Place, good: int, bad: int) -> None:
    """Results at one replica, never many failures in a row."""
    for number in range(good + bad):
        ticket = at(m, place)
        if number * bad // (good + bad) < (number + 1) * bad // (good + bad):
            m.fail(ticket, Failure.ENGINE)
        else:
            m.end(ticket)


def test_a_replica_that_fails_much_more_often_than_its_peers_is_ejected_for_a_while() -> None:
    m = machine(3)
    bad, *good = m.it.places("m")
    for place in good:
        mixed(m, place, 20, 1)
    mixed(m, bad, 6, 5)
    assert suspicion(m, bad) == pytest.approx(10.0)
    assert m.it.ejections("m") == {("m-1", "outlier"): 1}
    m.pass_time(10.0)
    assert not bad.suspect


def test_an_outlier_is_ejected_for_longer_each_time() -> None:
    m = machine(3)
    bad, *good = m.it.places("m")
    seen = []
    for _ in range(3):
        for place in good:
            mixed(m, place, 20, 0)
        mixed(m, bad, 6, 5)
        seen.append(round(suspicion(m, bad)))
        m.pass_time(suspicion(m, bad))
    assert seen == [10, 20, 30]


def test_where_all_fail_alike_none_is_ejected() -> None:
    m = machine(3)
    for _ in range(4):
        for place in m.it.places("m"):
            mixed(m, place, 6, 5)
    assert not m.it.ejections("m")


def test_failures_of_long_ago_do_not_count() -> None:
    m = machine(3)
    bad, *good = m.it.places("m")
    for place in good:
        mixed(m, place, 20, 0)
    mixed(m, bad, 5, 4)
    for _ in range(2):
        m.pass_time(15.0)
    for place in good:
        mixed(m, place, 20, 0)
    mixed(m, bad, 5, 4)
    assert not m.it.ejections("m")


def test_a_replica_that_left_and_came_back_is_trusted_anew() -> None:
    m = machine(2)
    first, second = m.it.places("m")
    running = at(m, first)
    lost = at(m, first)
    m.fail(at(m, first), Failure.CONNECT, sent=0)
    m.replicas(second.upstream)
    m.replicas(first.upstream, second.upstream)
    assert m.it.places("m")[0] is first
    assert not first.suspect
    m.fail(lost)  # a connection to what it was before
    assert not first.suspect
    m.cancel(running)


def test_where_the_rest_cannot_be_reached_even_an_ejected_replica_takes_work() -> None:
    m = machine(2)
    bad, good = m.it.places("m")
    mixed(m, good, 20, 0)
    mixed(m, bad, 6, 5)
    assert bad.suspect
    m.fail(at(m, good), Failure.CONNECT, sent=0)
    assert good.suspect
    assert not bad.suspect


def test_where_the_others_leave_an_ejected_replica_takes_work() -> None:
    m = machine(3)
    bad, *good = m.it.places("m")
    for place in good:
        mixed(m, place, 20, 0)
    mixed(m, bad, 6, 5)
    m.replicas(bad.upstream)
    assert not bad.suspect
    assert m.arrive().place is bad


def test_ejections_of_replicas_that_are_gone_are_forgotten() -> None:
    m = machine(2)
    m.fail(at(m, m.place()), Failure.CONNECT, sent=0)
    assert m.it.ejections("m") == {("m-1", "broken"): 1}
    m.replicas(upstream(2, 8))
    assert not m.it.ejections("m")


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 6),
    events=st.lists(
        st.tuples(
            st.integers(0, 5),
            st.sampled_from([*Failure, None]),
            st.sampled_from([0.0, 0.3, 5.0, 20.0]),
        ),
        max_size=120,
    ),
)
def test_unless_unreachable_half_of_the_replicas_always_take_work(
    count: int, events: list[tuple[int, Failure | None, float]]
) -> None:
    m = machine(count, capacity=100)
    unreachable: set[Place] = set()
    for number, failure, seconds in events:
        m.pass_time(seconds)
        places = m.it.places("m")
        unreachable = {place for place in unreachable if place.suspect}
        out = {place for place in places if place.suspect}
        assert len(out - unreachable) <= count // 2
        free = [place for place in places if not place.suspect]
        if not free:
            assert out == unreachable  # nothing else could be done
            continue
        place = free[number % len(free)]
        ticket = at(m, place)
        proving = bool(place.suspect)  # it takes one request at a time
        if failure is None:
            m.end(ticket)
            continue
        m.fail(ticket, failure)
        if failure is Failure.CONNECT or proving:
            unreachable.add(place)
        for left in [each for each in m.started() if not each.over]:
            m.cancel(left)
