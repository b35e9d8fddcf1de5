"""Status: what the next operator goes on from survives; only what matters is written."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.snapshot import Memory, ModelMemory
from plimsoll.worlds.cluster.operator.conditions import Condition, changes, merged
from plimsoll.worlds.cluster.operator.status import (
    decode_inventory,
    decode_memory,
    encode_inventory,
    encode_memory,
    worth_writing,
)
from plimsoll.worlds.cluster.reference import Key

TIMES = st.none() | st.floats(0, 2e9)
MODELS = st.builds(
    ModelMemory,
    failures=st.integers(0, 50),
    counted=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    retry_at=TIMES,
    low_since=TIMES,
    low_peak=st.integers(0, 99),
    wanted=st.integers(0, 99),
    last_error=st.text(max_size=20),
)


@given(st.dictionaries(st.text(min_size=1, max_size=9), MODELS, max_size=4))
def test_memory_survives_a_restart(models: dict[str, ModelMemory]) -> None:
    known = {name: one for name, one in models.items() if one != ModelMemory()}
    assert decode_memory(encode_memory(Memory(models=models))).models == known


def test_memory_that_cannot_be_read_is_forgotten() -> None:
    assert decode_memory({"x": {"wanted": "many"}}) == Memory(models={})
    assert decode_memory(None).models == {}


def test_an_inventory_survives_a_restart() -> None:
    keys = {
        Key(api_version="apps/v1", kind="Deployment", namespace="a", name="b"),
        Key(api_version="karpenter.sh/v1", kind="NodePool", name="c"),
    }
    assert decode_inventory(encode_inventory(keys)) == keys


def test_an_inventory_that_cannot_be_read_is_none_and_not_an_empty_one() -> None:
    assert decode_inventory(None) is None
    assert decode_inventory(["what is this"]) is None
    assert decode_inventory([]) == frozenset()


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    ready = Condition(kind="Ready", status="True", reason="Ready")
    first = merged([], [ready], generation=1, at=0.0)
    second = merged(first, [replace(ready, message="still")], generation=2, at=60.0)
    third = merged(second, [replace(ready, status="False")], generation=2, at=120.0)
    assert [one[0]["lastTransitionTime"][-9:-1] for one in (first, second, third)] == [
        "00:00:00", "00:00:00", "00:02:00",
    ]  # fmt: skip
    assert second[0]["observedGeneration"] == 2
    assert changes(first, second) == []
    assert changes(second, third) == third


def test_a_reason_that_counts_down_is_not_worth_a_write() -> None:
    status = {"replicas": {"x": {"wanted": 1, "reason": "kept for another 9 s"}}}
    later = {"replicas": {"x": {"wanted": 1, "reason": "kept for another 8 s"}}}
    more = {"replicas": {"x": {"wanted": 2, "reason": "kept for another 8 s"}}}
    assert not worth_writing(status, later)
    assert worth_writing(status, more)
