"""Every object that any example, or any of our own fleets, renders: what Kubernetes says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from plimsoll.engines import ENGINES
from plimsoll.errors import InputError
from plimsoll.worlds.cluster.info import (
    ASSUMED,
    EC2_NODE_CLASS,
    INFERENCE_POOL,
    KEDA,
    NODE_POOL,
    VERTICAL_POD_AUTOSCALER,
)
from plimsoll.worlds.cluster.objects.install import install_objects
from plimsoll.worlds.cluster.objects.kserve import kserve_objects
from plimsoll.worlds.cluster.objects.render import render
from plimsoll.worlds.cluster.yaml_text import to_yaml
from tests.worlds.cluster.fleets import EVERY
from tests.worlds.cluster.schemas import VERSIONS, builtin_kinds, problems
from tests.worlds.cluster.sites import IMAGE, planned, rendered, site_of

NOT_FOR_KSERVE = {  # and what is said
    "demo.yaml": "no `builtin:` source",
    "production.yaml": "a draft model",
    "plans/405b-over-two-nodes.yaml": "over several nodes",
    "rayserve": "`rayserve` is not exported",
    "triton": "`triton` is not exported",
}
# Where an empty value says something: everything, or the default of that kind of volume.
EMPTY_MEANS = {"podSelector", "namespaceSelector", "emptyDir", "rayStartParams"}


@pytest.mark.parametrize("fleet", EVERY)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_api_server_accepts_every_object(fleet: str, version: str) -> None:
    known = set(builtin_kinds(version))
    made = rendered(EVERY[fleet], version).manifests
    # Kinds of CRDs last: where their schemas are not at hand, the test ends there.
    for manifest in sorted(made, key=lambda one: (one["apiVersion"], one["kind"]) not in known):
        assert problems(manifest, kubernetes=version) == []


# What is installed beside Kubernetes: nothing, what is taken for granted, all that we know.
INSTALLED = {
    "nothing": (),
    "assumed": ASSUMED.apis,
    "everything": (*ASSUMED.apis, VERTICAL_POD_AUTOSCALER, INFERENCE_POOL),
}
WISHED = (NODE_POOL, EC2_NODE_CLASS)  # a pool may say `provisioner: karpenter`; a note tells
NEED = {  # what a fleet cannot do without, and what is said
    "plans/405b-over-two-nodes.yaml": "needs LeaderWorkerSet",
    "rayserve": "needs KubeRay",
    "three-gateways": "no Gateway API",
}


@pytest.mark.parametrize("fleet", EVERY)
@pytest.mark.parametrize("installed", INSTALLED)
def test_a_cluster_gets_only_kinds_that_it_has(fleet: str, installed: str) -> None:
    apis = INSTALLED[installed]
    info = msgspec.structs.replace(ASSUMED, apis=apis)
    if installed == "nothing" and fleet in NEED:
        with pytest.raises(InputError, match=NEED[fleet]):
            rendered(EVERY[fleet], info=info)
        return
    made = rendered(EVERY[fleet], info=info).manifests
    there = {*builtin_kinds(), *(tuple(api.rsplit("/", 1)) for api in (*apis, *WISHED))}
    there |= {("keda.sh/v1alpha1", "TriggerAuthentication")} if KEDA in apis else set()
    assert {(found["apiVersion"], found["kind"]) for found in made} <= there
    assert [problem for manifest in made for problem in problems(manifest)] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_an_api_server_accepts_what_installs_plimsoll(version: str) -> None:
    for manifest in install_objects(IMAGE):
        assert problems(manifest, kubernetes=version) == []


@pytest.mark.parametrize("fleet", [name for name in EVERY if name not in NOT_FOR_KSERVE])
def test_an_api_server_accepts_what_is_made_for_kserve(fleet: str) -> None:
    for manifest in kserve_objects(site_of(EVERY[fleet])):
        assert problems(manifest) == []


@pytest.mark.parametrize("fleet", NOT_FOR_KSERVE)
def test_what_kserve_cannot_run_is_refused(fleet: str) -> None:
    with pytest.raises(InputError, match=NOT_FOR_KSERVE[fleet]):
        list(kserve_objects(site_of(EVERY[fleet])))


@pytest.mark.parametrize("fleet", EVERY)
def test_the_same_fleet_renders_to_the_same_text(fleet: str) -> None:
    loaded, plan = planned(EVERY[fleet])
    assert loaded.fleet.models
    assert plan.placements
    once, again = (to_yaml(render(site_of(EVERY[fleet])).manifests) for _ in range(2))
    assert once == again


def empties(value: Any, path: str = "") -> Iterator[str]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in pairs:
        if inner in ({}, [], None):
            yield f"{path}.{name}"
        elif isinstance(inner, dict | list):
            yield from empties(inner, f"{path}.{name}")


@pytest.mark.parametrize("fleet", EVERY)
def test_nothing_empty_is_left_behind(fleet: str) -> None:
    found = [
        path
        for manifest in rendered(EVERY[fleet]).manifests
        for path in empties(manifest, manifest["kind"])
        if path.rpartition(".")[2] not in EMPTY_MEANS
    ]
    assert found == []


def test_the_fleets_use_every_engine() -> None:
    used = {place.engine for fleet in EVERY.values() for place in planned(fleet)[1].placements}
    assert used == set(ENGINES)


KINDS = {
    "Deployment", "StatefulSet", "LeaderWorkerSet", "DaemonSet", "RayService", "Service", "Ingress",
    "HTTPRoute", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy", "Role", "RoleBinding",
    "ServiceAccount", "Namespace", "ResourceQuota", "LimitRange", "PodDisruptionBudget",
    "ScaledObject", "HorizontalPodAutoscaler", "PodMonitor", "NodePool", "EC2NodeClass",
}  # fmt: skip


def test_the_fleets_render_every_kind() -> None:
    made = {found["kind"] for fleet in EVERY.values() for found in rendered(fleet).manifests}
    assert made >= KINDS
