"""Quantities: what people write is read exactly, and printed as they read it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import UnitError
from plimsoll.units import (
    COUNT_PATTERN,
    DURATION_PATTERN,
    SIZE_PATTERN,
    duration,
    money,
    parse_count,
    parse_duration,
    parse_size,
    size,
)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("0", 0), ("4096", 4096), ("8Gi", 8 * 2**30), ("500M", 500_000_000), ("1.5Ki", 1536)],
)
def test_sizes_are_read_as_kubernetes_reads_them(text: str, bytes_: int) -> None:
    assert parse_size(text) == bytes_


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("60s", 60), ("5m", 300), ("1h30m", 5400), ("7d", 604800)]
)
def test_durations_are_read_with_their_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "count"), [("600", 600), ("200k", 200_000), ("1.5M", 1_500_000)])
def test_counts_may_be_shortened(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "8GB", "-1Gi", "1.5", "0.5", "Gi", "8 Gi", "9" * 50, "1e3"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_size(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "5", "5min", "m", "-5s", "5 s", "1h 30m", "s5"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "2Ki", "1.0005k", "k", "-3"])
def test_what_is_not_a_count_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_count(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_the_patterns_agree(text: str) -> None:
    for parse, pattern in (
        (parse_size, SIZE_PATTERN),
        (parse_duration, DURATION_PATTERN),
        (parse_count, COUNT_PATTERN),
    ):
        try:
            value = parse(text)
        except UnitError:
            continue
        assert value >= 0
        assert re.search(pattern, text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.50 KiB"),
        (36 * 2**20, "36.0 MiB"),
        (2**40, "1024.0 GiB"),
    ],
)
def test_sizes_are_printed_with_three_digits(amount: int, text: str) -> None:
    assert size(amount) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.035, "35 ms"), (4.2, "4.2 s"), (200, "3 min 20 s"), (300, "5 min"), (7500, "2 h 5 min")],
)
def test_durations_are_printed_in_the_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("usd", "text"), [(0.0042, "$0.0042"), (3.2, "$3.20"), (12400, "$12,400"), (0, "$0.00")]
)
def test_money_is_printed_as_a_price(usd: float, text: str) -> None:
    assert money(usd) == text
