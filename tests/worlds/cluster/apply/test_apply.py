"""Apply: everything is checked first, nothing of others is touched, anything can be repeated."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from plimsoll.errors import PlimsollError
from plimsoll.worlds.cluster.apply import Step, apply_all, plan_changes
from plimsoll.worlds.cluster.changes import Blocked, Changes, NotOurs, Scope
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.errors import (
    Conflict,
    Forbidden,
    Immutable,
    MissingApi,
    NotFound,
    QuotaExceeded,
    Terminating,
)
from plimsoll.worlds.cluster.inventory import inventory_name, read
from tests.worlds.cluster.api import Api, Fault, serving
from tests.worlds.cluster.apply.manifests import (
    IMPATIENT,
    LLM,
    SCOPE,
    chat_key,
    deployment,
    made,
    model,
    scaled_object,
    shared,
    talk,
)

FIRST = [*shared(), *model("chat"), *model("old")]
SECOND = [*shared(), *model("chat", image="engine:2"), *model("new")]
THIRD = [*shared(), *model("chat", image="engine:3")]


def apply(api: Api, manifests: list[dict[str, Any]], scope: Scope = SCOPE, **options: Any) -> None:
    async def scene(kube: Kube) -> None:
        await apply_all(kube, manifests, scope, **options)

    talk(api, scene)


def changes(api: Api, manifests: list[dict[str, Any]], scope: Scope = SCOPE) -> Changes:
    found: list[Changes] = []

    async def scene(kube: Kube) -> None:
        found.append(await plan_changes(kube, manifests, scope))

    talk(api, scene)
    return found[0]


def problems(
    api: Api, manifests: list[dict[str, Any]], scope: Scope = SCOPE
) -> list[PlimsollError]:
    """What blocks an apply; nothing was written by trying."""
    before = api.writes
    with pytest.raises(Blocked) as caught:
        apply(api, manifests, scope)
    assert api.writes == before
    return list(caught.value.problems)


def one(api: Api, kind: str, name: str, api_version: str = "v1") -> dict[str, Any]:
    return next(o for o in api.objects(api_version, kind) if o["metadata"]["name"] == name)


def replicas(api: Api, name: str = "chat") -> int:
    return int(one(api, "Deployment", name, "apps/v1")["spec"]["replicas"])


def scale(api: Api, number: int, manager: str = "kube-controller-manager") -> None:
    """As an autoscaler does."""
    api.change(
        deployment("chat"), lambda live: live["spec"].update(replicas=number), manager=manager
    )


def owners_of_replicas(api: Api) -> set[str]:
    live = one(api, "Deployment", "chat", "apps/v1")
    return {
        entry["manager"]
        for entry in live["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }


# -- what it does


def test_what_is_wished_is_there_afterwards_and_a_second_time_changes_nothing(api: Api) -> None:
    apply(api, FIRST)
    names = {(o["kind"], o["metadata"]["name"]) for o in api.everything().values()}
    assert {(m["kind"], m["metadata"]["name"]) for m in FIRST} <= names
    before = api.writes
    assert changes(api, FIRST).empty
    apply(api, FIRST)
    assert api.writes == before


def test_what_others_need_comes_first(api: Api) -> None:
    apply(api, list(reversed(FIRST)), width=1)
    written = [
        line.split("?")[0].split("/")[-2]
        for line in api.requests
        if line.startswith("PATCH") and "dryRun" not in line
    ]
    order = list(dict.fromkeys(written))
    assert order == [
        "namespaces", "serviceaccounts", "configmaps", "persistentvolumeclaims", "services",
        "deployments", "scaledobjects",
    ]  # fmt: skip


def test_what_is_no_longer_wished_goes(api: Api) -> None:
    apply(api, FIRST)
    apply(api, SECOND)
    names = {o["metadata"]["name"] for o in api.objects("apps/v1", "Deployment", LLM)}
    assert names == {"chat", "new"}
    assert {o["metadata"]["name"] for o in api.objects("keda.sh/v1alpha1", "ScaledObject")} == names


def test_every_step_is_told(api: Api) -> None:
    steps: list[Step] = []
    apply(api, FIRST, progress=steps.append)
    assert [step.done for step in steps] == list(range(1, len(FIRST) + 1))
    assert {step.total for step in steps} == {len(FIRST)}


def test_no_manifests_leave_nothing_behind_but_data(api: Api) -> None:
    api.namespace(LLM)
    before = api.everything()
    apply(api, FIRST)
    apply(api, [])
    left = {name for name in api.everything() if name not in before}
    assert left == {
        f"PersistentVolumeClaim/{LLM}/weights",
        f"ConfigMap/{LLM}/{inventory_name('shop')}",
    }
    apply(api, [], replace(SCOPE, prune_data=True))
    assert api.everything() == before


def test_a_namespace_that_was_there_before_is_never_deleted(api: Api) -> None:
    api.namespace(LLM)
    apply(api, FIRST)
    apply(api, [], replace(SCOPE, prune_data=True))
    assert one(api, "Namespace", LLM)["metadata"].get("labels", {}) == {}


def test_a_namespace_of_ours_goes_only_when_asked(api: Api) -> None:
    apply(api, FIRST)
    apply(api, [made("v1", "ConfigMap", "a")])
    assert one(api, "Namespace", LLM)
    notes = {change.key.kind: change.note for change in changes(api, []).of("keep")}
    assert "--delete-volumes" in notes["Namespace"]
    assert "--delete-volumes" in notes["PersistentVolumeClaim"]


def test_what_somebody_else_took_over_is_not_pruned(api: Api) -> None:
    apply(api, FIRST)

    def take(live: dict[str, Any]) -> None:
        live["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "helm"}

    api.change(deployment("old"), take, manager="helm")
    apply(api, SECOND)
    assert one(api, "Deployment", "old", "apps/v1")


def test_labels_alone_do_not_make_an_object_ours(api: Api) -> None:
    apply(api, FIRST)
    api.delete(made("v1", "ConfigMap", "old"))
    api.create(made("v1", "ConfigMap", "old", data={"a": "b"}), manager="kubectl")
    apply(api, SECOND)
    assert one(api, "ConfigMap", "old")["data"] == {"a": "b"}


def test_nothing_is_wished_of_a_namespace_that_is_gone(api: Api) -> None:
    apply(api, [])
    assert api.writes == 0


# -- replicas


def test_replicas_that_a_scaler_owns_are_never_changed(api: Api) -> None:
    apply(api, FIRST)
    scale(api, 7)
    apply(api, SECOND)
    assert replicas(api) == 7
    assert owners_of_replicas(api) == {"kube-controller-manager"}


def test_replicas_given_over_to_a_scaler_stay_where_they_are(api: Api) -> None:
    fixed = [*shared(), *model("chat", scaled=False, replicas=5)]
    apply(api, fixed)
    assert owners_of_replicas(api) == {"plimsoll"}
    seen = {
        change.key.name: change for change in changes(api, [*shared(), *model("chat")]).of("update")
    }
    assert [field.path for field in seen["chat"].fields] == []
    apply(api, [*shared(), *model("chat")])
    assert replicas(api) == 5
    assert owners_of_replicas(api) == {"plimsoll-handoff"}
    scale(api, 2)
    assert owners_of_replicas(api) == {"kube-controller-manager"}


def test_a_new_workload_starts_with_the_plans_replicas_and_the_scaler_may_change_them(
    api: Api,
) -> None:
    scope = replace(SCOPE, replicas={chat_key(): 3})
    apply(api, [*shared(), *model("chat")], scope)
    assert replicas(api) == 3
    assert owners_of_replicas(api) == {"plimsoll-handoff"}
    scale(api, 9)
    apply(api, [*shared(), *model("chat")], scope)
    assert replicas(api) == 9


def test_a_scaler_that_leaves_gives_its_replicas_back(api: Api) -> None:
    apply(api, [*shared(), *model("chat")])
    scale(api, 7, manager="keda")
    apply(api, [*shared(), *model("chat", scaled=False, replicas=2)])
    assert replicas(api) == 2
    assert owners_of_replicas(api) == {"plimsoll"}


# -- what keeps it from being applied


def test_an_object_of_somebody_else_is_refused_and_named(api: Api) -> None:
    api.namespace(LLM)
    api.create(made("v1", "ConfigMap", "chat", data={"a": "theirs"}), manager="helm")
    api.change(
        made("v1", "ConfigMap", "chat"), lambda o: o["metadata"].pop("labels"), manager="helm"
    )
    (problem,) = problems(api, FIRST)
    assert isinstance(problem, NotOurs)
    assert "`helm`" in str(problem)
    assert "--adopt" in str(problem)


def test_an_object_of_somebody_else_is_taken_over_when_asked(api: Api) -> None:
    api.namespace(LLM)
    theirs = made("v1", "ConfigMap", "chat", data={"config": "theirs", "more": "kept"})
    del theirs["metadata"]["labels"]
    api.create(theirs, manager="helm")
    apply(api, FIRST, replace(SCOPE, adopt=True))
    assert one(api, "ConfigMap", "chat")["data"] == {"config": "chat", "more": "kept"}


def test_an_object_of_another_fleet_is_never_taken_over(api: Api) -> None:
    apply(api, FIRST)
    scope = Scope(fleet="office", namespace=LLM, adopt=True)
    found = problems(api, [made("v1", "ConfigMap", "chat", data={})], scope)
    assert "fleet `shop`" in str(found[0])


def test_a_field_that_another_manager_owns_is_named_with_its_owner(api: Api) -> None:
    apply(api, FIRST)

    def patch(live: dict[str, Any]) -> None:
        live["spec"]["template"]["spec"]["containers"][0]["image"] = "engine:hot-fix"

    api.change(deployment("chat"), patch, manager="kubectl-edit")
    (problem,) = problems(api, SECOND)
    assert isinstance(problem, Conflict)
    assert [field.manager for field in problem.fields] == ["kubectl-edit"]
    assert "image" in problem.fields[0].field
    assert "--force-conflicts" in str(problem)
    apply(api, SECOND, replace(SCOPE, force=True))
    (container,) = one(api, "Deployment", "chat", "apps/v1")["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"] == "engine:2"


def test_an_immutable_field_is_found_before_anything_is_written(api: Api) -> None:
    apply(api, FIRST)
    moved = deployment("chat")
    moved["spec"]["selector"] = {"matchLabels": {"plimsoll.dev/model": "other"}}
    rest = [m for m in FIRST if m["metadata"]["name"] != "chat" or m["kind"] != "Deployment"]
    (problem,) = problems(api, [*rest, moved, made("v1", "ConfigMap", "another")])
    assert isinstance(problem, Immutable)
    assert "spec.selector" in str(problem)


def test_every_missing_kind_is_named_at_once(api: Api) -> None:
    api.uninstall("keda.sh/v1alpha1")
    api.namespace(LLM)
    found = problems(api, FIRST)
    assert [type(problem) for problem in found] == [MissingApi, MissingApi]
    assert "plimsoll doctor" in str(found[0])


def test_a_kind_whose_definition_is_applied_too_is_not_missing(api: Api) -> None:
    definition = made(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", "things.example.com", None,
        spec={
            "group": "example.com", "names": {"kind": "Thing", "plural": "things"},
            "scope": "Namespaced", "versions": [{"name": "v1"}],
        },
    )  # fmt: skip
    apply(api, [*shared(), made("example.com/v1", "Thing", "a", spec={"x": 1}), definition])
    assert one(api, "Thing", "a", "example.com/v1")["spec"] == {"x": 1}


def test_a_kind_that_is_not_served_at_once_is_waited_for(api: Api) -> None:
    definition = made(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", "things.example.com", None,
        spec={
            "group": "example.com", "names": {"kind": "Thing", "plural": "things"},
            "scope": "Namespaced", "versions": [{"name": "v1"}],
        },
    )  # fmt: skip
    path = "GET /apis/example.com/v1$"  # the plan asks once, the apply until it is there
    late = Fault(match=path, skip=1, times=2, status=404, body=status_404())
    api.faults.append(late)
    apply(api, [*shared(), made("example.com/v1", "Thing", "a"), definition])
    assert one(api, "Thing", "a", "example.com/v1")
    assert late.hits == 2


def status_404() -> dict[str, Any]:
    text = "the server could not find the requested resource"
    return {"kind": "Status", "code": 404, "reason": "NotFound", "message": text}


@pytest.mark.parametrize("namespace", ["there", "to be made"])
def test_missing_rights_are_found_before_anything_is_written(api: Api, namespace: str) -> None:
    if namespace == "there":
        api.namespace(LLM)
    api.deny("create", "deployments")
    found = problems(api, FIRST)
    assert [type(problem) for problem in found] == [Forbidden, Forbidden]
    assert "kubectl auth can-i" in str(found[0])


def test_the_right_to_delete_is_needed_for_what_goes(api: Api) -> None:
    apply(api, FIRST)
    api.deny("delete", "services")
    (problem,) = problems(api, SECOND)
    assert isinstance(problem, Forbidden)


def test_an_exceeded_quota_is_found_with_what_is_left(api: Api) -> None:
    api.namespace(LLM)
    quota = made(
        "v1", "ResourceQuota", "gpus",
        spec={"hard": {"requests.nvidia.com/gpu": "4"}},
        status={"hard": {"requests.nvidia.com/gpu": "4"}, "used": {"requests.nvidia.com/gpu": "3"}},
    )  # fmt: skip
    api.create(quota)
    (problem,) = problems(api, FIRST)
    assert isinstance(problem, QuotaExceeded)
    assert "3 used, 2 more wished, 4 allowed" in str(problem)
    apply(api, [*shared(), *model("chat")])


def test_a_missing_namespace_is_said_with_the_command_that_makes_it(api: Api) -> None:
    found = problems(api, model("chat"))
    assert all(isinstance(problem, NotFound) for problem in found)
    assert any("kubectl create namespace llm" in str(problem) for problem in found)


def test_a_namespace_that_is_going_away_is_said(api: Api) -> None:
    apply(api, FIRST)
    stuck = made("v1", "ConfigMap", "stuck")
    stuck["metadata"]["finalizers"] = ["example.com/wait"]
    api.create(stuck)
    api.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LLM}})
    assert any(isinstance(problem, Terminating) for problem in problems(api, FIRST))


@pytest.mark.parametrize("name", ["a" * 64, "Chat", "chat_1", ""])
def test_a_name_that_kubernetes_would_not_take_is_refused(api: Api, name: str) -> None:
    api.namespace(LLM)
    (problem,) = problems(api, [made("v1", "Service", name, spec={})])
    assert problem.code == "cluster.name"


def test_two_objects_of_one_name_are_refused(api: Api) -> None:
    with pytest.raises(PlimsollError, match="twice"):
        apply(api, [*FIRST, made("v1", "ConfigMap", "chat")])


# -- interrupted


@pytest.mark.parametrize("answer", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("start", [[], FIRST], ids=["first", "second"])
@pytest.mark.parametrize("then", [SECOND, THIRD], ids=["same", "other"])
def test_an_apply_that_is_cut_anywhere_can_be_run_again(
    start: list[dict[str, Any]], then: list[dict[str, Any]], answer: bool
) -> None:
    """The same objects as without a cut, nothing of others touched; every cut is tried.

    `then` is what is wished afterwards: of another wish, nothing of the first is left.
    """

    async def cut(writes: int | None) -> tuple[dict[str, Any], bool]:
        async with serving() as api, await Kube.connect(url=api.url, patience=IMPATIENT) as kube:
            api.namespace("theirs", *([LLM] if start else []))
            theirs = made("v1", "ConfigMap", "theirs", "theirs", data={"a": "b"})
            api.create(theirs, manager="helm")
            await apply_all(kube, start, SCOPE)
            if start:
                scale(api, 7)
            scope = replace(SCOPE, replicas={chat_key("new"): 3})
            was_cut = False
            if writes is not None:
                api.lose_after(writes, answer=answer)
                try:
                    await apply_all(kube, SECOND, scope, width=1)
                except PlimsollError:
                    was_cut = True
                api.heal()
            await apply_all(kube, then, scope)
            listed = await read(kube, "shop", LLM)
            assert {m["metadata"]["name"] for m in then} == {k.name for k in listed.keys}
            assert {k.name for k in listed.found} == ({LLM} if start else set())
            return api.everything(), was_cut

    async def play() -> None:
        wished, _ = await cut(None)
        writes, was_cut = 0, True
        while was_cut:
            found, was_cut = await cut(writes)
            assert found == wished, f"cut after {writes} writes"
            writes += 1
        assert writes > 10

    asyncio.run(play())


def test_the_inventory_lists_an_object_before_it_is_made_and_until_it_is_gone(api: Api) -> None:
    apply(api, FIRST)
    api.faults.append(
        Fault(match="PATCH .*/deployments/new.*(?<!dryRun=All)$", times=None, status=422)
    )
    api.faults[0].match = r"PATCH .*/deployments/new\?(?!.*dryRun)"
    with pytest.raises(PlimsollError):
        apply(api, SECOND)
    listed: list[set[str]] = []

    async def scene(kube: Kube) -> None:
        listed.append({k.name for k in (await read(kube, "shop", LLM)).keys})

    talk(api, scene)
    assert {"chat", "old", "new"} <= listed[0]


def test_two_applies_at_once_lose_nothing_of_the_inventory(api: Api) -> None:
    api.namespace(LLM)
    scope = replace(SCOPE, prune=False)

    async def scene(kube: Kube) -> None:
        await asyncio.gather(
            apply_all(kube, model("chat"), scope), apply_all(kube, model("new"), scope)
        )
        assert {k.name for k in (await read(kube, "shop", LLM)).keys} == {"chat", "new"}

    talk(api, scene)


def test_a_broken_inventory_is_said(api: Api) -> None:
    api.namespace(LLM)
    api.create(made("v1", "ConfigMap", inventory_name("shop"), data={"objects": "{"}))
    with pytest.raises(PlimsollError, match="inventory is broken"):
        apply(api, FIRST)


def test_the_scaler_is_applied_after_its_target(api: Api) -> None:
    found = changes(api, [scaled_object("chat"), *shared(), deployment("chat")])
    kinds = [change.key.kind for change in found.changes]
    assert kinds.index("Deployment") < kinds.index("ScaledObject")
