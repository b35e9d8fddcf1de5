"""What a second of reading costs others, as it is measured."""

from __future__ import annotations

import pytest

from plimsoll.policy.routing.delay import Delay


def delay(*, apart: float, reads: int, waits: float = 0.0) -> Delay:
    """After many requests to four places, so many seconds apart."""
    measured = Delay()
    for number in range(3_000):
        measured.came(number * apart, waits, reads, 4)
    return measured


def test_it_is_the_requests_of_a_place_over_the_share_of_time_that_is_free() -> None:
    assert delay(apart=0.5, reads=2).each == pytest.approx(0.5 / 0.5, rel=0.01)
    assert delay(apart=0.5, reads=3).each == pytest.approx(0.5 / 0.25, rel=0.01)
    assert delay(apart=0.25, reads=2).each == pytest.approx(1.0 / 0.5, rel=0.01)


def test_it_stays_finite_where_all_come_at_once_and_nobody_rests() -> None:
    assert delay(apart=0.0, reads=4).each < 1e5


def test_a_night_without_requests_is_no_measurement() -> None:
    measured = delay(apart=0.5, reads=2)
    before = measured.each
    measured.came(100_000.0, 0.0, 2, 4)
    assert measured.each == pytest.approx(before, rel=0.1)


def test_a_queue_is_expected_where_others_found_one() -> None:
    assert delay(apart=0.5, reads=2).queue == 0.0
    assert delay(apart=0.5, reads=2, waits=4.0).queue == pytest.approx(2.0, rel=0.01)
