"""HPA, by its own formula, ends at the number that was decided."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.scaler import metric

counts = st.integers(1, 5000)


def hpa(current: int, value: float, *, tolerance: float = 0.1) -> int:
    """GetExternalPerPodMetricReplicas of kubernetes' replica_calculator.go, in thousandths."""
    usage, target = ceil(value * 1000), metric.TARGET * 1000
    ratio = usage / (target * current)
    if 1.0 - tolerance <= ratio <= 1.0 + tolerance:
        return current
    return ceil(usage / target)


@given(counts, st.integers(0, 5000))
def test_without_tolerance_hpa_is_at_the_number_in_one_step_from_any_other(current, wanted):
    assert hpa(current, metric.value(wanted, current), tolerance=0.0) == wanted


@given(counts, counts, st.one_of(st.none(), counts))
def test_whatever_count_was_seen_hpa_goes_to_the_number_or_stays(current, wanted, seen):
    assert hpa(current, metric.value(wanted, seen)) in (wanted, current)
    assert hpa(current, metric.value(wanted, seen), tolerance=0.0) == wanted


@given(counts, counts)
def test_with_ten_percent_hpa_moves_wherever_any_metric_could_move_it_there(current, wanted):
    moved = hpa(current, metric.value(wanted, current)) == wanted
    # All metrics that mean `wanted`: from just above (wanted - 1) targets to wanted targets.
    tries = ((wanted - 1) * metric.TARGET + 1, wanted * metric.TARGET)
    assert moved == any(hpa(current, value) == wanted for value in tries)


def test_with_ten_percent_hpa_is_exact_up_to_nine_replicas_up_and_nineteen_down():
    for current in range(1, 20):
        for wanted in range(1, 200):
            if wanted > current >= 10 and wanted <= current * 1.1:
                continue
            assert hpa(current, metric.value(wanted, current)) == wanted


def test_no_metric_and_no_target_takes_hpa_from_eleven_to_twelve_within_ten_percent():
    for target in (1, 7, 1000, 10**6):
        for share in range(1, 2001):
            per_target = share / 100  # metric / target
            ratio = per_target / 11
            desired = 11 if 0.9 <= ratio <= 1.1 else ceil(per_target * target / target)
            assert desired != 12


@pytest.mark.parametrize("current", [None, 0, 1, 50])
def test_no_replicas_are_a_metric_of_zero(current):
    assert metric.value(0, current) == 0
