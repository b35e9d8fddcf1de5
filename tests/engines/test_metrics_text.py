from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.engines.metrics_text import count, totals, values
from plimsoll.errors import FormatError


def test_labels_are_summed_over() -> None:
    text = 'running{rank="0"} 2\nrunning{rank="1",host="a}b\\"c"} 3.0\n'
    assert totals(text) == {"running": 5.0}


def test_comments_timestamps_and_spaces_are_read_as_the_format_says() -> None:
    text = "# HELP a b\n# TYPE a gauge\n  a 1 1395066363000\n\nb{}\t2\n"
    assert totals(text) == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "many", ""])
def test_what_is_no_finite_number_is_passed_over(value: str) -> None:
    assert totals(f"a {value}\nb 1") == {"b": 1.0}


@given(text=st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert all(isinstance(value, float) for value in totals(text).values())


def test_a_count_that_is_missing_is_a_format_error() -> None:
    with pytest.raises(FormatError, match="`a`"):
        count({}, "a")


def test_a_selector_takes_only_the_samples_with_its_label() -> None:
    text = 'a{kind="waiting",m="x"} 2\na{kind="running",m="x"} 3\na{m="kind",kind="waiting"} 4\n'
    assert values(text, 'a{kind="waiting"}') == (2.0, 4.0)
    assert values(text, "a") == (2.0, 3.0, 4.0)
    assert values(text, "b") == ()
