"""How a fleet is in its cluster: per model wanted, ready, loading and why not; gateway; scalers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from plimsoll.policy.snapshot import ReplicaState
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.each import each
from plimsoll.worlds.cluster.errors import Forbidden, MissingApi, NotFound
from plimsoll.worlds.cluster.objects.names import (
    COMPONENT,
    ENGINE_COMPONENT,
    FLEET,
    GATEWAY_COMPONENT,
    MODEL,
    label_value,
)
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.observe import groups_of, worst
from plimsoll.worlds.cluster.pod_phase import PodSeen, look
from plimsoll.worlds.cluster.scaler_state import ScalerState, scaler_states

WORKLOADS = (
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
    ("ray.io/v1", "RayService"),
)
_SCALERS = (("keda.sh/v1alpha1", "ScaledObject"), ("autoscaling/v2", "HorizontalPodAutoscaler"))
_WIDTH = 8
_MOST_LOGS = 8  # crashed pods whose log is read
_LOG_LINES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """One replica.

    pods  of how many pods it is made; the rest is of the one that is furthest from ready
    """

    pod: PodSeen
    pods: int = 1

    @property
    def state(self) -> ReplicaState:
        """In the words of policy."""
        return self.pod.state


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """One model.

    name       of the model; the value of its label where nobody knows the name
    namespace  of its workload
    kind       of its workload; empty: it is not in the cluster
    wanted     replicas that its workload asks for
    replicas   those that there are
    scaler     who sets `wanted`; None: nobody but the fleet file
    problems   why there are fewer than wanted, beside what each replica says
    """

    name: str
    namespace: str = ""
    kind: str = ""
    wanted: int = 0
    replicas: tuple[ReplicaStatus, ...] = ()
    scaler: ScalerState | None = None
    problems: tuple[str, ...] = ()

    def count(self, *states: ReplicaState) -> int:
        """How many replicas are in one of these states."""
        return sum(replica.state in states for replica in self.replicas)

    @property
    def ready(self) -> int:
        """Replicas that answer."""
        return self.count(ReplicaState.READY)

    @property
    def loading(self) -> int:
        """Replicas on their way."""
        return self.count(ReplicaState.STARTING)

    @property
    def failed(self) -> int:
        """Replicas that died or cannot become ready."""
        return self.count(ReplicaState.FAILED)

    @property
    def well(self) -> bool:
        """Whether it is there with as many ready replicas as wanted and nothing is wrong."""
        scaled = self.scaler is None or not self.scaler.problem
        return bool(self.kind) and self.ready >= self.wanted and not self.problems and scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """One fleet at one moment.

    gateway  its pods as a model's are told; None: it has none here
    """

    fleet: str
    models: tuple[ModelStatus, ...]
    gateway: ModelStatus | None = None

    @property
    def well(self) -> bool:
        """Whether every model and the gateway are."""
        return all(one.well for one in (*self.models, *([self.gateway] if self.gateway else ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was listed of a fleet: by kinds, from all its namespaces."""

    workloads: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()
    scalers: tuple[Manifest, ...] = ()
    events: tuple[Manifest, ...] = ()


async def fleet_status(
    kube: Kube,
    fleet: str,
    namespaces: Sequence[str],
    *,
    models: Sequence[str] = (),
    logs: bool = True,
) -> FleetStatus:
    """How a fleet is.

    namespaces  all that it uses
    models      names of its models; one that has no workload is told as not there
    logs        read the last lines of what crashed and left no message

    Raises what `Kube` raises; kinds that are not installed and logs that we may not read are
    left out.
    """
    found = await _listed(kube, fleet, namespaces)
    status = status_of(fleet, found, models)
    return await _with_logs(kube, status, found.pods) if logs else status


def status_of(fleet: str, found: Found, models: Sequence[str] = ()) -> FleetStatus:
    """The status that listed objects mean."""
    names = {label_value(name): name for name in models}
    engines = [one for one in found.workloads if _label(one, COMPONENT) == ENGINE_COMPONENT]
    told = [_model(one, found, names) for one in engines]
    there = {one.name for one in told}
    told += [ModelStatus(name=name) for name in models if name not in there]
    gateways = [one for one in found.workloads if _label(one, COMPONENT) == GATEWAY_COMPONENT]
    return FleetStatus(
        fleet=fleet,
        models=tuple(sorted(told, key=lambda one: one.name)),
        gateway=_status(gateways[0], "gateway", found) if gateways else None,
    )


def _model(workload: Manifest, found: Found, names: Mapping[str, str]) -> ModelStatus:
    label = _label(workload, MODEL)
    return _status(workload, names.get(label, label), found)


