"""Rendered text is YAML that says exactly what the manifests say."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.worlds.cluster.yaml_text import to_yaml

TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=" \n#:-'\"\\|>&*!%@`{}[],?abc01yn~=\t", max_size=20),
    st.sampled_from(["yes", "no", "on", "null", "~", "1", "1.0", "0x1f", "1e3", "", "- a", "a: b",
                     "2026-11-21", "12:30:45", "<<", "=", "a\nb", "a\nb\n", "\n", "a\n\nb\n\n"]),
)  # fmt: skip
SCALARS = st.one_of(
    TEXTS, st.booleans(), st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=5), max_size=3))
def test_what_is_written_is_read_back(manifests: list[dict[str, Any]]) -> None:
    read = list(yaml.safe_load_all(to_yaml(manifests)))
    assert read == manifests
    assert repr(read) == repr(manifests)  # 1, 1.0 and True are equal, and not the same


def test_text_of_several_lines_can_be_read() -> None:
    assert to_yaml([{"data": {"a.yaml": "x: 1\n\ny: 2\n"}}]) == (
        "---\ndata:\n  a.yaml: |\n    x: 1\n\n    y: 2\n"
    )


def test_a_long_line_stays_one_line() -> None:
    text = to_yaml([{"query": "sum(" + "a + " * 100 + "b)"}])
    assert len(text.splitlines()) == 2
