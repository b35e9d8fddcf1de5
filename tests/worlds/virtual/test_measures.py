"""Quantiles in fixed memory, and durations by chance."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.worlds.virtual.durations import Constant, LogNormal, Measured
from plimsoll.worlds.virtual.measures import Quantiles


@given(
    st.lists(st.floats(1e-5, 1e6), min_size=1, max_size=200),
    st.sampled_from((0.01, 0.5, 0.9, 0.99, 1.0)),
)
def test_a_quantile_is_known_to_one_per_cent(figures: list[float], share: float) -> None:
    known = Quantiles()
    for figure in figures:
        known.add(figure)
    ranked = sorted(figures)
    rank = max(1, min(len(ranked), -int(-share * len(ranked) // 1)))
    assert known.at(share) == pytest.approx(ranked[rank - 1], rel=0.01)
    assert known.mean == pytest.approx(sum(figures) / len(figures))


@given(st.lists(st.floats(0.0, 1e3)), st.lists(st.floats(0.0, 1e3)))
def test_merged_is_as_if_all_had_been_added_to_one(some: list[float], more: list[float]) -> None:
    one, two, both = Quantiles(), Quantiles(), Quantiles()
    for figure in some:
        one.add(figure)
        both.add(figure)
    for figure in more:
        two.add(figure)
        both.add(figure)
    one.merge(two)
    assert [one.at(share) for share in (0.1, 0.5, 0.99)] == [
        both.at(share) for share in (0.1, 0.5, 0.99)
    ]
    assert one.count == both.count
    assert one.total == pytest.approx(both.total)


def test_its_memory_does_not_grow() -> None:
    known = Quantiles()
    before = sys.getsizeof(known._bins)
    for number in range(10_000):
        known.add(number * 1.7)
    assert sys.getsizeof(known._bins) == before


def test_of_nothing_it_tells_zero() -> None:
    assert (Quantiles().mean, Quantiles().at(0.99)) == (0.0, 0.0)


def test_a_log_normal_duration_has_the_quantiles_it_was_given() -> None:
    chance = random.Random(3)
    drawn = sorted(LogNormal(p50=60.0, p90=120.0).draw(chance) for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(60.0, rel=0.03)
    assert drawn[18_000] == pytest.approx(120.0, rel=0.03)


def test_measured_durations_are_drawn_from_what_was_measured() -> None:
    measured = Measured(seconds=(3.0, 5.0, 9.0))
    chance = random.Random(1)
    assert {measured.draw(chance) for _ in range(100)} == {3.0, 5.0, 9.0}
    assert measured.median == 5.0
    assert Constant(seconds=4.0).draw(chance) == Constant(seconds=4.0).median == 4.0


def test_durations_that_make_no_sense_are_an_error() -> None:
    with pytest.raises(ValueError, match="p50"):
        LogNormal(p50=10.0, p90=5.0)
    with pytest.raises(ValueError, match="seconds"):
        Measured(seconds=())
