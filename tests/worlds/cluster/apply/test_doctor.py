"""The doctor: every absence is told with its cost; what we may not see is not called missing."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.facts.cluster import components, shared_storage
from plimsoll.worlds.cluster import info
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.doctor import Finding, Findings, cluster_info, examine
from tests.worlds.cluster.api import Api
from tests.worlds.cluster.apiserver.kinds import INSTALLED, Kind
from tests.worlds.cluster.apply.manifests import made, talk


def examined(api: Api) -> Findings:
    found: list[Findings] = []

    async def scene(kube: Kube) -> None:
        found.append(await examine(kube))

    talk(api, scene)
    return found[0]


def finding(api: Api, name: str) -> Finding:
    return next(one for one in examined(api).findings if one.name == name)


def empty(api: Api) -> None:
    """Take away everything that is not Kubernetes' own."""
    for kind in INSTALLED:
        api.uninstall(kind.api_version, kind.kind)


def gpu_node(name: str, *, labels: dict[str, str] | None = None, **devices: str) -> dict[str, Any]:
    found = made("v1", "Node", name, None, status={"allocatable": {"cpu": "64", **devices}})
    found["metadata"]["labels"] = labels or {}
    return found


LABELLED = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559"}


def runs(name: str, kind: str = "Deployment", **labels: str) -> dict[str, Any]:
    container = {"name": "a", "image": f"registry.example/{name}:v1.2.3"}
    found = made("apps/v1", kind, name, "default", spec={
        "selector": {"matchLabels": labels}, "template": {"spec": {"containers": [container]}},
    })  # fmt: skip
    found["metadata"]["labels"] = labels
    return found


def test_everything_that_an_empty_cluster_lacks_is_told_with_its_cost(api: Api) -> None:
    empty(api)
    found = examined(api)
    assert [one.name for one in found.findings] == list(components())
    missing = {one.name for one in found.of("missing")}
    assert missing == {
        "gpu-operator", "accelerators", "device-plugin", "mig-manager", "dcgm-exporter", "keda",
        "prometheus-operator", "leader-worker-set", "karpenter", "dra", "ray-operator",
        "gateway-api", "inference-pool", "vertical-pod-autoscaler", "resource-metrics",
        "external-metrics", "default-storage-class", "shared-storage",
    }  # fmt: skip
    assert all(one.cost and one.todo for one in found.of("missing", "warning", "unknown"))
    assert not any(one.cost for one in found.of("ok"))


def test_definitions_of_which_nothing_runs_are_a_warning(api: Api) -> None:
    assert finding(api, "keda").state == "warning"
    api.create(runs("keda-operator", app="keda-operator"))
    found = finding(api, "keda")
    assert (found.state, found.found) == ("ok", "v1.2.3")


def test_what_we_may_not_list_is_unknown_and_not_missing(api: Api) -> None:
    empty(api)
    for plural in ("nodes", "deployments", "storageclasses", "resourcequotas", "deviceclasses"):
        api.deny("list", plural)
    unknown = {one.name for one in examined(api).of("unknown")}
    assert unknown == {
        "accelerators", "device-plugin", "feature-labels", "mig-manager", "dcgm-exporter", "dra",
        "default-storage-class", "shared-storage", "quota",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("version", "state", "minor"),
    [
        ("v1.34.2", "ok", 34),
        ("v1.37.0-gke.100", "ok", 37),
        ("v1.29.4-eks-036c24b", "warning", 29),
        ("v1.41.0", "warning", 41),
        ("v1.33+", "ok", 33),
    ],
)
def test_the_version_is_judged_by_its_minor_number(
    api: Api, version: str, state: str, minor: int
) -> None:
    api.server.server_version = version
    found = examined(api)
    assert found.findings[0].state == state
    assert found.info.minor == minor


def test_nodes_that_are_alike_are_counted_together(api: Api) -> None:
    for name in ("a", "b"):
        api.create(gpu_node(name, labels=LABELLED, **{"nvidia.com/gpu": "8"}))
    api.create(gpu_node("c", labels=LABELLED, **{"nvidia.com/mig-1g.10gb": "7"}))
    api.create(gpu_node("d", **{"nvidia.com/gpu": "0"}))
    found = examined(api)
    assert [(one.nodes, one.resources, one.memory) for one in found.info.gpus] == [
        (2, {"nvidia.com/gpu": 8}, 81559),
        (1, {"nvidia.com/mig-1g.10gb": 7}, 81559),
    ]
    by_name = {one.name: one for one in found.findings}
    assert by_name["accelerators"].found == "16 nvidia.com/gpu, 7 nvidia.com/mig-1g.10gb on 3 nodes"
    assert by_name["feature-labels"].state == "ok"


