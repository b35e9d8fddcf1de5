"""How many replicas a demand takes, and what a cold start costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.plan.search.sizing import FULLEST, cold_start, replicas
from plimsoll.plan.search.types import ColdStart, Demand

NOW = ColdStart(node=0, image=0, weights=0, engine=0)
SLOW = ColdStart(node=300, image=0, weights=60, engine=90)


def demand(rate: float, factor: float = 1.0) -> Demand:
    return Demand(rate=rate, peak=rate * factor, prompt=1000, output=200)


def test_without_traffic_there_is_one_replica() -> None:
    assert replicas(demand(0.0), 2.0, SLOW).steady == 1


def test_a_replica_is_not_filled_to_the_brim() -> None:
    assert replicas(demand(FULLEST), 1.0, NOW).steady == 1
    assert replicas(demand(FULLEST * 1.01), 1.0, NOW).steady == 2


def test_a_slow_start_keeps_room_for_the_climb_meanwhile() -> None:
    climbing = demand(10.0, factor=3.0)
    assert replicas(climbing, 1.0, NOW).headroom == 0.0
    late = replicas(climbing, 1.0, SLOW)
    assert late.headroom == pytest.approx(2.0 * 450 / 900)
    assert late.steady > replicas(climbing, 1.0, NOW).steady


def test_larger_weights_take_longer_to_come() -> None:
    assert cold_start(140e9).total > cold_start(16e9).total
    assert cold_start(16e9, download=1e9).total > cold_start(16e9).total


@given(
    rate=st.floats(0.01, 500),
    factor=st.floats(1, 10),
    capacity=st.floats(0.05, 50),
    more=st.floats(1, 5),
)
def test_more_capacity_never_needs_more_and_the_peak_never_fewer(
    rate: float, factor: float, capacity: float, more: float
) -> None:
    few, many = (
        replicas(demand(rate, factor), capacity * more, SLOW),
        replicas(demand(rate, factor), capacity, SLOW),
    )
    assert few.steady <= many.steady
    assert few.most <= many.most
    assert many.steady <= many.most
    assert many.steady * capacity >= rate
