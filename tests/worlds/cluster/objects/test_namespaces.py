from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import DoesNotFit, InputError
from plimsoll.worlds.cluster.info import GpuNodes
from plimsoll.worlds.cluster.objects.namespaces import namespace_objects
from plimsoll.worlds.cluster.objects.site import Manifest, Site
from tests.worlds.cluster.schemas import VERSIONS, problems
from tests.worlds.cluster.sites import EXAMPLES, fleet_text, site_of

POD_SECURITY = "pod-security.kubernetes.io/enforce"
SMALL = "hf://Qwen/Qwen2.5-3B-Instruct-GGUF/qwen2.5-3b-instruct-q4_k_m.gguf"
LIMITED = """\
models:
  - name: m
    namespace: clinic
    source: hf://Qwen/Qwen2.5-7B-Instruct
    context: 4096
    traffic: {{requestsPerSecond: 0.1, promptTokens: 100, outputTokens: 100}}
    placement: {placement}
    scaling: {{min: {least}, max: {most}}}
pools:
  - name: a100
    accelerator: A100-80GB-SXM
    perNode: 8
    nodes: {{min: 4, max: 4}}
    sharing: {sharing}
tenants:
  - {{name: clinic, namespace: clinic, limits: {{gpus: {gpus}}}}}
"""
WHOLE, SLICED = ("{pools: [a100]}", "{}"), ("{pools: [a100], sharing: mig}", "{mig: {}}")


def limited(gpus: int, *, least: int = 1, most: int = 2, kind: tuple[str, str] = WHOLE) -> Site:
    placement, sharing = kind
    text = LIMITED.format(gpus=gpus, least=least, most=most, placement=placement, sharing=sharing)
    return site_of(fleet_text(text))


def made(site: Site, kind: str, **words: bool) -> list[Manifest]:
    return [found for found in namespace_objects(site, **words) if found["kind"] == kind]


def hard(site: Site) -> dict[str, int]:
    (quota,) = made(site, "ResourceQuota")
    return {name: int(count) for name, count in quota["spec"]["hard"].items()}


def in_namespace(namespace: str, *fields: str) -> str:
    lines = [f"source: {SMALL}", "context: 2048", f"namespace: {namespace}", *fields]
    return fleet_text("\n".join(["models:", "  - name: m", *(f"    {line}" for line in lines)]))


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_api_server_accepts_what_is_made(example: str, version: str) -> None:
    for manifest in namespace_objects(site_of(example), own=True):
        assert problems(manifest, kubernetes=version) == []


def test_a_tenant_s_namespace_is_made_and_the_fleet_s_own_only_when_asked() -> None:
    site = site_of("examples/production.yaml")
    assert [found["metadata"]["name"] for found in made(site, "Namespace")] == ["clinic"]
    own = made(site, "Namespace", own=True)
    assert [found["metadata"]["name"] for found in own] == ["inference", "clinic"]


def test_the_default_namespace_is_never_made() -> None:
    assert made(site_of(in_namespace("default")), "Namespace", own=False) == []
    assert made(site_of(EXAMPLES[0]), "Namespace", own=True) == []


def test_a_namespace_of_kubernetes_is_refused() -> None:
    with pytest.raises(InputError, match="Kubernetes' own") as caught:
        list(namespace_objects(site_of(in_namespace("kube-system"))))
    assert caught.value.where == "model m"


def test_pods_are_held_to_the_restricted_level() -> None:
    (namespace,) = made(site_of(in_namespace("team")), "Namespace")
    assert namespace["metadata"]["labels"][POD_SECURITY] == "restricted"


def test_weights_on_the_node_s_disk_need_a_privileged_namespace() -> None:
    text = in_namespace("team", "storage: {strategy: nodeLocal}", "placement: {pools: [plain]}")
    pool = (
        "  pools: [{name: plain, accelerator: none, nodes: {min: 1}, node: {cpu: 8, memory: 64Gi}}]"
    )
    (namespace,) = made(site_of(f"{text}{pool}\n"), "Namespace")
    assert namespace["metadata"]["labels"][POD_SECURITY] == "privileged"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/warn"] == "restricted"


