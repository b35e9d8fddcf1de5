"""The fewest accelerators, with a certificate that anybody can check."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import DoesNotFit, InputError
from plimsoll.plan.share.cover import cover, weighed
from plimsoll.plan.share.geometry import patterns
from plimsoll.plan.share.packing import pack, weight_bound
from plimsoll.plan.share.solver import Program, solve
from tests.plan.share.brute import A30, H100, fewest, overlap_free

NAMES = [profile.name for profile in H100.profiles]


def demands(geometry, most):
    names = [profile.name for profile in geometry.profiles]
    return st.lists(
        st.integers(min_value=0, max_value=most), min_size=len(names), max_size=len(names)
    ).map(lambda numbers: dict(zip(names, numbers, strict=True)))


@settings(max_examples=100, deadline=None)
@given(demands(H100, 3))
def test_as_few_as_brute_force_on_eight_slots(wanted):
    found = pack(wanted, H100)
    assert found.gpus == fewest(H100, tuple(wanted[name] for name in NAMES))
    assert found.proven


@settings(max_examples=150, deadline=None)
@given(demands(A30, 9))
def test_as_few_as_brute_force_on_four_slots(wanted):
    found = pack(wanted, A30)
    assert found.gpus == fewest(A30, tuple(wanted[p.name] for p in A30.profiles))
    assert found.proven


@settings(deadline=None)
@given(demands(H100, 3000))
def test_everything_wanted_is_placed_once_and_legally(wanted):
    found = pack(wanted, H100)
    placed: Counter = Counter()
    for run in found.runs:
        assert overlap_free(H100, [(i.profile, i.start) for i in run.layout])
        assert run.layout
        for instance in run.layout:
            placed[instance.profile] += run.count
    assert placed == Counter({name: number for name, number in wanted.items() if number})
    assert len(found.layouts) == found.gpus == sum(run.count for run in found.runs)


@settings(deadline=None)
@given(demands(H100, 3000))
def test_the_certificate_proves_the_answer(wanted):
    found = pack(wanted, H100)
    assert found.bound <= found.gpus
    assert found.proven
    by_weight = weight_bound(wanted, H100, found.weights)
    assert found.searched == (by_weight < found.gpus)
    assert by_weight <= found.bound


@settings(max_examples=50, deadline=None)
@given(demands(H100, 2000))
def test_the_solver_finds_no_fewer(wanted):
    pytest.importorskip("highspy", reason="pip install plimsoll[plan]")
    program = Program()
    ways = patterns(H100)
    columns = [program.column(cost=1.0) for _ in ways]
    for index, name in enumerate(NAMES):
        row = {c: float(w[index]) for c, w in zip(columns, ways, strict=True)}
        program.row(row, least=wanted[name])
    assert pack(wanted, H100).gpus == solve(program).cost


def test_weights_that_prove_nothing_are_refused():
    with pytest.raises(ValueError, match="not a certificate"):
        weight_bound({"1g.10gb": 7}, H100, dict.fromkeys(NAMES, Fraction(1, 6)))


@settings(deadline=None)
@given(demands(H100, 40), st.sampled_from(NAMES))
def test_one_instance_less_never_takes_more(wanted, name):
    fewer = wanted | {name: max(0, wanted[name] - 1)}
    assert pack(fewer, H100).gpus <= pack(wanted, H100).gpus <= pack(fewer, H100).gpus + 1


def test_beyond_the_limit_the_reason_says_how_many():
    with pytest.raises(DoesNotFit, match="take 3 at least of H100-80GB-SXM, and there are 2"):
        pack({"4g.40gb": 3}, H100, limit=2)
    assert pack({"4g.40gb": 3}, H100, limit=3).gpus == 3


def test_nothing_takes_nothing():
    assert pack({}, H100).gpus == 0


def test_bad_demands_are_refused():
    with pytest.raises(InputError):
        pack({"5g.50gb": 1}, H100)
    with pytest.raises(InputError):
        pack({"1g.10gb": -1}, H100)


def test_branching_proves_what_weights_cannot():
    searched = 0
    for seed in range(300):
        numbers = random.Random(seed)
        ways = tuple(tuple(numbers.randint(0, 3) for _ in range(4)) for _ in range(6))
        ways += ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
        demand = tuple(numbers.randint(0, 7) for _ in range(4))
        found = cover(ways, demand)
        assert found.proven
        assert found.total == _smallest(ways, demand)
        searched += found.searched
    assert searched, "no case needed the search, so it was not tested"


def test_what_no_pattern_holds_cannot_be_covered():
    assert cover(((1, 0),), (1, 1)) is None


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=3, max_size=3))
def test_no_pattern_weighs_more_than_one(demand):
    ways = ((3, 0, 1), (0, 2, 1), (1, 1, 1), (0, 0, 4))
    found = cover(ways, tuple(demand))
    assert all(weighed(found.weights, way) <= 1 for way in ways)
    assert weighed(found.weights, tuple(demand)) <= found.total


def _smallest(ways, demand):
    reached, number = {demand}, 0
    while not any(not any(left) for left in reached):
        reached = {
            tuple(max(0, a - b) for a, b in zip(left, way, strict=True))
            for left in reached
            for way in ways
        }
        number += 1
    return number
