from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.plan.speed.queueing import (
    normal_quantile,
    probability_of_waiting,
    single_wait,
    slot_wait,
    wait_quantile,
)


@given(st.floats(0.001, 0.999))
def test_a_normal_quantile_is_that_of_the_normal_distribution(share: float) -> None:
    assert normal_quantile(share) == pytest.approx(NormalDist().inv_cdf(share), abs=1e-3)


@given(rate=st.floats(0.01, 5.0), service=st.floats(0.001, 0.19))
def test_a_single_server_with_exponential_service_waits_as_m_m_1(rate, service) -> None:
    busy = rate * service
    assert single_wait(rate, service, 1.0) == pytest.approx(busy / (1 - busy) * service)


def test_one_slot_waits_as_a_single_server() -> None:
    assert slot_wait(1.0, 0.6, 2.0, 1.0) == pytest.approx(single_wait(0.3, 2.0, 1.0))


def erlang_c(servers: int, busy: float) -> float:
    load = servers * busy
    idle = sum(load**k / math.factorial(k) for k in range(servers))
    full = load**servers / math.factorial(servers) / (1 - busy)
    return full / (idle + full)


@pytest.mark.parametrize("servers", [2, 8, 32, 128])
@pytest.mark.parametrize("busy", [0.5, 0.8, 0.95])
def test_the_chance_of_waiting_is_near_erlangs(servers: int, busy: float) -> None:
    assert probability_of_waiting(servers, busy) == pytest.approx(erlang_c(servers, busy), abs=0.1)


def test_a_queue_that_cannot_keep_up_has_no_end() -> None:
    assert math.isinf(single_wait(2.0, 0.5, 1.0))
    assert math.isinf(slot_wait(4.0, 1.0, 1.0, 1.0))


def test_who_never_waits_has_no_quantile_of_waiting() -> None:
    assert wait_quantile(0.0, 0.0, 0.99) == 0.0
    assert wait_quantile(0.01, 0.005, 0.99) == 0.0


def test_exponential_waits_have_exponential_quantiles() -> None:
    assert wait_quantile(1.0, 1.0, 0.99) == pytest.approx(math.log(100.0))
