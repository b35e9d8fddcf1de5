"""What runs replicas, how they are replaced, where they are found."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.units import GIB
from plimsoll.worlds.cluster.info import ASSUMED
from plimsoll.worlds.cluster.objects.triton import server_of
from tests.worlds.cluster.objects.made import (
    H100,
    devices,
    engine_of,
    first,
    made,
    model,
    notes_of,
    objects,
    one,
    pod_of,
)
from tests.worlds.cluster.sites import EXAMPLES, ROOT, site_of

TWO_NODES = {"devices": devices(per_node=8, nodes=2)}
EVERY_EXAMPLE = (
    *EXAMPLES,
    *sorted(str(file.relative_to(ROOT)) for file in (ROOT / "examples/cluster").glob("*.yaml")),
)
DRIVERS = ("auto", "operator", "keda", "hpa")


def spec(site, kind: str = "Deployment") -> dict[str, Any]:
    return dict(one(site, kind)["spec"])


def fixed(nodes: int, per_node: int = 1) -> dict[str, Any]:
    return H100 | {"perNode": per_node, "nodes": {"min": nodes, "max": nodes}}


@given(
    driver=st.sampled_from(DRIVERS),
    least=st.integers(0, 3),
    more=st.integers(0, 3),
    operator=st.booleans(),
    kind=st.sampled_from(["Deployment", "StatefulSet", "LeaderWorkerSet"]),
)
@settings(deadline=None)
def test_replicas_are_written_only_where_nobody_else_sets_them(
    driver: str, least: int, more: int, operator: bool, kind: str
):
    scaling = {"min": least, "max": max(1, least + more), "driver": driver}
    storage = {"strategy": "volume"} if kind == "StatefulSet" else {}
    place = TWO_NODES if kind == "LeaderWorkerSet" else {"replicas": 2}
    site = made(model(scaling=scaling, storage=storage), place=place, operator=operator)
    found = spec(site, kind)
    assert ("replicas" in found) == (first(site).driver == "none")
    if "replicas" in found:
        assert least <= found["replicas"] <= max(1, least + more)


def test_the_plans_replicas_are_taken_within_the_bounds():
    site = made(model(scaling={"min": 1, "max": 6}), place={"replicas": 4})
    assert spec(site)["replicas"] == 4
    assert spec(made(model(scaling={"min": 1, "max": 2}), place={"replicas": 4}))["replicas"] == 2


def test_no_replica_is_added_where_every_accelerator_is_taken():
    full = made(pools=(fixed(2),), place={"replicas": 2})
    assert spec(full)["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert (
        "old replica goes first"
        in one(full, "Deployment")["metadata"]["annotations"]["plimsoll.dev/why-rollout"]
    )
    room = made(pools=(fixed(3),), place={"replicas": 2})
    assert spec(room)["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_other_models_on_the_pool_take_its_accelerators_too():
    site = made(model("a"), model("b"), pools=(fixed(1, per_node=2),))
    for manifest in objects(site):
        if manifest["kind"] == "Deployment":
            assert manifest["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


@pytest.mark.parametrize(("gpus", "surge"), [(2, 0), (3, 1), (None, 1)])
def test_no_replica_is_added_that_the_quota_would_refuse(gpus: int | None, surge: int):
    limits = {"limits": {"gpus": gpus}} if gpus else {}
    site = made(
        model(namespace="clinic", scaling={"min": 1, "max": 2}),
        pools=(fixed(8),),
        tenants=({"name": "clinic", "namespace": "clinic", **limits},),
    )
    assert spec(site)["strategy"]["rollingUpdate"]["maxSurge"] == surge


def test_turns_count_as_parts_of_an_accelerator():
    shared = devices("A10", memory=5 * GIB, sharing="timeSlicing", portion=0.25)
    pool = {
        "name": "p", "accelerator": "A10", "perNode": 1, "nodes": {"min": 1, "max": 1},
        "sharing": {"timeSlicing": {"replicas": 4}},
    }  # fmt: skip
    three = made(pools=(pool,), place={"devices": shared, "replicas": 3})
    four = made(pools=(pool,), place={"devices": shared, "replicas": 4})
    assert spec(three)["strategy"]["rollingUpdate"]["maxSurge"] == 1
    assert spec(four)["strategy"]["rollingUpdate"]["maxSurge"] == 0


@given(
    timeout=st.integers(1, 86_000),
    surge=st.booleans(),
    longest=st.integers(1, 80_000),
)
@settings(deadline=None, max_examples=30)
def test_a_rollout_is_given_the_time_that_a_start_may_take(timeout, surge, longest):
    pools = (fixed(2 if surge else 1),)
    site = made(
        model(startup={"timeout": f"{timeout}s"}), pools=pools, gateway={"maxStream": f"{longest}s"}
    )
    found = spec(site)
    assert found["progressDeadlineSeconds"] > timeout
    assert found["progressDeadlineSeconds"] > found["minReadySeconds"]
    if not surge:
        assert found["progressDeadlineSeconds"] >= timeout + longest


def test_a_replica_over_several_nodes_is_a_group():
    site = made(place=TWO_NODES)
    group = spec(site, "LeaderWorkerSet")["leaderWorkerTemplate"]
    assert group["size"] == 2
    assert group["restartPolicy"] == "RecreateGroupOnPodRestart"
    leader, worker = (
        group[name]["spec"]["containers"][0] for name in ("leaderTemplate", "workerTemplate")
    )
    assert "$(LWS_LEADER_ADDRESS)" in leader["args"]
    assert "$(LWS_WORKER_INDEX)" in worker["args"]
    assert "readinessProbe" in leader
    assert not [name for name in worker if name.endswith("Probe")]
    assert "ports" not in worker
    assert (
        one(site, "Service")["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0"
    )


def test_a_group_has_a_volume_for_each_pod():
    site = made(model(storage={"strategy": "volume"}), place=TWO_NODES)
    group = spec(site, "LeaderWorkerSet")["leaderWorkerTemplate"]
    assert [each["metadata"]["name"] for each in group["volumeClaimTemplates"]] == ["models"]


def test_a_group_needs_leader_worker_set():
    bare = msgspec.structs.replace(ASSUMED, apis=())
    with pytest.raises(InputError) as caught:
        objects(made(place=TWO_NODES, info=bare))
    assert caught.value.code == "cluster.lws"


def test_a_service_is_headless_and_finds_ready_replicas_of_its_model_only():
    site = made(model("a"), model("b"))
    services = [each for each in objects(site) if each["kind"] == "Service"]
    for service, workload in zip(services, site.workloads, strict=True):
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is False
        assert service["metadata"]["labels"]["plimsoll.dev/model"] == workload.model.name
        assert service["spec"]["selector"] == dict(workload.selector)


@given(most=st.integers(1, 5), at_night=st.integers(1, 5))
@settings(deadline=None)
def test_a_budget_protects_several_replicas_and_never_blocks_one(most: int, at_night: int):
    schedule = {
        "name": "night", "start": "0 1 * * *", "end": "0 5 * * *", "min": 0, "max": at_night,
    }  # fmt: skip
    site = made(model(scaling={"min": 0, "max": most, "schedules": [schedule]}))
    budgets = [each for each in objects(site) if each["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == (max(most, at_night) > 1)
    for budget in budgets:
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    if not budgets:
        notes = one(site, "Deployment")["metadata"]["annotations"]
        assert "drained" in notes["plimsoll.dev/why-no-disruption-budget"]


def triton(name: str, backend: str, server: str | None = "one", **words: Any) -> dict[str, Any]:
    options = {"backend": backend, **({"server": server} if server else {})}
    source = f"s3://acme/{name}/"
    return model(name, engine="triton", engineOptions=options, source=source, **words)


def test_models_of_one_server_share_a_deployment_and_keep_their_services():
    site = made(triton("llm", "vllm"), triton("rank", "onnxruntime"), triton("clean", "python"))
    manifest = one(site, "Deployment")
    assert engine_of(manifest)["resources"]["limits"]["nvidia.com/gpu"] == "3"
    assert len(pod_of(manifest)["initContainers"]) == 3
    services = [each for each in objects(site) if each["kind"] == "Service"]
    assert [each["metadata"]["labels"]["plimsoll.dev/model"] for each in services] == [
        "llm", "rank", "clean",
    ]  # fmt: skip
    pod_labels = manifest["spec"]["template"]["metadata"]["labels"]
    for service in services:
        assert service["spec"]["selector"].items() <= pod_labels.items()
    assert {server_of(site, each).model.name for each in site.workloads} == {"llm"}


def test_weights_lie_in_the_repository_where_a_backend_wants_them_there():
    site = made(triton("llm", "vllm"), triton("rank", "onnxruntime"))
    manifest = one(site, "Deployment")
    (fetch,) = [c for c in pod_of(manifest)["initContainers"] if "s3://acme/rank/" in c["args"]]
    assert "--whole" in fetch["args"]  # ONNX is no weight format that a choice would find
    (inside,) = [
        m for m in engine_of(manifest)["volumeMounts"] if m["mountPath"].endswith("/rank/1")
    ]
    assert f"/models/{inside['subPath']}" == fetch["args"][3]
    files = one(site, "ConfigMap")["data"]
    mounted = {m["subPath"] for m in engine_of(manifest)["volumeMounts"] if m["name"] == "files"}
    assert mounted == set(files)


@pytest.mark.parametrize(
    "other",
    [
        {"storage": {"strategy": "volume", "accessMode": "ReadWriteMany"}},
        {"placement": {"pools": ["other"]}},
    ],
)
def test_models_of_one_server_must_ask_for_the_same_pod(other: dict[str, Any]):
    pools = (H100, H100 | {"name": "other"})
    site = made(
        triton("llm", "vllm", placement={"pools": ["h100"]}),
        triton("rank", "onnxruntime", **({"placement": {"pools": ["h100"]}} | other)),
        pools=pools,
    )
    with pytest.raises(InputError) as caught:
        objects(site)
    assert caught.value.code == "cluster.server"


def ray(**words: Any) -> Any:
    return made(model(engine="rayserve", **words))


def test_a_ray_service_scales_by_itself_and_nobody_else_does():
    site = ray(scaling={"min": 1, "max": 4})
    found = spec(site, "RayService")
    cluster = found["rayClusterConfig"]
    (workers,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert "replicas" not in workers
    assert (workers["minReplicas"], workers["maxReplicas"]) == (1, 4)
    still = spec(ray(scaling={"min": 2, "max": 2}), "RayService")["rayClusterConfig"]
    assert still["workerGroupSpecs"][0]["replicas"] == 2
    assert still["enableInTreeAutoscaling"] is False


def test_rays_workers_hold_the_accelerators_and_its_head_none():
    cluster = spec(ray(), "RayService")["rayClusterConfig"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    worker = cluster["workerGroupSpecs"][0]["template"]["spec"]
    assert "nvidia.com/gpu" not in head["containers"][0]["resources"]["limits"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "initContainers" in worker
    assert "initContainers" not in head
    # Ray ends at its signal, so the longest answer ends before it.
    assert worker["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] >= 600


def test_ray_serves_the_weights_that_its_workers_fetched():
    site = ray()
    config = yaml.safe_load(spec(site, "RayService")["serveConfigV2"])
    (llm,) = config["applications"][0]["args"]["llm_configs"]
    workers = spec(site, "RayService")["rayClusterConfig"]["workerGroupSpecs"][0]
    (fetch,) = workers["template"]["spec"]["initContainers"]
    assert llm["model_loading_config"]["model_source"] == fetch["args"][3]


def test_the_service_of_a_ray_model_leaves_its_head_out():
    site = ray()
    selector = one(site, "Service")["spec"]["selector"]
    cluster = spec(site, "RayService")["rayClusterConfig"]
    head = cluster["headGroupSpec"]["template"]["metadata"]["labels"]
    worker = cluster["workerGroupSpecs"][0]["template"]["metadata"]["labels"]
    ours = {name: value for name, value in selector.items() if not name.startswith("ray.io")}
    assert ours.items() <= worker.items()
    assert not ours.items() <= head.items()


def test_ray_needs_its_operator_and_no_volumes_of_ones_own():
    with pytest.raises(InputError, match="KubeRay"):
        objects(made(model(engine="rayserve"), info=msgspec.structs.replace(ASSUMED, apis=())))
    with pytest.raises(InputError, match="volumes"):
        objects(ray(storage={"strategy": "volume"}))


def test_images_are_pulled_ahead_once_per_pool():
    site = made(
        model("a", storage={"prePull": True}),
        model("b", storage={"prePull": True}),
        model("c", engine="sglang", storage={"prePull": True}),
        model("d"),
    )
    daemon = one(site, "DaemonSet")
    pulled = [container["image"] for container in pod_of(daemon)["initContainers"]]
    assert len(pulled) == len(set(pulled)) == 2
    assert pod_of(daemon)["tolerations"]
    for container in [*pod_of(daemon)["initContainers"], *pod_of(daemon)["containers"]]:
        assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_images_with_weights_are_pulled_ahead_without_running_them():
    new = msgspec.structs.replace(ASSUMED, kubernetes="1.36")
    source = "oci://registry.example.com/models/notes:2.1"
    site = made(model(source=source, storage={"strategy": "image", "prePull": True}), info=new)
    volumes = pod_of(one(site, "DaemonSet"))["volumes"]
    assert [v["image"]["reference"] for v in volumes] == ["registry.example.com/models/notes:2.1"]


@pytest.mark.parametrize("example", EVERY_EXAMPLE)
def test_every_example_gives_valid_objects(example: str):
    classes = ("gpu.nvidia.com", "mig.nvidia.com")
    site = site_of(example, info=msgspec.structs.replace(ASSUMED, device_classes=classes))
    found = objects(site)
    assert {"Service"} <= {each["kind"] for each in found}
    names = [(e["kind"], e["metadata"].get("namespace"), e["metadata"]["name"]) for e in found]
    assert len(set(names)) == len(names)


def test_a_pod_says_why_it_is_as_it_is():
    notes = notes_of(one(made(), "Deployment"))
    assert {
        "plimsoll.dev/why-grace-period",
        "plimsoll.dev/why-startup-budget",
        "plimsoll.dev/why-no-cpu-limit",
    } <= set(notes)
