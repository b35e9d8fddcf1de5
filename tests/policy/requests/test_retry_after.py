"""When a refused request may be worth sending again."""

from __future__ import annotations

import pytest

from plimsoll.policy.requests.types import Reason, Ticket
from tests.policy.requests.machine import Machine, served, upstream


def steady(m: Machine, *, ends: int, seconds: float) -> None:
    """So many requests end in a row, at a steady pace."""
    for _ in range(ends):
        ticket = m.arrive()
        m.now += seconds
        m.end(ticket)


def test_it_is_what_waits_ahead_over_the_measured_pace() -> None:
    m = Machine(requests=9)
    m.replicas(upstream(1, capacity=1))
    steady(m, ends=100, seconds=0.5)
    for _ in range(10):
        m.arrive()
    refused = m.arrive()
    assert m.reason(refused) is Reason.QUEUE_FULL
    assert m.retry_after(refused) == pytest.approx(10 / 2.0, rel=0.1)


def test_the_pace_follows_what_happens_now() -> None:
    m = Machine()
    m.replicas(upstream(1, capacity=1))
    steady(m, ends=400, seconds=0.1)
    assert m.it.drained("m", m.now) == pytest.approx(10, rel=0.05)
    steady(m, ends=120, seconds=1.0)
    assert m.it.drained("m", m.now) == pytest.approx(1, rel=0.3)
    m.now += 300.0
    assert m.it.drained("m", m.now) < 0.01


def test_the_pace_does_not_depend_on_how_often_time_is_told() -> None:
    paces = []
    for often in (False, True):
        m = Machine()
        m.replicas(upstream(1, capacity=1))
        for _ in range(100):
            steady(m, ends=1, seconds=0.5)
            if often:
                m.pass_time(0.0)
        paces.append(m.it.drained("m", m.now))
    assert paces[0] == pytest.approx(paces[1], rel=0.6)


def test_who_floods_is_told_to_stay_away_longer_than_others() -> None:
    m = Machine(requests=20)
    m.replicas(upstream(1, capacity=1))
    steady(m, ends=100, seconds=0.5)
    m.arrive()
    for tenant in ["flood"] * 15 + ["light"] * 5:
        m.arrive(tenant=tenant, priority=1)
    flood, small = (m.arrive(tenant=name, priority=1) for name in ("flood", "small"))
    assert m.retry_after(flood) == pytest.approx(21 / 2.0, rel=0.1)
    displaced = m.refused()[-1]
    assert displaced.tenant == "flood"
    assert not small.over
    low = m.arrive(priority=0)
    assert m.retry_after(low) == pytest.approx(21 / 2.0, rel=0.1)  # all of higher priority first
    light = m.it._models["m"].retry_after(Ticket(None, "m", deadline=0, tenant="x", priority=1), 0)
    assert light < 4.0


def test_who_waits_for_a_replica_to_come_is_told_how_long_that_takes() -> None:
    m = Machine(served(hold=120.0), requests=1)
    m.arrive()
    assert m.retry_after(m.arrive()) == 120.0  # not seen yet: the longest that it may take
    m.pass_time(40.0)
    m.replicas(upstream(1, capacity=1))
    m.end(*m.started())
    m.replicas()
    m.arrive()
    m.pass_time(10.0)
    assert m.retry_after(m.arrive()) == pytest.approx(30.0)


def test_where_nothing_is_known_nothing_is_said() -> None:
    m = Machine(requests=1)
    m.arrive()
    assert m.retry_after(m.arrive()) == 0.0
    m.replicas(upstream(1, capacity=1))
    m.arrive()
    assert m.retry_after(m.arrive()) == 0.0


def test_it_is_never_less_than_a_second_nor_more_than_the_model_holds_requests() -> None:
    m = Machine(served(hold=30.0), requests=1)
    m.replicas(upstream(1, capacity=1))
    steady(m, ends=1000, seconds=0.01)
    running = m.arrive()
    m.arrive()
    assert m.retry_after(m.arrive()) == 1.0
    m.now += 900.0
    assert m.retry_after(m.arrive()) == 30.0
    m.cancel(running)


def test_a_request_whose_tries_failed_gets_no_word() -> None:
    m = Machine(tries=1)
    m.replicas(upstream(1))
    steady(m, ends=10, seconds=1.0)
    ticket = m.arrive()
    m.fail(ticket)
    assert m.retry_after(ticket) == 0.0