def test_a_tenant_may_hold_so_many_accelerators_and_none_of_another_kind() -> None:
    assert hard(limited(3)) == {
        "requests.nvidia.com/gpu": 3, "requests.amd.com/gpu": 0, "requests.gpu.intel.com/xe": 0,
    }  # fmt: skip


def test_a_tenant_with_slices_may_hold_no_whole_accelerator() -> None:
    site = limited(3, kind=SLICED)
    devices = site.workloads[0].place.devices
    assert devices is not None
    slices = hard(site)[f"requests.nvidia.com/mig-{devices.profile}"]
    assert slices == int(3 / devices.portion)
    assert hard(site)["requests.nvidia.com/gpu"] == 0


def test_a_tenant_without_models_may_hold_whole_accelerators() -> None:
    text = fleet_text("tenants:\n  - {name: t, namespace: t, limits: {gpus: 2}}")
    assert hard(site_of(text))["requests.nvidia.com/gpu"] == 2


def test_a_tenant_without_a_limit_has_no_quota() -> None:
    site = site_of("examples/production.yaml")
    assert made(site, "ResourceQuota") == []


def test_models_that_need_more_than_the_quota_at_their_fewest_do_not_fit() -> None:
    with pytest.raises(DoesNotFit, match="may hold 1") as caught:
        hard(limited(1, least=2))
    assert caught.value.where == "tenant clinic"


@settings(deadline=None, max_examples=60)
@given(
    gpus=st.integers(0, 40),
    least=st.integers(0, 3),
    more=st.integers(0, 5),
    kind=st.sampled_from([WHOLE, SLICED]),
)
def test_a_quota_never_allows_more_than_the_limit(
    gpus: int, least: int, more: int, kind: tuple[str, str]
) -> None:
    site = limited(gpus, least=least, most=max(1, least + more), kind=kind)
    devices = site.workloads[0].place.devices
    assert devices is not None
    try:
        bounds = hard(site)
    except DoesNotFit:
        assert least * devices.per_node * devices.portion > gpus
        return
    held = sum(count * (devices.portion if "mig" in name else 1) for name, count in bounds.items())
    assert held <= gpus + 1e-6
    assert sum(bounds.values()) >= least * devices.per_node


def test_a_container_that_says_nothing_gets_bounds() -> None:
    (bounds,) = made(limited(3), "LimitRange")
    (entry,) = bounds["spec"]["limits"]
    assert entry["defaultRequest"] == {"cpu": "100m", "memory": "128Mi"}
    assert entry["default"] == {"memory": "1024Mi"}


def test_the_same_site_makes_the_same_objects() -> None:
    def text() -> list[dict[str, Any]]:
        return list(namespace_objects(limited(5, most=4), own=True))

    assert text() == text()


def test_no_name_of_an_accelerator_escapes_the_quota() -> None:
    site = limited(3)
    info = msgspec.structs.replace(
        site.info,
        device_classes=("gpu.nvidia.com",),
        gpus=(GpuNodes(resources={"nvidia.com/gpu.shared": 4}),),
    )
    bounds = hard(replace(site, info=info))
    assert bounds["gpu.nvidia.com.deviceclass.resource.k8s.io/devices"] == 0
    assert bounds["requests.nvidia.com/gpu.shared"] == 0
    assert bounds["requests.nvidia.com/gpu"] == 3


def test_slices_of_another_fleet_s_pool_count_too() -> None:
    layout = "{mig: {layout: [{profile: 1g.10gb, count: 7}]}}"
    site = replace(limited(3, kind=(WHOLE[0], layout)), offered=frozenset({"a100"}))
    assert hard(site)["requests.nvidia.com/mig-1g.10gb"] == 0
