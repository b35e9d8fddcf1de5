"""Replicas of several accelerators lie inside nodes, as few nodes as there can be."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.plan.share.nodes import chained, fill, node_patterns
from tests.plan.share.brute_choice import bins


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.integers(1, 7), st.integers(0, 3), max_size=4),
    st.integers(7, 12),
)
def test_as_few_nodes_as_brute_force(parts, per_node):
    found = fill(parts, per_node)
    items = [(size,) for size, count in parts.items() for _ in range(count)]
    assert len(found) == bins(sorted(items, reverse=True), (per_node,))
    assert all(sum(node) <= per_node for node in found)
    assert Counter(size for node in found for size in node) == +Counter(parts)


def test_largest_first_would_take_a_node_more():
    """Two nodes of 7 hold 3 + 2 + 2 each; the two 3 together would leave one over for no 2."""
    assert not chained({3, 2})
    assert sorted(fill({3: 2, 2: 4}, 7)) == [(3, 2, 2), (3, 2, 2)]


def test_sizes_that_divide_each_other_lose_nothing():
    assert chained({1, 2, 4, 8})
    assert len(fill({8: 1, 4: 3, 2: 2, 1: 8}, 8)) == 4


def test_too_many_ways_are_refused():
    with pytest.raises(InputError, match="too many ways"):
        node_patterns((9, 7, 5, 4, 3, 2), 72)
