"""Ray Serve on KubeRay: a RayService whose workers hold the accelerators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from plimsoll.engines.protocol import Drain
from plimsoll.engines.rayserve import RayServe
from plimsoll.errors import InputError
from plimsoll.facts.engines import engine as engine_facts
from plimsoll.facts.kubernetes import figure
from plimsoll.units import MIB
from plimsoll.worlds.cluster.info import RAY_SERVICE
from plimsoll.worlds.cluster.objects import drain
from plimsoll.worlds.cluster.objects.accelerators import Handout, claims
from plimsoll.worlds.cluster.objects.names import COMPONENT, object_name
from plimsoll.worlds.cluster.objects.pods import (
    Rendered,
    engine_container,
    pod_notes,
    pod_spec,
    rendered,
    setting,
)
from plimsoll.worlds.cluster.objects.resources import Needs, small_resources
from plimsoll.worlds.cluster.objects.roles import account_subject, granted, service_account
from plimsoll.worlds.cluster.objects.rollout import rollout
from plimsoll.worlds.cluster.objects.scaling import scale_target
from plimsoll.worlds.cluster.objects.security import OUR_USER, container_security
from plimsoll.worlds.cluster.objects.services import service, why_no_budget
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata
from plimsoll.worlds.cluster.objects.storage import Stored, claim_objects, most_replicas, stored

HEAD = "ray-head"  # component of the pod that only coordinates
_GROUP = "workers"
_SERVING = {"ray.io/serve": "true"}  # KubeRay's label of pods that answer


def ray_objects(site: Site, workload: Workload) -> Iterator[Manifest]:
    """The RayService of a model, and its Service. Raises InputError."""
    if not site.info.has(RAY_SERVICE):
        raise InputError(
            "`engine: rayserve` needs KubeRay, which the cluster has not",
            where=f"model {workload.model.name}",
            hint="install the KubeRay operator, or use `engine: vllm`",
            code="cluster.ray",
        )
    if stored(site, workload).templates:
        raise InputError(
            "Ray's workers cannot have volumes of their own",
            where=f"model {workload.model.name}",
            hint="use `accessMode: ReadWriteMany`, or another `storage.strategy`",
            code="cluster.ray",
        )
    yield from claim_objects(workload)
    yield from claims(site, workload)
    if _scales(workload):
        yield from _rights(workload)
    yield _ray_service(site, workload)
    yield service(workload, selector={**workload.selector, **_SERVING})


def _ray_service(site: Site, workload: Workload) -> Manifest:
    parts = _worker(site, workload)
    planned = rollout(site, workload)
    notes = {**planned.annotations, **why_no_budget(workload)}
    api, kind, name = scale_target(workload)
    engine = workload.engine
    assert isinstance(engine, RayServe)
    told = setting(site, workload, parts.weights)
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": metadata(name, workload.namespace, workload.labels, notes),
        "spec": {
            "serveConfigV2": engine.serve_config(((workload.place, told),)),
            # A second cluster beside the first takes as many accelerators again.
            "upgradeStrategy": {"type": "NewCluster" if planned.surge else "None"},
            # The old cluster finishes its streams.
            "rayClusterDeletionDelaySeconds": parts.ending.grace,
            "rayClusterConfig": {
                "rayVersion": workload.place.options.version or engine_facts("rayserve").version,
                "enableInTreeAutoscaling": _scales(workload),
                **({"autoscalerOptions": _autoscaler()} if _scales(workload) else {}),
                "headGroupSpec": {
                    # Without processors of its own, no replica is put there.
                    "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104 -- of the pod
                    "template": _head(workload, parts),
                },
                "workerGroupSpecs": [_workers(workload, parts)],
            },
        },
    }


def _scales(workload: Workload) -> bool:
    """Whether Ray's own autoscaler adds and removes workers; then nobody else does."""
    return most_replicas(workload) > max(1, workload.model.scaling.min)


def _workers(workload: Workload, parts: Rendered) -> dict[str, Any]:
    least = max(1, workload.model.scaling.min)
    devices = workload.place.devices
    return {
        "groupName": _GROUP,
        **({} if _scales(workload) else {"replicas": least}),
        "minReplicas": least,
        "maxReplicas": max(least, most_replicas(workload)),
        "numOfHosts": devices.nodes if devices else 1,
        "rayStartParams": {},
        "template": {
            "metadata": {
                "labels": dict(sorted(workload.labels.items())),
                "annotations": pod_notes(parts),
            },
            "spec": pod_spec(parts, [_container(parts)]),
        },
    }


def _container(parts: Rendered) -> dict[str, Any]:
    """A container that KubeRay starts Ray in: no command, and probes of KubeRay's own."""
    found = engine_container(parts)
    for name in ("command", "args", "startupProbe", "readinessProbe", "livenessProbe"):
        found.pop(name, None)
    return found


def _worker(site: Site, workload: Workload) -> Rendered:
    """What workers are made from. Ray ends at its signal, so the longest answer ends before it."""
    parts = rendered(site, workload)
    command = replace(parts.command, files={})  # the operator hands the configuration over
    end = drain.ending(site, workload, Drain(wait_idle=True, grace_seconds=5.0))
    return replace(parts, command=command, ending=end)


def _head(workload: Workload, parts: Rendered) -> dict[str, Any]:
    """The pod that only coordinates: no accelerators, no weights."""
    need = Needs(
        cpu=figure("ray_head_cores"),
        memory=int(figure("ray_head_memory")),
        disk=int(figure("scratch")),
    )
    plain = replace(
        parts,
        weights=Stored(paths=parts.weights.paths, pull_secrets=parts.weights.pull_secrets),
        need=need,
        given=Handout(resources={}),
    )
    labels = {**workload.labels, COMPONENT: HEAD}
    container = _container(plain)
    for name in ("ports", "lifecycle"):  # KubeRay's own ports; no answer is streamed here
        container.pop(name, None)
    spec = pod_spec(plain, [container])
    for name in ("affinity", "topologySpreadConstraints"):
        spec.pop(name, None)
    return {
        "metadata": {"labels": dict(sorted(labels.items()))},
        "spec": {
            **spec,
            "terminationGracePeriodSeconds": 30,
            **_with_autoscaler(workload),
        },
    }


def _with_autoscaler(workload: Workload) -> dict[str, Any]:
    """The head's account, where Ray's autoscaler beside it changes the number of workers."""
    if not _scales(workload):
        return {}
    return {"serviceAccountName": _account(workload), "automountServiceAccountToken": True}


def _account(workload: Workload) -> str:
    return object_name(workload.name, "ray-head")


def _rights(workload: Workload) -> Iterator[Manifest]:
    """What Ray's autoscaler, which runs beside the head, may do: see pods, change the number."""
    head = metadata(_account(workload), workload.namespace, workload.labels)
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["ray.io"], "resources": ["rayclusters"], "verbs": ["get", "patch"]},
    ]
    yield service_account(head)
    subject = account_subject(_account(workload), workload.namespace)
    yield from granted("Role", head, rules, subject)


def _autoscaler() -> dict[str, Any]:
    return {
        "resources": small_resources(memory=512 * MIB, cpu=0.2),
        "securityContext": container_security(OUR_USER),
        "idleTimeoutSeconds": 300,
    }
