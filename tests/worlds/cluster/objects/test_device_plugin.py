"""Shares of accelerators, and what NVIDIA's operator is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.errors import InputError
from plimsoll.worlds.cluster.info import CLUSTER_POLICY, ClusterInfo, GpuNodes
from plimsoll.worlds.cluster.objects.device_plugin import (
    PLUGIN_LABEL,
    device_plugin_objects,
    plugin_config,
    plugin_settings,
)
from plimsoll.worlds.cluster.objects.gpu_operator import (
    gpu_operator_findings,
    gpu_operator_values,
)
from plimsoll.worlds.cluster.objects.node_labels import node_labels
from plimsoll.worlds.cluster.objects.pool_nodes import taints
from plimsoll.worlds.cluster.objects.site import Site
from tests.worlds.cluster.pools import site_of_pools
from tests.worlds.cluster.schemas import CRDS, problems


def site(sharing: dict[str, Any], **words: Any) -> Site:
    body = {"name": "shared", "accelerator": "A100-80GB-SXM", "sharing": sharing, **words}
    return site_of_pools(yaml.safe_dump({"pools": [body]}))


def settings_of(made: Site) -> dict[str, Any]:
    found = plugin_settings(made.fleet.pools[0], made)
    assert found is not None
    return found


def test_time_slicing_refuses_pods_that_ask_for_more_than_one() -> None:
    sharing = settings_of(site({"timeSlicing": {"replicas": 4}}))["sharing"]
    assert sharing == {
        "timeSlicing": {
            "renameByDefault": False,
            "failRequestsGreaterThanOne": True,
            "resources": [{"name": "nvidia.com/gpu", "replicas": 4}],
        }
    }


def test_slices_of_mig_instances_name_every_kind_of_instance() -> None:
    layout = [{"profile": "3g.40gb", "count": 1}, {"profile": "2g.20gb", "count": 2}]
    made = site({"mig": {"layout": layout}, "timeSlicing": {"replicas": 2}})
    names = [each["name"] for each in settings_of(made)["sharing"]["timeSlicing"]["resources"]]
    assert names == ["nvidia.com/mig-2g.20gb", "nvidia.com/mig-3g.40gb"]


def test_mps_and_time_slicing_are_never_both_there() -> None:
    for sharing in ({"mps": {"replicas": 3}}, {"timeSlicing": {"replicas": 3}}):
        assert list(settings_of(site(sharing))["sharing"]) == list(sharing)


def test_mps_on_an_accelerator_without_it_is_refused() -> None:
    made = site({"mps": {"replicas": 2}}, accelerator="MI300X")
    with pytest.raises(InputError) as caught:
        plugin_settings(made.fleet.pools[0], made)
    assert caught.value.code == "nodes.mps"


def test_a_pool_that_shares_nothing_has_no_entry() -> None:
    assert list(device_plugin_objects(site({}))) == []


def test_the_node_label_names_an_entry_that_is_there() -> None:
    made = site({"mps": {"replicas": 2}})
    (manifest,) = device_plugin_objects(made)
    label = node_labels(made.fleet.pools[0], made)[PLUGIN_LABEL]
    assert label in manifest["data"]
    assert "default" in manifest["data"]
    assert problems(manifest) == []


def test_another_setting_has_another_name() -> None:
    made = [site({"timeSlicing": {"replicas": count}}) for count in (2, 3)]
    assert len({plugin_config(one.fleet.pools[0], one) for one in made}) == 2


def test_what_gke_shares_itself_is_left_to_it() -> None:
    cloud = {"provider": "gcp", "instanceType": "a2-ultragpu-1g"}
    assert list(device_plugin_objects(site({"timeSlicing": {"replicas": 4}}, cloud=cloud))) == []


def values(made: Site) -> dict[str, Any]:
    text = gpu_operator_values(made)
    assert text is not None
    body: dict[str, Any] = yaml.safe_load(text)
    return body


def test_the_operator_is_told_the_config_maps_that_are_made() -> None:
    made = site({"mig": {"layout": [{"profile": "3g.40gb", "count": 2}]}})
    found = values(made)
    assert found["migManager"]["config"]["name"] == "test-mig"
    (manifest,) = device_plugin_objects(made)
    assert found["devicePlugin"]["config"] == {
        "name": manifest["metadata"]["name"],
        "default": "default",
    }
    assert found["mig"] == {"strategy": "mixed"}


def test_the_operands_tolerate_every_taint_of_the_pools() -> None:
    made = site({}, taints=[{"key": "team", "value": "ml", "effect": "NoExecute"}])
    tolerated = {(one["key"], one["effect"]) for one in values(made)["daemonsets"]["tolerations"]}
    assert {(one["key"], one["effect"]) for one in taints(made.fleet.pools[0])} <= tolerated


def test_no_driver_is_installed_on_images_that_carry_one() -> None:
    cloud = {"provider": "aws", "instanceType": "p4de.24xlarge"}
    assert values(site({}, cloud=cloud))["driver"] == {"enabled": False}
    assert "driver" not in values(site({}))


def test_a_fleet_without_accelerators_needs_no_operator() -> None:
    assert gpu_operator_values(site_of_pools("pools: [{name: plain, accelerator: none}]")) is None


@pytest.mark.skipif(not CRDS.is_dir(), reason="shared/crds is not here")
@pytest.mark.parametrize("sharing", [{"mig": {}}, {"timeSlicing": {"replicas": 2}}], ids=str)
def test_the_values_are_fields_of_the_cluster_policy(sharing: dict[str, Any]) -> None:
    file = Path(CRDS) / "gpu-operator" / "nvidia.com_clusterpolicies.yaml"
    (version,) = yaml.safe_load(file.read_text())["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]

    def unknown(value: Any, schema: dict[str, Any], path: str) -> list[str]:
        if not isinstance(value, dict) or "additionalProperties" in schema:
            return []
        known = schema.get("properties", {})
        return [f"{path}.{key}" for key in value if key not in known] + [
            fault
            for key in value
            if key in known
            for fault in unknown(value[key], known[key], f"{path}.{key}")
        ]

    assert unknown(values(site(sharing)), {"properties": spec}, "spec") == []


def test_a_cluster_without_the_operator_is_told_what_that_costs() -> None:
    (finding,) = gpu_operator_findings(ClusterInfo())
    assert "MIG" in finding.costs
    assert gpu_operator_findings(ClusterInfo(apis=(CLUSTER_POLICY,))) == ()


def test_nodes_without_feature_labels_or_device_plugin_are_told() -> None:
    info = ClusterInfo(
        apis=(CLUSTER_POLICY,),
        gpus=(
            GpuNodes(nodes=2, resources={"nvidia.com/gpu": 8}),
            GpuNodes(product="NVIDIA-H100", nodes=1, resources={"nvidia.com/gpu": 0}),
        ),
    )
    labels, plugin = gpu_operator_findings(info)
    assert "2 nodes" in labels.what
    assert "device plugin" in plugin.what


def test_a_pool_of_another_fleet_is_shared_there() -> None:
    made = site({"mps": {"replicas": 2}})
    assert gpu_operator_values(made) is not None
    offered = replace(made, offered=frozenset({"shared"}))
    assert list(device_plugin_objects(offered)) == []
    assert gpu_operator_values(offered) is None