def _status(workload: Manifest, name: str, found: Found) -> ModelStatus:
    meta = workload["metadata"]
    space = meta.get("namespace", "")
    same = {key: _label(workload, key) for key in (COMPONENT, FLEET, MODEL)}
    pods = [
        pod
        for pod in found.pods
        if pod["metadata"].get("namespace", "") == space
        and all(_label(pod, key) == value for key, value in same.items())
    ]
    replicas = [
        ReplicaStatus(pod=worst([look(pod) for pod in group]), pods=len(group))
        for group in groups_of(pods)
    ]
    scaler = scaler_states(found.scalers).get((workload["kind"], space, meta["name"]))
    wanted = (workload.get("spec") or {}).get("replicas")
    return ModelStatus(
        name=name,
        namespace=space,
        kind=workload["kind"],
        wanted=1 if wanted is None else int(wanted),
        replicas=tuple(sorted(replicas, key=lambda one: one.pod.name)),
        scaler=scaler,
        problems=tuple(_problems(workload, found.events)),
    )


def _problems(workload: Manifest, events: Iterable[Manifest]) -> list[str]:
    """Why pods are not even made: quotas, admission, a rollout that is stuck."""
    found: dict[str, None] = {}
    for one in (workload.get("status") or {}).get("conditions") or []:
        bad = (
            (one.get("type") == "ReplicaFailure" and one.get("status") == "True")
            or (one.get("type") == "Progressing" and one.get("status") == "False")
        )  # fmt: skip
        if bad:
            found[str(one.get("message") or one.get("reason"))] = None
    name, space = workload["metadata"]["name"], workload["metadata"].get("namespace", "")
    if workload["kind"] != "Deployment":  # which tells it in its conditions
        for event in events:
            regarding = event.get("involvedObject") or {}
            if regarding.get("namespace") == space and regarding.get("name") == name:
                found[str(event.get("message", ""))] = None
    return list(found)


async def _listed(kube: Kube, fleet: str, namespaces: Sequence[str]) -> Found:
    ours = f"{FLEET}={label_value(fleet)}"
    failed = "type=Warning,reason=FailedCreate"
    wishes = [
        *((kind, ours, "") for kind in (*WORKLOADS, ("v1", "Pod"), *_SCALERS)),
        (("v1", "Event"), "", failed),
    ]

    async def of(wish: tuple[tuple[str, str], str, str]) -> list[Manifest]:
        (api_version, kind), labels, fields = wish
        found: list[Manifest] = []
        try:
            for space in dict.fromkeys(namespaces):
                listed = await kube.list(
                    api_version, kind, namespace=space, labels=labels, fields=fields
                )
                found += listed.items
        except MissingApi:
            return []
        except Forbidden:
            if kind != "Event":  # they only explain
                raise
        return found

    *lists, events = await each(wishes, of, width=_WIDTH)
    count = len(WORKLOADS)
    return Found(
        workloads=tuple(one for listed in lists[:count] for one in listed),
        pods=tuple(lists[count]),
        scalers=tuple(one for listed in lists[count + 1 :] for one in listed),
        events=tuple(events),
    )


async def _with_logs(kube: Kube, status: FleetStatus, pods: Sequence[Manifest]) -> FleetStatus:
    """The status with the last line of the log of what crashed without a message."""
    spaces = {pod["metadata"]["name"]: pod["metadata"].get("namespace", "") for pod in pods}
    crashed = [
        replica.pod
        for model in (*status.models, *([status.gateway] if status.gateway else ()))
        for replica in model.replicas
        if replica.pod.crashed and ": " not in replica.pod.reason
    ][:_MOST_LOGS]

    async def last(pod: PodSeen) -> tuple[str, str]:
        for previous in (True, False):
            try:
                text = await kube.log(
                    pod.name, spaces[pod.name], container=pod.crashed, previous=previous,
                    lines=_LOG_LINES,
                )  # fmt: skip
            except Forbidden:
                break
            except NotFound:
                continue
            if lines := [line.strip() for line in text.splitlines() if line.strip()]:
                return pod.name, lines[-1]
        return pod.name, ""

    lines = dict(await each(crashed, last, width=_WIDTH))
    return replace(
        status,
        models=tuple(_explained(model, lines) for model in status.models),
        gateway=_explained(status.gateway, lines) if status.gateway else None,
    )


def _explained(model: ModelStatus, lines: Mapping[str, str]) -> ModelStatus:
    replicas = []
    for replica in model.replicas:
        line = lines.get(replica.pod.name)
        pod = replace(replica.pod, reason=f"{replica.pod.reason}: {line}") if line else replica.pod
        replicas.append(replace(replica, pod=pod))
    return replace(model, replicas=tuple(replicas))


def _label(found: Mapping[str, Any], name: str) -> str:
    return str((found["metadata"].get("labels") or {}).get(name, ""))
