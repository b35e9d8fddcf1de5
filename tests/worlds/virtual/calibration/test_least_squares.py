import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.worlds.virtual.calibration.least_squares import minimum, solution

NUMBERS = st.floats(-5.0, 5.0)


@given(st.lists(NUMBERS, min_size=3, max_size=3))
def test_a_solution_solves_its_equations(values):
    matrix = [[4.0, 1.0, -1.0], [0.0, 3.0, 1.0], [1.0, -1.0, 5.0]]
    right = [sum(a * b for a, b in zip(row, values, strict=True)) for row in matrix]
    assert solution(matrix, right) == pytest.approx(values, abs=1e-9)


def test_equations_that_begin_with_a_zero_are_solved_too():
    assert solution([[0.0, 2.0], [1.0, 0.0]], [4.0, 3.0]) == pytest.approx([3.0, 2.0])


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_what_is_measured_well_is_found_again(first, second):
    def residuals(values):
        places = [0.5, 1.0, 1.5, 2.0, 3.0]
        made = [math.exp(first) * x + math.exp(second) * x * x for x in places]
        ours = [math.exp(values[0]) * x + math.exp(values[1]) * x * x for x in places]
        return [1e3 * math.log(a / b) for a, b in zip(ours, made, strict=True)]

    found = minimum(residuals, [0.0, 0.0], [1.0, 1.0], rounds=60)
    assert found == pytest.approx([first, second], abs=5e-3)


def test_what_is_not_measured_stays_where_it_is_believed_to_be():
    found = minimum(lambda values: [10.0 * (values[0] - 1.0)], [0.0, 0.3], [1.0, 0.1])
    assert found == pytest.approx([1.0, 0.3], abs=0.02)


def test_one_value_that_is_far_off_does_not_carry_the_others_away():
    off = [0.0] * 20 + [50.0]
    found = minimum(lambda values: [values[0] - value for value in off], [0.0], [10.0])
    assert abs(found[0]) < 0.5
