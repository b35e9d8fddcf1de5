"""The difference: our fields only, readable, nothing secret, with what it costs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import UnitError
from plimsoll.worlds.cluster.apply import apply_all, plan_changes
from plimsoll.worlds.cluster.changes import Scope
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.compare import field_changes
from plimsoll.worlds.cluster.diff import Difference, as_data, difference, summary, text
from plimsoll.worlds.cluster.loads import accelerators, pod_requests, quantity
from tests.worlds.cluster.api import Api
from tests.worlds.cluster.apply.manifests import (
    LLM,
    SCOPE,
    chat_key,
    deployment,
    made,
    model,
    shared,
    talk,
)

COUNTS = {chat_key("new"): 3}


def diff(api: Api, manifests: list[dict[str, Any]], scope: Scope = SCOPE) -> Difference:
    found: list[Difference] = []

    async def scene(kube: Kube) -> None:
        changes = await plan_changes(kube, manifests, scope)
        found.append(difference(changes, COUNTS, lambda _: 2.5))

    talk(api, scene)
    return found[0]


def applied(api: Api, manifests: list[dict[str, Any]]) -> None:
    async def scene(kube: Kube) -> None:
        await apply_all(kube, manifests, SCOPE)

    talk(api, scene)


def test_a_changed_field_is_shown_with_both_values(api: Api) -> None:
    applied(api, [*shared(), *model("chat")])
    shown = text(diff(api, [*shared(), *model("chat", image="engine:2")]))
    assert shown.splitlines()[:2] == [
        "~ Deployment chat in namespace llm",
        "    spec.template.spec.containers[engine].image: engine:1 -> engine:2",
    ]


def test_nothing_is_shown_of_what_others_changed_in_their_own_fields(api: Api) -> None:
    applied(api, [*shared(), *model("chat")])

    def note(live: dict[str, Any]) -> None:
        live["metadata"].setdefault("annotations", {})["example.com/note"] = "theirs"
        live["spec"]["replicas"] = 9

    api.change(deployment("chat"), note, manager="kube-controller-manager")
    found = diff(api, [*shared(), *model("chat")])
    assert found.changes.empty
    assert summary(found)[0] == "7 unchanged"


def test_objects_gpus_and_dollars_are_summed_up(api: Api) -> None:
    applied(api, [*shared(), *model("chat", gpus=2), *model("old")])
    found = diff(api, [*shared(), *model("chat", gpus=4), *model("new")])
    assert summary(found) == (
        "4 to create, 1 to change, 4 to delete, 6 unchanged",
        "GPUs 3 -> 7 (+4)",
        "$5.00/h -> $10.00/h (+$5.00/h)",
    )


def test_replicas_that_a_scaler_chose_count_as_they_are(api: Api) -> None:
    applied(api, [*shared(), *model("chat")])
    api.change(deployment("chat"), lambda o: o["spec"].update(replicas=5), manager="keda")
    found = diff(api, [*shared(), *model("chat", gpus=2)])
    assert (found.before.accelerators, found.after.accelerators) == (Decimal(5), Decimal(10))


def test_what_is_blocked_is_shown_with_the_reason(api: Api) -> None:
    api.namespace(LLM)
    api.uninstall("keda.sh/v1alpha1")
    shown = text(diff(api, model("chat")))
    assert "! ScaledObject chat in namespace llm\n    the cluster does not know" in shown


def test_values_of_secrets_are_never_shown() -> None:
    old = made("v1", "Secret", "a", data={"key": "b2xk", "gone": "Z29uZQ=="})
    new = made("v1", "Secret", "a", data={"key": "bmV3"})
    for change in field_changes(old, new):
        assert {change.before, change.after} <= {None, "(hidden)"}


def test_what_is_told_to_programs_says_the_same(api: Api) -> None:
    applied(api, [*shared(), *model("chat")])
    found = as_data(diff(api, [*shared(), *model("chat", image="engine:2")]))
    (changed,) = (one for one in found["changes"] if one["verdict"] == "update")
    assert changed["fields"] == [
        {
            "path": "spec.template.spec.containers[engine].image",
            "before": "engine:1",
            "after": "engine:2",
        }
    ]
    assert found["gpus"] == {"before": 1.0, "after": 1.0}


def test_long_values_stand_below_each_other() -> None:
    old = made("v1", "ConfigMap", "a", data={"config": "x\n" * 10})
    new = made("v1", "ConfigMap", "a", data={"config": "y\n" * 10})
    (change,) = field_changes(old, new)
    assert change.path == "data.config"


def test_a_group_of_nodes_counts_all_its_pods() -> None:
    pod = {
        "spec": {"containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}
    }
    group = made(
        "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "big",
        spec={"replicas": 2, "leaderWorkerTemplate": {"size": 3, "workerTemplate": pod}},
    )  # fmt: skip
    assert accelerators(group) == 24


def test_a_slice_of_an_accelerator_counts_as_one() -> None:
    container = {"name": "a", "resources": {"limits": {"nvidia.com/mig-1g.10gb": "1"}}}
    pod = made("v1", "Pod", "a", spec={"containers": [container]})
    assert accelerators(pod) == 1


def test_an_init_container_counts_only_where_it_asks_for_more() -> None:
    spec = {
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}],
        "initContainers": [
            {"name": "b", "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}}}
        ],
    }
    assert pod_requests(spec) == {"cpu": Decimal(2), "memory": Decimal(2 * 1024**3)}


@given(st.integers(0, 10**6))
def test_quantities_are_exact(number: int) -> None:
    assert quantity(f"{number}m") * 1000 == number
    assert quantity(f"{number}Mi") == number * 1024**2
    assert quantity(str(number)) == number
    assert quantity(f"{number}e3") == quantity(f"{number}k")


@pytest.mark.parametrize("text", ["", "Gi", "4 Gi", "4gi", "1.2.3", "nan", "1e9999", "x"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        quantity(text)


JSON = st.recursive(
    st.none() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abn", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_two_states_differ_in_some_field_exactly_when_they_are_not_the_same(
    before: Any, after: Any
) -> None:
    old = made("example.com/v1", "Thing", "a", spec={"x": before})
    new = made("example.com/v1", "Thing", "a", spec={"x": after})
    assert bool(field_changes(old, new)) == (_bare(before) != _bare(after))


def _bare(value: Any) -> Any:
    """Without keys that hold null: to the API server those are not there."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return value