def test_gpu_nodes_without_feature_labels_are_a_warning(api: Api) -> None:
    api.create(gpu_node("a", **{"nvidia.com/gpu": "8"}))
    found = finding(api, "feature-labels")
    assert (found.state, found.found) == ("warning", "1 nodes with GPUs lack them")


@pytest.mark.parametrize(("said", "state"), [("ready", "ok"), ("notReady", "warning")])
def test_the_gpu_operator_is_well_when_its_policy_is_ready(api: Api, said: str, state: str) -> None:
    policy = made("nvidia.com/v1", "ClusterPolicy", "cluster-policy", None, status={"state": said})
    api.create(policy)
    assert finding(api, "gpu-operator").state == state


def storage_class(name: str, provisioner: str, *, default: bool = False) -> dict[str, Any]:
    found = made("storage.k8s.io/v1", "StorageClass", name, None, provisioner=provisioner)
    if default:
        key = "storageclass.kubernetes.io/is-default-class"
        found["metadata"]["annotations"] = {key: "true"}
    return found


def test_storage_classes_are_told_with_the_default_and_the_shared_one(api: Api) -> None:
    api.create(storage_class("gp3", "ebs.csi.aws.com", default=True))
    api.create(storage_class("efs", "efs.csi.aws.com"))
    found = examined(api)
    by_name = {one.name: one for one in found.findings}
    assert by_name["default-storage-class"].found == "gp3"
    assert by_name["shared-storage"].found == "efs (Amazon EFS)"
    assert [(one.name, one.default) for one in found.info.storage_classes] == [
        ("efs", False),
        ("gp3", True),
    ]


def test_two_default_classes_are_a_warning(api: Api) -> None:
    api.create(storage_class("a", "ebs.csi.aws.com", default=True))
    api.create(storage_class("b", "ebs.csi.aws.com", default=True))
    assert finding(api, "default-storage-class").state == "warning"


def test_an_operators_prefix_hides_no_shared_storage() -> None:
    assert shared_storage("rook-ceph.cephfs.csi.ceph.com") is not None
    assert shared_storage("rook-ceph.rbd.csi.ceph.com") is None


def test_a_quota_that_is_nearly_used_up_is_a_warning(api: Api) -> None:
    said = {"hard": {"requests.nvidia.com/gpu": "8"}, "used": {"requests.nvidia.com/gpu": "8"}}
    api.create(made("v1", "ResourceQuota", "gpus", "default", spec={}, status=said))
    found = finding(api, "quota")
    assert (found.state, found.found) == ("warning", "requests.nvidia.com/gpu 8 of 8")


def test_missing_rights_are_named(api: Api) -> None:
    assert finding(api, "rights").state == "ok"
    api.deny("create", "deployments")
    api.deny("delete", "services")
    found = finding(api, "rights")
    assert found.state == "warning"
    assert "delete services, create deployments.apps" in found.found


def test_gpus_of_the_dra_driver_are_seen(api: Api) -> None:
    api.create(made("resource.k8s.io/v1", "DeviceClass", "gpu.nvidia.com", None, spec={}))
    assert finding(api, "dra").state == "warning"
    devices = {"driver": "gpu.nvidia.com", "devices": [{"name": "gpu-0"}]}
    api.create(made("resource.k8s.io/v1", "ResourceSlice", "node-a", None, spec=devices))
    found = examined(api)
    assert found.info.dra_gpus
    assert next(one for one in found.findings if one.name == "dra").state == "ok"


def test_the_external_metrics_api_is_seen(api: Api) -> None:
    kind = Kind(api_version="external.metrics.k8s.io/v1beta1", kind="M", plural="m")
    api.store.kinds[kind.api_version, kind.plural] = kind
    assert examined(api).info.external_metrics


def test_what_render_is_told_names_every_installed_kind(api: Api) -> None:
    found: list[info.ClusterInfo] = []

    async def scene(kube: Kube) -> None:
        found.append(await cluster_info(kube))

    talk(api, scene)
    named = [
        info.KEDA, info.LEADER_WORKER_SET, info.POD_MONITOR, info.NODE_POOL, info.EC2_NODE_CLASS,
        info.RAY_SERVICE, info.HTTP_ROUTE, info.CLUSTER_POLICY, info.INFERENCE_POOL,
    ]  # fmt: skip
    assert all(found[0].has(api_name) for api_name in named)
    assert not found[0].assumed
    assert not found[0].has("apps/v1/Deployment")


def test_every_component_says_what_its_absence_costs_and_where_that_is_written() -> None:
    for component in components().values():
        assert component.cost, component.name
        assert component.todo, component.name
        assert component.source, component.name
