"""Nodes that Karpenter adds: what is asked for exists, is bounded, and ends late enough."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerators
from plimsoll.facts.clouds import architecture_of
from plimsoll.facts.instances import Instance, instances
from plimsoll.worlds.cluster.info import ClusterInfo
from plimsoll.worlds.cluster.objects.karpenter import (
    karpenter_notes,
    karpenter_objects,
    karpenter_pools,
)
from plimsoll.worlds.cluster.objects.site import Manifest, Site
from tests.worlds.cluster.pools import models, placed, site_of_pools, slices
from tests.worlds.cluster.schemas import CRDS, problems

AWS = tuple(row for row in instances() if row.provider == "aws")
P5 = {"provider": "aws", "cluster": "inference", "instanceType": "p5.48xlarge"}
needs_crds = pytest.mark.skipif(not CRDS.is_dir(), reason="shared/crds is not here")


def pools(**words: Any) -> str:
    body = {
        "name": "gpus",
        "accelerator": "H100-80GB-SXM",
        "nodes": {"max": 4},
        "provisioner": "karpenter",
        "cloud": P5,
        **words,
    }
    return yaml.safe_dump({"pools": [body]})


def site(**words: Any) -> Site:
    return site_of_pools(pools(**words))


def of(kind: str, made: Site) -> list[Manifest]:
    return [manifest for manifest in karpenter_objects(made) if manifest["kind"] == kind]


def requirements(node_pool: Manifest) -> dict[str, list[str]]:
    listed = node_pool["spec"]["template"]["spec"]["requirements"]
    return {one["key"]: one.get("values", []) for one in listed}


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


CASES: dict[str, dict[str, Any]] = {
    "on-demand": {},
    "spot": {"capacity": "spot"},
    "mixed": {"capacity": "mixed", "spotPercent": 50},
    "mixed-of-one": {"capacity": "mixed", "nodes": {"max": 1}},
    "reserved": {"capacity": "reserved", "cloud": {**P5, "reservation": "cr-0a1b"}},
    "reserved-by-name": {"capacity": "reserved", "cloud": {**P5, "reservation": "block-7"}},
    "zones": {"cloud": {**P5, "zones": ["us-east-1a", "us-east-1b"]}},
    "mig": {"sharing": {"mig": {"layout": [{"profile": "1g.10gb", "count": 7}]}}},
    "turns": {"sharing": {"timeSlicing": {"replicas": 4}}},
    "taints": {"taints": [{"key": "team", "effect": "NoExecute"}], "labels": {"team": "ml"}},
    "expires": {"disruption": {"consolidateAfter": "0s", "expireAfter": "30d"}},
    "plain": {
        "accelerator": "none",
        "cloud": {"provider": "aws", "cluster": "inference"},
        "node": {"cpu": 16, "memory": "64Gi", "localDisk": "500G"},
    },
    "plain-named": {"accelerator": "none", "cloud": {**P5, "instanceType": "m7i.4xlarge"}},
    "by-accelerator": {
        "accelerator": "L4",
        "perNode": 4,
        "cloud": {"provider": "aws", "cluster": "inference"},
    },
}


@needs_crds
@pytest.mark.parametrize("case", CASES)
def test_every_object_is_valid(case: str) -> None:
    for manifest in karpenter_objects(site(**CASES[case])):
        assert problems(manifest) == []


@pytest.mark.parametrize("case", CASES)
def test_every_node_pool_names_a_node_class_that_is_there(case: str) -> None:
    made = site(**CASES[case])
    (node_class,) = of("EC2NodeClass", made)
    for node_pool in of("NodePool", made):
        reference = node_pool["spec"]["template"]["spec"]["nodeClassRef"]
        assert reference["name"] == node_class["metadata"]["name"]


@pytest.mark.parametrize("row", [row for row in AWS if row.count >= 1], ids=lambda row: row.type)
def test_what_is_asked_for_is_a_machine_of_the_catalogue(row: Instance) -> None:
    made = site(accelerator=row.accelerator, cloud={**P5, "instanceType": row.type})
    (node_pool,) = of("NodePool", made)
    asked = requirements(node_pool)
    assert asked["node.kubernetes.io/instance-type"] == [row.type]
    assert asked["karpenter.k8s.aws/instance-gpu-count"] == [str(round(row.count))]
    assert asked["kubernetes.io/arch"] == [architecture_of(row.accelerator)]


@pytest.mark.parametrize("name", sorted({row.accelerator for row in AWS}))
def test_a_pool_by_accelerator_asks_for_machines_that_are_alike_in_it(name: str) -> None:
    rows = {row.type: row for row in AWS}
    made = site(accelerator=name, cloud={"provider": "aws", "cluster": "inference"})
    (node_pool,) = of("NodePool", made)
    asked = requirements(node_pool)
    found = [rows[kind] for kind in asked["node.kubernetes.io/instance-type"]]
    assert {row.accelerator for row in found} == {name}
    (count,) = asked["karpenter.k8s.aws/instance-gpu-count"]
    assert {row.count for row in found} == {float(count)}


@settings(deadline=None, max_examples=100)
@given(most=st.integers(1, 200), percent=st.integers(0, 100))
def test_limits_are_the_pools_nodes_and_never_less_than_they_hold(most: int, percent: int) -> None:
    made = site(capacity="mixed", spotPercent=percent, nodes={"max": most})
    found = [manifest["spec"]["limits"] for manifest in of("NodePool", made)]
    assert sum(int(limits["nodes"]) for limits in found) == most
    assert sum(int(limits["nvidia.com/gpu"]) for limits in found) == most * 8
    assert all(int(limits["nodes"]) > 0 for limits in found)


@settings(deadline=None, max_examples=50)
@given(most=st.integers(2, 200), percent=st.integers(1, 99))
def test_spot_is_tried_first_and_its_limit_is_its_share(most: int, percent: int) -> None:
    made = site(capacity="mixed", spotPercent=percent, nodes={"max": most})
    first, second = of("NodePool", made)
    assert requirements(first)["karpenter.sh/capacity-type"] == ["spot"]
    assert requirements(second)["karpenter.sh/capacity-type"] == ["on-demand"]
    assert first["spec"]["weight"] > second["spec"]["weight"]
    share = int(first["spec"]["limits"]["nodes"]) / most
    assert abs(share - percent / 100) <= 1 / most


@settings(deadline=None, max_examples=50)
@given(
    replicas=st.integers(1, 9),
    per_node=st.sampled_from([1, 2, 4, 8]),
    stream=st.integers(1, 86_400),
)
def test_limits_hold_what_the_plan_needs_and_nodes_wait_for_their_streams(
    replicas: int, per_node: int, stream: int
) -> None:
    nodes = math.ceil(replicas / (8 // per_node))
    spec = (
        models("m")
        + pools(nodes={"max": nodes})
        + yaml.safe_dump({"gateway": {"maxStream": f"{stream}s"}})
    )
    devices = slices("", count=per_node)
    made = site_of_pools(spec, placed("m", "gpus", devices, replicas=replicas))
    (node_pool,) = of("NodePool", made)
    assert int(node_pool["spec"]["limits"]["nvidia.com/gpu"]) >= replicas * per_node
    grace = node_pool["spec"]["template"]["spec"]["terminationGracePeriod"]
    assert seconds(grace) >= stream + 20


def test_nodes_go_only_when_they_are_empty_and_never_grow_old_unasked() -> None:
    (node_pool,) = of("NodePool", site())
    assert node_pool["spec"]["disruption"]["consolidationPolicy"] == "WhenEmpty"
    assert node_pool["spec"]["template"]["spec"]["expireAfter"] == "Never"
    (limited,) = of("NodePool", site(**CASES["expires"]))
    assert limited["spec"]["template"]["spec"]["expireAfter"] == "2592000s"


def test_nodes_are_labelled_and_tainted_as_every_pool_is() -> None:
    (node_pool,) = of("NodePool", site(**CASES["taints"]))
    template = node_pool["spec"]["template"]
    assert template["metadata"]["labels"] == {"plimsoll.dev/pool": "gpus", "team": "ml"}
    assert template["spec"]["taints"] == [
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
        {"key": "team", "effect": "NoExecute"},
    ]


def test_instance_metadata_is_out_of_reach_of_pods() -> None:
    (node_class,) = of("EC2NodeClass", site())
    assert node_class["spec"]["metadataOptions"]["httpTokens"] == "required"
    assert node_class["spec"]["metadataOptions"]["httpPutResponseHopLimit"] == 1


def test_the_image_is_pinned() -> None:
    (node_class,) = of("EC2NodeClass", site())
    (term,) = node_class["spec"]["amiSelectorTerms"]
    assert not term["alias"].endswith("@latest")


def test_disks_inside_the_machine_hold_the_weights() -> None:
    (node_class,) = of("EC2NodeClass", site())
    assert node_class["spec"]["instanceStorePolicy"] == "RAID0"


def test_without_such_disks_the_volume_has_room_for_the_weights() -> None:
    cloud = {"provider": "aws", "cluster": "inference", "instanceType": "p3.16xlarge"}
    spec = models("m") + pools(accelerator="V100-16GB", cloud=cloud)
    devices = slices("", accelerator="V100-16GB", count=2)
    made = site_of_pools(spec, placed("m", "gpus", devices, weight_bytes=30 * 10**9))
    (node_class,) = of("EC2NodeClass", made)
    (volume,) = node_class["spec"]["blockDeviceMappings"]
    size = int(volume["ebs"]["volumeSize"].removesuffix("Gi")) * 2**30
    assert size >= 60 * 2**30 + 4 * 30 * 10**9
    assert "instanceStorePolicy" not in node_class["spec"]


def test_mig_resources_are_told_to_karpenter() -> None:
    made = site(**CASES["mig"])
    (overlay,) = of("NodeOverlay", made)
    assert overlay["spec"]["capacity"] == {"nvidia.com/mig-1g.10gb": "56"}
    assert any("NodeOverlay" in note for note in karpenter_notes(made))


def test_a_reservation_is_found_by_its_id_or_its_name() -> None:
    for case, term in (
        ("reserved", {"id": "cr-0a1b"}),
        ("reserved-by-name", {"tags": {"Name": "block-7"}}),
    ):
        made = site(**CASES[case])
        (node_class,) = of("EC2NodeClass", made)
        assert node_class["spec"]["capacityReservationSelectorTerms"] == [term]
        (node_pool,) = of("NodePool", made)
        assert requirements(node_pool)["karpenter.sh/capacity-type"] == ["reserved"]


def test_what_karpenter_cannot_promise_is_said() -> None:
    notes = karpenter_notes(site(capacity="mixed", nodes={"min": 1, "max": 4}))
    assert any("share of spot" in note for note in notes)
    assert any("nodes.min" in note for note in notes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"cloud": {"provider": "gcp", "instanceType": "a3-highgpu-8g"}}, "aws"),
        ({"cloud": {"provider": "aws", "instanceType": "p5.48xlarge"}}, "cluster"),
        ({"sharing": {"dra": {}}}, "ResourceClaim"),
    ],
    ids=["cloud", "cluster", "dra"],
)
def test_a_pool_that_karpenter_cannot_have_is_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        karpenter_pools(site(**words))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"accelerator": "L4"}, "nodes.accelerator"),
        ({"perNode": 4}, "nodes.per-node"),
        ({"cloud": {**P5, "instanceType": "p5.47xlarge"}}, "facts.unknown-instance"),
        ({"accelerator": "MI300X", "cloud": {"provider": "aws", "cluster": "c"}}, "nodes.machine"),
    ],
    ids=["accelerator", "per-node", "unknown", "none"],
)
def test_machines_that_do_not_fit_the_pool_are_refused(words: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught:
        list(karpenter_objects(site(**words)))
    assert caught.value.code == code


def test_mig_without_node_overlays_is_refused() -> None:
    made = site_of_pools(pools(**CASES["mig"]), info=ClusterInfo())
    with pytest.raises(InputError, match="NodeOverlay"):
        karpenter_pools(made)


def test_auto_takes_karpenter_only_where_it_is_and_can() -> None:
    text = pools(provisioner="auto")
    assert len(karpenter_pools(site_of_pools(text))) == 1
    assert karpenter_pools(site_of_pools(text, info=ClusterInfo())) == ()
    unnamed = pools(provisioner="auto", cloud={"provider": "aws", "instanceType": "p5.48xlarge"})
    assert karpenter_pools(site_of_pools(unnamed)) == ()


def test_every_accelerator_of_aws_is_in_the_catalogue() -> None:
    assert {row.accelerator for row in AWS} <= set(accelerators())


def test_without_karpenter_nothing_is_made_and_a_note_says_what_that_costs() -> None:
    made = site_of_pools(pools(), info=ClusterInfo())
    assert list(karpenter_objects(made)) == []
    (note,) = karpenter_notes(made)
    assert "pool gpus" in note
    assert "nothing adds its nodes" in note


def test_a_pool_of_another_fleet_gets_its_nodes_there() -> None:
    made = site_of_pools(pools(), offered=frozenset({"gpus"}))
    assert list(karpenter_objects(made)) == []
    assert karpenter_notes(made) == ()
