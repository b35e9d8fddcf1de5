"""How a replica gets its accelerators, and which nodes may have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerators
from plimsoll.facts.mig import mig_profiles
from plimsoll.units import GIB, MIB
from plimsoll.worlds.cluster.info import ASSUMED, GpuNodes
from plimsoll.worlds.cluster.objects.accelerators import memory_label, products
from tests.worlds.cluster.objects.made import (
    EVERY_DEVICE_CLASS,
    H100,
    devices,
    engine_of,
    made,
    model,
    objects,
    one,
    pod_of,
)

MIG = {"name": "mig", "accelerator": "A100-80GB-SXM", "perNode": 8}
SLICE = {"per_node": 1, "memory": 39 * GIB, "profile": "3g.40gb", "sharing": "mig", "portion": 0.5}


def gpus(site) -> dict[str, str]:
    limits = engine_of(one(site, "Deployment"))["resources"]["limits"]
    return {name: count for name, count in limits.items() if "/" in name}


def terms(site) -> list[list[dict[str, Any]]]:
    node = pod_of(one(site, "Deployment"))["affinity"]["nodeAffinity"]
    required = node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [term["matchExpressions"] for term in required]


def sharing(way: str, **pool: Any) -> Any:
    shared = devices("A10", memory=5 * GIB, sharing=way, portion=0.25)
    return made(
        pools=({"name": "p", "accelerator": "A10", "sharing": {way: {"replicas": 4}}, **pool},),
        place={"devices": shared},
    )


def on_slices(strategy: str, profile: str = "3g.40gb") -> Any:
    pool = MIG | {"sharing": {"mig": {"strategy": strategy}}}
    cut = devices("A100-80GB-SXM", **(SLICE | {"profile": profile}))
    return made(pools=(pool,), place={"devices": cut})


def test_whole_ones_are_counted_per_node():
    assert gpus(made(place={"devices": devices(per_node=4)})) == {"nvidia.com/gpu": "4"}


def test_a_slice_is_named_by_its_profile_where_the_strategy_is_mixed():
    assert gpus(on_slices("mixed")) == {"nvidia.com/mig-3g.40gb": "1"}
    assert gpus(on_slices("mixed", "1g.10gb+me")) == {"nvidia.com/mig-1g.10gb.me": "1"}


def test_a_slice_looks_like_a_whole_one_where_the_strategy_is_single():
    assert gpus(on_slices("single")) == {"nvidia.com/gpu": "1"}


@pytest.mark.parametrize("way", ["timeSlicing", "mps"])
def test_a_turn_is_one_accelerator(way: str):
    assert gpus(sharing(way)) == {"nvidia.com/gpu": "1"}


def test_a_turn_is_renamed_only_where_the_cluster_shows_it_so():
    renamed = GpuNodes(resources={"nvidia.com/gpu.shared": 4}, pool="p", nodes=1)
    info = msgspec.structs.replace(ASSUMED, gpus=(renamed,))
    site = sharing("timeSlicing")
    assert gpus(replace(site, info=info)) == {"nvidia.com/gpu.shared": "1"}


def test_other_makers_resources_have_their_own_names():
    pool = {"name": "amd", "accelerator": "MI300X", "perNode": 8}
    site = made(
        model(engine="custom", engineOptions={"image": "rocm/vllm:1"}),
        pools=(pool,),
        place={"devices": devices("MI300X", memory=191 * GIB)},
    )
    assert gpus(site) == {"amd.com/gpu": "1"}
    keys = {each["key"] for each in pod_of(one(site, "Deployment"))["tolerations"]}
    assert keys == {"nvidia.com/gpu", "amd.com/gpu"}
    assert terms(site) == [[{"key": "plimsoll.dev/pool", "operator": "In", "values": ["amd"]}]]


def test_memory_is_compared_as_whole_mebibytes_just_below_the_label():
    (with_label, without) = terms(made())
    assert with_label[0] == {"key": "plimsoll.dev/pool", "operator": "In", "values": ["h100"]}
    assert with_label[1]["operator"] == "Gt"
    (least,) = with_label[1]["values"]
    assert 0.9 * 81559 < int(least) < 81559  # what an H100 shows
    # A node that an autoscaler thinks of has no label yet.
    assert without[1] == {"key": "nvidia.com/gpu.memory", "operator": "DoesNotExist"}


@given(name=st.sampled_from([n for n, row in accelerators().items() if row.vendor == "nvidia"]))
def test_the_bound_is_below_what_the_node_shows_and_above_smaller_cards(name: str):
    row = accelerators()[name]
    label = memory_label(devices(name, memory=row.usable), single=False)
    assert label is not None
    shown = row.memory_label or row.usable // MIB
    assert shown * 0.95 < label[1] < shown
    for profile in mig_profiles(name):
        cut = devices(name, memory=profile.usable, profile=profile.name, sharing="mig")
        key, least = memory_label(cut, single=False) or ("", 0)
        assert key == f"nvidia.com/mig-{profile.name}.memory"
        assert least < profile.usable / MIB


def test_without_a_pool_the_product_is_asked_for():
    site = made(pools=(), place={"pool": "p5.48xlarge"})
    ((product, memory),) = terms(site)
    assert product["key"] == "nvidia.com/gpu.product"
    assert product["values"] == ["NVIDIA-H100-80GB-HBM3"]
    assert memory["operator"] == "Gt"
    shared = products(devices(sharing="timeSlicing", portion=0.5), single=False)
    assert shared is not None
    assert shared[1] == ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-80GB-HBM3-SHARED")


def test_pools_are_preferred_in_the_models_order_and_others_left_out():
    pools = (
        H100,
        {"name": "spot", "accelerator": "H100-80GB-SXM", "perNode": 8},
        {"name": "small", "accelerator": "L4-24GB"},
    )
    site = made(model(placement={"pools": ["spot", "h100", "small"]}), pools=pools)
    assert terms(site)[0][0]["values"] == ["spot", "h100"]
    node = pod_of(one(site, "Deployment"))["affinity"]["nodeAffinity"]
    preferred = node["preferredDuringSchedulingIgnoredDuringExecution"]
    (first,) = [each["preference"]["matchExpressions"][0]["values"] for each in preferred]
    assert first == ["spot"]


@pytest.mark.parametrize(
    ("cloud", "taint", "label"),
    [
        ({"provider": "gcp"}, "cloud.google.com/gke-spot", "cloud.google.com/gke-spot"),
        (
            {"provider": "azure"},
            "kubernetes.azure.com/scalesetpriority",
            "kubernetes.azure.com/scalesetpriority",
        ),
        ({"provider": "aws"}, "", "karpenter.sh/capacity-type"),
    ],
)
def test_mixed_pools_take_spot_first_and_its_taints_are_tolerated(cloud, taint, label):
    site = made(pools=(H100 | {"capacity": "mixed", "cloud": cloud},))
    pod = pod_of(one(site, "Deployment"))
    keys = {each["key"] for each in pod["tolerations"]}
    assert (taint in keys) == bool(taint)
    preferred = pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert label in {each["preference"]["matchExpressions"][0]["key"] for each in preferred}


def test_batch_work_can_keep_off_spot():
    pools = (H100 | {"capacity": "mixed", "cloud": {"provider": "gcp"}},)
    site = made(model(batch={"capacity": "onDemand"}), pools=pools)
    node = pod_of(one(site, "Deployment"))["affinity"]["nodeAffinity"]
    (wish,) = node["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["preference"]["matchExpressions"][0]["operator"] == "NotIn"


def test_a_pools_own_taints_are_tolerated():
    taint = {"key": "team", "value": "ml", "effect": "NoExecute"}
    site = made(pools=(H100 | {"taints": [taint]},))
    assert {**taint, "operator": "Equal"} in pod_of(one(site, "Deployment"))["tolerations"]


def test_replicas_are_spread_as_asked():
    for spread, key in (
        ("node", "kubernetes.io/hostname"),
        ("zone", "topology.kubernetes.io/zone"),
    ):
        pod = pod_of(one(made(model(placement={"spread": spread})), "Deployment"))
        (constraint,) = pod["topologySpreadConstraints"]
        assert constraint["topologyKey"] == key
    assert "topologySpreadConstraints" not in pod_of(one(made(), "Deployment"))


CLAIMS = {"name": "claims", "accelerator": "H100-80GB-SXM", "sharing": {"dra": {}}}


def claimed(info=EVERY_DEVICE_CLASS, **words: Any) -> Any:
    held = devices(sharing="dra", **words)
    return made(pools=(CLAIMS,), place={"devices": held}, info=info)


def test_a_claim_asks_for_memory_in_cel_and_the_container_names_it():
    site = claimed()
    template = one(site, "ResourceClaimTemplate")
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"]["deviceClassName"] == "gpu.nvidia.com"
    (selector,) = request["exactly"]["selectors"]
    assert "compareTo(quantity('" in selector["cel"]["expression"]
    pod, container = pod_of(one(site, "Deployment")), engine_of(one(site, "Deployment"))
    (claim,) = pod["resourceClaims"]
    assert claim["resourceClaimTemplateName"] == template["metadata"]["name"]
    assert container["resources"]["claims"] == [{"name": claim["name"]}]
    assert not [name for name in container["resources"]["limits"] if "/" in name]


def test_a_claimed_slice_asks_for_its_profile():
    site = claimed(profile="3g.40gb", portion=0.5)
    (request,) = one(site, "ResourceClaimTemplate")["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"]["deviceClassName"] == "mig.nvidia.com"
    assert "profile == '3g.40gb'" in request["exactly"]["selectors"][0]["cel"]["expression"]


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (ASSUMED, "DeviceClass"),
        (msgspec.structs.replace(EVERY_DEVICE_CLASS, kubernetes="1.33"), "resource.k8s.io/v1"),
    ],
)
def test_claims_that_the_cluster_cannot_serve_are_refused_with_what_is_missing(info, words):
    with pytest.raises(InputError, match=words) as caught:
        objects(claimed(info=info))
    assert caught.value.code == "cluster.dra"


def test_karpenter_cannot_serve_claims():
    pool = CLAIMS | {"provisioner": "karpenter", "cloud": {"provider": "aws"}}
    site = made(pools=(pool,), place={"devices": devices(sharing="dra")}, info=EVERY_DEVICE_CLASS)
    with pytest.raises(InputError, match="Karpenter"):
        objects(site)
