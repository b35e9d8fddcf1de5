import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.facts.api_prices import api_prices, comparable

EVERY = pytest.mark.parametrize(
    "row", api_prices(), ids=[f"{row.provider}-{row.model}" for row in api_prices()]
)


@EVERY
def test_a_price_has_a_source_and_a_date_that_has_been(row):
    assert row.source
    assert dt.date(2026, 1, 1) <= row.date <= dt.date(2026, 11, 21)


@EVERY
def test_prices_are_positive_and_in_order(row):
    assert 0.005 < row.input <= row.output < 100
    assert row.cached_input is None or 0 < row.cached_input <= row.input


@EVERY
def test_only_open_models_have_a_size(row):
    assert row.comparable or row.active_parameters is None
    assert (row.total_parameters is None) == (row.active_parameters is None)
    if row.active_parameters and row.total_parameters:
        assert 1e9 < row.active_parameters <= row.total_parameters < 2e12


def test_a_model_of_a_provider_is_there_once():
    keys = [(row.provider, row.model) for row in api_prices()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    "name",
    ["meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Meta-Llama-3.1-8B",
     "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8", "llama-3.1-8b-instruct"],
)  # fmt: skip
def test_the_same_open_model_comes_first_however_it_is_written(name):
    found = comparable(name, 1e12)
    assert {row.comparable for row in found} == {"meta-llama/Llama-3.1-8B-Instruct"}
    assert len({row.provider for row in found}) >= 4


def test_another_model_is_compared_by_size():
    found = comparable("somebody/own-model-33b", 33e9)
    assert {row.active_parameters for row in found} == {32.8e9}


def distance(row, active, total):
    return abs(math.log(row.active_parameters / active)) + abs(
        math.log(row.total_parameters / total)
    )


@given(st.floats(min_value=1e8, max_value=1e12), st.floats(min_value=1, max_value=40))
def test_no_model_is_nearer_in_size_than_the_ones_given(active, sparsity):
    total = active * sparsity
    found = {distance(row, active, total) for row in comparable("own/model", active, total)}
    every = [distance(row, active, total) for row in api_prices() if row.active_parameters]
    assert max(found) <= min(every) + 1e-6


def test_a_small_dense_model_is_not_set_beside_a_large_sparse_one():
    assert all(row.total_parameters < 10e9 for row in comparable("own/model-1.5b", 1.5e9))


def test_the_cheapest_comes_first():
    outputs = [row.output for row in comparable("openai/gpt-oss-120b", 5.1e9)]
    assert outputs == sorted(outputs)
    assert len(outputs) > 3


def test_without_name_or_size_nothing_compares():
    assert comparable("somebody/own-model", 0) == ()
