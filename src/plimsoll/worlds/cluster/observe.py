"""Pods as the replicas that policy knows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plimsoll.policy.snapshot import ModelSeen, ReplicaSeen, ReplicaState
from plimsoll.worlds.cluster.objects.site import Manifest, Workload
from plimsoll.worlds.cluster.pod_phase import PodSeen, look

# Labels by which LeaderWorkerSet and KubeRay mark the pods of one replica over several nodes.
_GROUPS = (
    ("leaderworkerset.sigs.k8s.io/name", "leaderworkerset.sigs.k8s.io/group-index"),
    ("ray.io/cluster", ""),
)
_FIRST = (("leaderworkerset.sigs.k8s.io/worker-index", "0"), ("ray.io/node-type", "head"))
# What a replica is whose pods differ: the first of these that any pod is.
_WORST = (ReplicaState.FAILED, ReplicaState.DRAINING, ReplicaState.STARTING, ReplicaState.READY)


def replicas_seen(
    workload: Workload, pods: Sequence[Manifest], now: float
) -> tuple[ReplicaSeen, ...]:
    """The replicas that some pods of a workload are, by name; `now` in seconds since 1970.

    Pods of other workloads are left out; what has happened later than `now`, by the cluster's
    clock, happens now.
    """
    own = [
        pod
        for pod in pods
        if workload.selector.items() <= (pod["metadata"].get("labels") or {}).items()
    ]
    found = [_replica(group, workload.port, now) for group in groups_of(own)]
    return tuple(sorted(found, key=lambda replica: replica.name))


def model_seen(
    workload: Workload,
    pods: Sequence[Manifest],
    now: float,
    *,
    queued: int = 0,
    in_flight: int = 0,
    last_used: float | None = None,
) -> ModelSeen:
    """One model for `decide`: its pods, and the demand that the gateway told."""
    return ModelSeen(
        name=workload.model.name,
        replicas=replicas_seen(workload, pods, now),
        queued=queued,
        in_flight=in_flight,
        last_used=last_used,
    )


def groups_of(pods: Iterable[Manifest]) -> list[list[Manifest]]:
    """The pods of each replica, its first pod first; most replicas are one pod."""
    groups: dict[tuple[str, ...], list[Manifest]] = {}
    for pod in pods:
        groups.setdefault(_group(pod), []).append(pod)
    for group in groups.values():
        group.sort(key=lambda pod: (not _is_first(pod), pod["metadata"]["name"]))
    return list(groups.values())


def worst(pods: Sequence[PodSeen]) -> PodSeen:
    """The pod of a replica that says how the replica is."""
    return min(pods, key=lambda pod: _WORST.index(pod.state))


def _replica(group: Sequence[Manifest], port: int, now: float) -> ReplicaSeen:
    seen = [look(pod) for pod in group]
    first, telling = seen[0], worst(seen)
    ready = telling.state is ReplicaState.READY
    since = max(pod.since for pod in seen) if ready else telling.since
    return ReplicaSeen(
        name=first.name,
        state=telling.state,
        since=min(since, now),
        address=_address(first.address, port) if ready and first.address else None,
        reason=_words(telling, several=len(group) > 1),
    )


def _words(pod: PodSeen, *, several: bool) -> str:
    if pod.state is ReplicaState.READY:
        return ""
    where = f"{pod.name}: " if several else ""
    phase = "" if pod.state is not ReplicaState.STARTING else f"{pod.phase}"
    return f"{where}{': '.join(part for part in (phase, pod.reason) if part)}"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _group(pod: Mapping[str, Any]) -> tuple[str, ...]:
    labels = pod["metadata"].get("labels") or {}
    for name, index in _GROUPS:
        if name in labels:
            return (name, labels[name], labels.get(index, ""))
    return ("pod", pod["metadata"].get("namespace", ""), pod["metadata"]["name"])


def _is_first(pod: Mapping[str, Any]) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return any(labels.get(name) == value for name, value in _FIRST)
