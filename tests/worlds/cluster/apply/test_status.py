"""Status: what a person needs to know of each model, and what policy needs to know of pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.snapshot import ReplicaState
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.observe import groups_of, worst
from plimsoll.worlds.cluster.pod_phase import Phase, look
from plimsoll.worlds.cluster.status import FleetStatus, Found, fleet_status, status_of
from tests.worlds.cluster.api import Api
from tests.worlds.cluster.apply.manifests import LLM, deployment, labels, made, scaled_object, talk
from tests.worlds.cluster.apply.pods import (
    READY,
    condition,
    container,
    ended,
    model_labels,
    pod,
    pod_with,
    ready_pod,
    running,
    unplaced_pod,
    waiting,
)

INSUFFICIENT = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def workload(name: str = "chat", *, replicas: int = 1, **status: Any) -> dict[str, Any]:
    found = deployment(name, replicas=replicas)
    found["metadata"]["labels"] = model_labels(name)
    found["status"] = status
    return found


def model(*pods: dict[str, Any], replicas: int = 1, **found: Any) -> Any:
    listed = Found(workloads=(workload(replicas=replicas),), pods=pods, **found)
    return status_of("shop", listed, ["chat"]).models[0]


# -- one pod


@pytest.mark.parametrize(
    ("seen", "phase", "words"),
    [
        (ready_pod("a"), Phase.READY, ""),
        (unplaced_pod("a", INSUFFICIENT), Phase.NODE, "Insufficient nvidia.com/gpu"),
        (
            unplaced_pod("a", "gated", schedulingGates=[{"name": "plimsoll.dev/weights"}]),
            Phase.GATE,
            "weights",
        ),
        (pod_with("a", waiting("ContainerCreating")), Phase.IMAGE, ""),
        (
            pod_with("a", waiting("PodInitializing"), inits=[running(name="fetch-0")]),
            Phase.WEIGHTS,
            "",
        ),
        (
            pod_with("a", waiting("PodInitializing"), inits=[waiting("PodInitializing")]),
            Phase.IMAGE,
            "",
        ),
        (
            pod_with("a", running(), inits=[container(ended(0, "Completed"), name="fetch-0")]),
            Phase.ENGINE,
            "",
        ),
        (
            pod_with("a", running(), inits=[running(name="sidecar", started=True)]),
            Phase.ENGINE,
            "",
        ),
        (pod_with("a", waiting("ErrImagePull", "denied")), Phase.IMAGE, "denied"),
        (pod_with("a", waiting("ImagePullBackOff", "denied")), Phase.FAILED, "engine:1"),
        (
            pod_with("a", waiting("CreateContainerConfigError", 'secret "t" not found')),
            Phase.FAILED,
            'secret "t" not found',
        ),
        (
            pod_with("a", running(lastState=ended(1, message="out of blocks"), restartCount=1)),
            Phase.ENGINE,
            "exited with code 1 (1 restart): out of blocks",
        ),
        (
            pod_with("a", waiting("CrashLoopBackOff", lastState=ended(137, "OOMKilled"))),
            Phase.FAILED,
            "more memory than its limit",
        ),
        (
            pod_with(
                "a", waiting("PodInitializing"),
                inits=[waiting("CrashLoopBackOff", name="fetch-0", lastState=ended(1))],
            ),
            Phase.FAILED,
            "fetch-0 exited with code 1",
        ),
        (
            pod("a", status={"phase": "Failed", "reason": "Evicted", "message": "low on disk"}),
            Phase.FAILED,
            "low on disk",
        ),
    ],
)  # fmt: skip
def test_a_pod_says_how_far_it_is_and_what_keeps_it(
    seen: dict[str, Any], phase: Phase, words: str
) -> None:
    found = look(seen)
    assert found.phase == phase
    assert words in found.reason
    assert bool(found.reason) == bool(words)


def test_a_pod_that_is_deleted_drains_whatever_else_it_says() -> None:
    going = ready_pod("a")
    going["metadata"]["deletionTimestamp"] = "2026-11-21T11:01:00Z"
    going["metadata"]["deletionGracePeriodSeconds"] = 60
    found = look(going)
    assert found.state is ReplicaState.DRAINING
    assert found.since == datetime(2026, 11, 21, 11, 0, tzinfo=UTC).timestamp()


def test_a_ready_pod_is_ready_since_its_probe_said_so() -> None:
    assert look(ready_pod("a")).since == datetime.fromisoformat(READY).timestamp()


SAID = st.sampled_from(["True", "False", "Unknown"])
STATE = st.sampled_from([
    {}, {"running": {}}, ended(0), ended(1), ended(137, "OOMKilled"),
    {"waiting": {"reason": "CrashLoopBackOff"}}, {"waiting": {"reason": "ContainerCreating"}},
    {"waiting": {}},
])  # fmt: skip


@given(
    st.sampled_from(["Pending", "Running", "Failed", "Succeeded", "Unknown"]),
    st.tuples(st.lists(STATE, max_size=2), st.lists(STATE, max_size=2)),
    SAID, SAID, st.booleans(),
)  # fmt: skip
def test_every_pod_is_in_exactly_one_state(
    phase: str, states: tuple[list[Any], list[Any]], placed: str, ready: str, node: bool
) -> None:
    inits, mains = states
    status = {
        "phase": phase,
        "conditions": [condition("PodScheduled", placed), condition("Ready", ready)],
        "initContainerStatuses": [{"name": "i", "state": state} for state in inits],
        "containerStatuses": [{"name": "m", "state": state} for state in mains],
    }
    found = look(pod("a", node="n" if node else "", status=status))
    assert found.state in ReplicaState
    assert (found.state is ReplicaState.READY) == (
        ready == "True" and phase not in ("Failed", "Succeeded")
    )


# -- pods of one replica


def member(name: str, index: int, seen: dict[str, Any]) -> dict[str, Any]:
    seen["metadata"]["name"] = name
    seen["metadata"]["labels"] |= {
        "leaderworkerset.sigs.k8s.io/name": "big",
        "leaderworkerset.sigs.k8s.io/group-index": "0",
        "leaderworkerset.sigs.k8s.io/worker-index": str(index),
    }
    return seen


def test_a_replica_over_two_nodes_is_as_far_as_its_last_pod() -> None:
    pods = [
        member("big-0-1", 1, unplaced_pod("x", INSUFFICIENT)),
        member("big-0", 0, ready_pod("x")),
    ]
    (group,) = groups_of(pods)
    assert [one["metadata"]["name"] for one in group] == ["big-0", "big-0-1"]
    assert worst([look(one) for one in group]).state is ReplicaState.STARTING


# -- one model


def test_a_model_counts_what_is_ready_loading_and_failed() -> None:
    seen = model(
        ready_pod("a"), unplaced_pod("b", INSUFFICIENT), pod_with("c", waiting("ImagePullBackOff")),
        replicas=3,
    )  # fmt: skip
    assert (seen.wanted, seen.ready, seen.loading, seen.failed) == (3, 1, 1, 1)
    assert not seen.well


def test_a_model_whose_replicas_all_answer_is_well() -> None:
    assert model(ready_pod("a")).well
    assert model(replicas=0).well


def test_pods_of_another_model_or_namespace_do_not_count() -> None:
    elsewhere = ready_pod("b")
    elsewhere["metadata"]["namespace"] = "other"
    assert model(ready_pod("a", model="other"), elsewhere).ready == 0


def test_a_model_that_was_never_applied_is_told_so() -> None:
    (seen,) = status_of("shop", Found(), ["chat"]).models
    assert (seen.name, seen.kind, seen.well) == ("chat", "", False)


def test_a_quota_that_keeps_pods_from_being_made_is_told() -> None:
    refused = condition("ReplicaFailure", "True", message="exceeded quota: gpus")
    listed = Found(workloads=(workload(conditions=[refused]),))
    (seen,) = status_of("shop", listed, ["chat"]).models
    assert seen.problems == ("exceeded quota: gpus",)


def test_the_same_of_a_stateful_set_is_told_by_its_events() -> None:
    own = workload()
    own["kind"] = "StatefulSet"
    event = {
        "involvedObject": {"kind": "StatefulSet", "name": "chat", "namespace": LLM},
        "message": "create Pod chat-0 failed: exceeded quota: gpus",
    }
    (seen,) = status_of("shop", Found(workloads=(own,), events=(event,)), ["chat"]).models
    assert "exceeded quota" in seen.problems[0]


def test_the_gateway_is_told_beside_the_models() -> None:
    door = deployment("shop-gateway")
    door["metadata"]["labels"] = model_labels("", "gateway")
    door["spec"]["replicas"] = 1
    listed = Found(workloads=(door,), pods=(ready_pod("g", component="gateway"),))
    found = status_of("shop", listed)
    assert found.gateway is not None
    assert found.gateway.ready == 1
    assert found.models == ()


# -- scalers


def scaler(*conditions: dict[str, Any], **meta: Any) -> dict[str, Any]:
    found = scaled_object("chat")
    found["spec"] |= {"minReplicaCount": 1, "maxReplicaCount": 8}
    found["metadata"] |= meta
    found["status"] = {"conditions": list(conditions)}
    return found


def test_a_scaler_that_works_is_told_with_its_bounds() -> None:
    working = scaler(condition("Ready", "True"), condition("Active", "True"))
    seen = model(ready_pod("a"), scalers=(working,)).scaler
    assert (seen.low, seen.high, seen.active, seen.problem) == (1, 8, True, "")


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([condition("Ready", "False", message="prometheus is away")], "prometheus is away"),
        ([condition("Ready", "True"), condition("Fallback", "True")], "fallback"),
        ([], "not looked at it yet"),
    ],
)
def test_a_scaler_that_does_not_work_makes_its_model_unwell(
    conditions: list[dict[str, Any]], words: str
) -> None:
    seen = model(ready_pod("a"), scalers=(scaler(*conditions),))
    assert words in seen.scaler.problem
    assert not seen.well


def test_a_paused_scaler_is_told() -> None:
    paused = scaler(annotations={"autoscaling.keda.sh/paused-replicas": "0"})
    assert model(scalers=(paused,)).scaler.paused


def test_the_autoscaler_that_keda_makes_counts_as_keda() -> None:
    target = {"kind": "Deployment", "name": "chat"}
    own = made(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "keda-hpa-chat",
        spec={"scaleTargetRef": target},
    )
    seen = model(scalers=(own, scaler(condition("Ready", "True")))).scaler
    assert seen.kind == "ScaledObject"


# -- asked of a cluster


def asked(api: Api, **options: Any) -> FleetStatus:
    found: list[FleetStatus] = []

    async def scene(kube: Kube) -> None:
        found.append(await fleet_status(kube, "shop", [LLM], models=["chat"], **options))

    talk(api, scene)
    return found[0]


def test_what_a_cluster_has_is_listed_and_told(api: Api) -> None:
    api.namespace(LLM)
    api.create(workload())
    api.create(ready_pod("chat-1"))
    stranger = ready_pod("stranger")
    stranger["metadata"]["labels"] |= labels("office")
    api.create(stranger)
    found = asked(api)
    assert [(one.name, one.ready) for one in found.models] == [("chat", 1)]
    assert found.well


def test_a_crash_without_a_message_is_explained_by_its_log(api: Api) -> None:
    api.namespace(LLM)
    api.create(workload())
    api.create(pod_with("chat-1", waiting("CrashLoopBackOff", lastState=ended(1))))
    api.server.logs["chat-1", "engine"] = "loading\nValueError: no such model\n\n"
    assert asked(api).models[0].replicas[0].pod.reason.endswith(": ValueError: no such model")
    assert asked(api, logs=False).models[0].replicas[0].pod.reason == "engine exited with code 1"


def test_logs_that_we_may_not_read_are_left_out(api: Api) -> None:
    api.namespace(LLM)
    api.create(workload())
    api.create(pod_with("chat-1", waiting("CrashLoopBackOff", lastState=ended(1))))
    api.deny("get", "pods/log")
    assert asked(api).models[0].replicas[0].pod.reason == "engine exited with code 1"


def test_kinds_that_are_not_installed_are_left_out(api: Api) -> None:
    api.namespace(LLM)
    for group in ("keda.sh/v1alpha1", "leaderworkerset.x-k8s.io/v1", "ray.io/v1"):
        api.uninstall(group)
    api.create(workload())
    assert asked(api).models[0].kind == "Deployment"
