"""Replicas that take turns: two resources at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.plan.share.turns import Part, slots_for, take_turns
from plimsoll.units import GIB
from tests.plan.share.brute_choice import bins

PARTS = st.lists(
    st.builds(
        lambda share, memory, count: (share / 20, memory, count),
        st.integers(1, 20),
        st.integers(1, 20),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=4,
)


def parts(sizes):
    return [
        Part(name=f"s{i}", share=share, memory=memory * GIB, count=count)
        for i, (share, memory, count) in enumerate(sizes)
    ]


@settings(max_examples=150, deadline=None)
@given(PARTS, st.sampled_from([0, 2, 3]))
def test_as_few_as_brute_force(sizes, slots):
    found = take_turns(parts(sizes), memory=20 * GIB, slots=slots)
    items = [(share, memory / 20) for share, memory, count in sizes for _ in range(count)]
    assert len(found.gpus) == bins(sorted(items, reverse=True), (1.0, 1.0), slots or 10**9)
    assert found.proven


@settings(deadline=None)
@given(PARTS, st.sampled_from([0, 2, 5]))
def test_nobody_is_lost_and_nothing_is_overfull(sizes, slots):
    found = take_turns(parts(sizes), memory=20 * GIB, slots=slots)
    for index, (_, _, count) in enumerate(sizes):
        assert sum(gpu[index] for gpu in found.gpus) == count
    for gpu in found.gpus:
        assert sum(n * size[0] for n, size in zip(gpu, sizes, strict=True)) <= 1 + 1e-5
        assert sum(n * size[1] for n, size in zip(gpu, sizes, strict=True)) <= 20
        assert not slots or sum(gpu) <= slots


def test_ten_services_at_15_percent_take_two_accelerators():
    found = take_turns([Part(name="s", share=0.15, memory=GIB, count=10)], memory=80 * GIB)
    assert len(found.gpus) == found.bound == 2


@pytest.mark.parametrize("number", range(1, 49))
def test_equal_parts_fill_an_accelerator(number):
    part = Part(name="s", share=1 / number, memory=0, count=number)
    assert len(take_turns([part], memory=GIB).gpus) == 1
    assert slots_for(1 / number, 0, GIB) == number


def test_two_that_are_each_over_half_of_something_else_share():
    found = take_turns(
        [
            Part(name="a", share=0.6, memory=4 * GIB, count=1),
            Part(name="b", share=0.4, memory=12 * GIB, count=1),
        ],
        memory=16 * GIB,
    )
    assert len(found.gpus) == 1


def test_too_many_ways_still_give_a_bound():
    sizes = [(0.05 + 0.01 * i, 1 + i, 3) for i in range(20)]
    found = take_turns(parts(sizes), memory=80 * GIB)
    assert found.bound <= len(found.gpus)


@pytest.mark.parametrize(("share", "memory"), [(0.0, 1), (1.5, 1), (0.5, 100)])
def test_what_fits_nowhere_is_refused(share, memory):
    with pytest.raises(InputError):
        take_turns([Part(name="s", share=share, memory=memory * GIB, count=1)], memory=80 * GIB)


def test_no_parts_take_nothing():
    assert take_turns([], memory=GIB).gpus == ()
