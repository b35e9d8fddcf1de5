"""Prices of nodes, cost of tokens, and the break-even with an API."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.plan.cost import ApiOffer, Rates, Request, break_even, compare, cost, node_price

OFFER = ApiOffer(
    provider="somebody", model="some-model", input=1.0, cached=0.1, output=4.0, same=True
)


def test_a_mixed_pool_costs_the_mixture() -> None:
    price = node_price(Rates(on_demand=10.0, spot=4.0), "mixed", 0.7)
    assert price.dollars == pytest.approx(0.3 * 10 + 0.7 * 4)


@pytest.mark.parametrize(
    ("capacity", "dollars"), [("onDemand", 10.0), ("spot", 4.0), ("reserved", 6.0)]
)
def test_each_way_of_buying_has_its_price(capacity: str, dollars: float) -> None:
    price = node_price(Rates(on_demand=10.0, spot=4.0, reserved=6.0), capacity, 0.7)
    assert price.dollars == dollars
    assert price.missing == ""


@pytest.mark.parametrize(
    ("capacity", "rates", "missing"),
    [
        ("onDemand", Rates(spot=4.0), "no on-demand price is known"),
        ("spot", Rates(on_demand=10.0), "no spot price is known"),
        ("reserved", Rates(on_demand=10.0), "no reserved price is known"),
        ("mixed", Rates(), "no on-demand price is known, no spot price is known"),
    ],
)
def test_a_missing_price_is_said_and_never_made_up(
    capacity: str, rates: Rates, missing: str
) -> None:
    price = node_price(rates, capacity, 0.5)
    assert price.dollars is None
    assert price.missing == missing


def test_a_month_has_730_hours_and_a_million_tokens_their_share() -> None:
    found = cost(3.6, tokens_per_second=1000.0, capacity_tokens_per_second=4000.0)
    assert found.per_month == pytest.approx(3.6 * 730)
    assert found.per_million == pytest.approx(1.0)
    assert found.at_full_load == pytest.approx(0.25)


def test_without_traffic_there_is_no_price_per_token() -> None:
    assert cost(3.6).per_million is None


def test_a_shared_prefix_is_bought_at_the_cached_price() -> None:
    request = Request(prompt=1000, output=100, shared=400)
    assert OFFER.per_request(request) == pytest.approx((600 * 1 + 400 * 0.1 + 100 * 4) / 1e6)


def test_running_pays_from_the_rate_whose_api_bill_is_the_same() -> None:
    request = Request(prompt=1000, output=100)
    found = compare(
        OFFER, request, requests_per_second=1.0, capacity=10.0, dollars_for=lambda n: 5.04 * n
    )
    assert found.break_even == pytest.approx(1.0)  # 3,600 requests at 0.0014 dollars
    assert found.per_hour == pytest.approx(5.04)
    assert found.per_million == pytest.approx(1400 / 1100)


def test_running_never_pays_where_a_full_replica_costs_more_than_the_tokens() -> None:
    assert break_even(0.0001, 0.5, lambda replicas: 5.0 * replicas) is None


def test_replicas_that_share_a_node_already_paid_for_can_make_it_pay() -> None:
    def dollars(replicas: int) -> float:
        return 8.0 * -(-replicas // 8)

    found = break_even(0.001, 0.5, dollars)
    assert found == pytest.approx(8.0 / 3600 / 0.001)
    assert break_even(0.001, 0.2, dollars) is None


@given(each=st.floats(1e-6, 1.0), capacity=st.floats(0.01, 1000.0), dollars=st.floats(0.01, 1000.0))
def test_at_the_break_even_both_cost_the_same(each: float, capacity: float, dollars: float) -> None:
    rate = break_even(each, capacity, lambda replicas: dollars * replicas)
    if rate is None:
        assert dollars / 3600 > capacity * each * 0.999
        return
    replicas = -(-rate // capacity)
    assert rate * each * 3600 == pytest.approx(dollars * max(1, replicas), rel=1e-6)
