"""Limits and schedules."""

from __future__ import annotations

import pytest

from plimsoll.policy.scale import Floor, Limits
from plimsoll.policy.scale.window import added, highest, mean


@pytest.mark.parametrize(
    ("at", "kept"), [(0, 2), (28_800, 6), (64_799, 6), (64_800, 2), (86_400 + 30_000, 6)]
)
def test_a_floor_holds_between_its_times_every_day(at: float, kept: int) -> None:
    floor = Floor(start=28_800.0, end=64_800.0, replicas=6)
    assert Limits(min=2, max=9, floors=(floor,)).least(at) == kept


@pytest.mark.parametrize(("at", "holds"), [(82_000, True), (1_000, True), (40_000, False)])
def test_a_floor_may_pass_over_midnight(at: float, holds: bool) -> None:
    assert Floor(start=80_000.0, end=7_200.0, replicas=3).holds(at) is holds


def test_a_floor_never_lifts_the_maximum() -> None:
    limits = Limits(min=1, max=4, floors=(Floor(start=0.0, end=86_400.0, replicas=9),))
    assert limits.least(10.0) == 4


def test_a_floor_that_begins_soon_is_seen_ahead() -> None:
    limits = Limits(min=1, max=9, floors=(Floor(start=1000.0, end=2000.0, replicas=5),))
    assert limits.least_between(800.0, 900.0) == 1
    assert limits.least_between(800.0, 1000.0) == 5


def test_a_step_is_no_larger_than_allowed() -> None:
    limits = Limits(min=0, max=99, most_up=3, most_down=2)
    assert limits.hold(20, live=10, at=0.0) == 13
    assert limits.hold(1, live=10, at=0.0) == 8


def test_a_window_forgets_what_is_older_and_stays_bounded() -> None:
    spans = ()
    for second in range(1, 2001):
        spans = added(spans, float(second), 0.1, 1.0 if second > 1000 else 100.0, 60.0)
    assert len(spans) <= 64
    assert mean(spans, 2000.0, 60.0) == pytest.approx(10.0)


def test_the_highest_of_a_window_is_its_first() -> None:
    peaks = ()
    for at, value in ((0.0, 9.0), (10.0, 5.0), (20.0, 7.0)):
        peaks = highest(peaks, at, value, 60.0)
    assert [peak.value for peak in peaks] == [9.0, 7.0]
    assert highest(peaks, 61.0, 1.0, 60.0)[0].value == 7.0
