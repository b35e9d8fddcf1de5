"""An excerpt of a metrics text says the same as the whole, however it is cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.engines import ENGINES
from plimsoll.engines.metrics_text import Excerpt
from plimsoll.errors import FormatError
from plimsoll.facts.engines import engine as engine_facts

GOLDEN = Path(__file__).parents[1] / "golden" / "engines"
KNOWN = [name for name in ENGINES if engine_facts(name).metrics]


def excerpt(engine: str, data: bytes, cuts: list[int]) -> str:
    made = Excerpt(engine_facts(engine).metrics.values())
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        made.feed(data[start:end])
    return made.text()


@pytest.mark.parametrize("engine", KNOWN)
@given(cuts=st.lists(st.integers(0, 10**6), max_size=20))
def test_counts_of_the_excerpt_are_those_of_the_whole_text(engine: str, cuts: list[int]) -> None:
    data = (GOLDEN / f"{engine}.metrics.txt").read_bytes()
    read = ENGINES[engine].counts
    assert read(excerpt(engine, data, cuts)) == read(data.decode())


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_are_an_excerpt_whatever_their_cuts(data: bytes, cuts: list[int]) -> None:
    assert excerpt("vllm", data, cuts) == excerpt("vllm", data, [])


@pytest.mark.parametrize("engine", KNOWN)
@pytest.mark.parametrize("text", ["<html>\n<p>Not Found</p>\n", '{"error": "none"}'])
def test_a_text_that_is_no_metrics_is_still_known_as_such(engine: str, text: str) -> None:
    with pytest.raises(FormatError):
        ENGINES[engine].counts(excerpt(engine, text.encode(), []))


def test_endless_lines_and_endless_metrics_are_refused() -> None:
    with pytest.raises(FormatError, match="without end"):
        excerpt("vllm", b"x" * 100_000, [])
    with pytest.raises(FormatError, match="lines"):
        excerpt("vllm", b'vllm:num_requests_running{engine="1"} 1\n' * 1000, [])
