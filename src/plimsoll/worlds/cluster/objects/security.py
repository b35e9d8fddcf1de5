"""Hardening of pods: what each may do, and the Pod Security level that a namespace needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from plimsoll.engines.protocol import Container
from plimsoll.facts.accelerators import accelerator
from plimsoll.facts.kubernetes import device_resources
from plimsoll.worlds.cluster.objects.accelerators import fitting_pools
from plimsoll.worlds.cluster.objects.device_plugin import shared_by_cloud
from plimsoll.worlds.cluster.objects.names import PREFIX
from plimsoll.worlds.cluster.objects.site import Site, Workload

OUR_USER = 65532  # of Plimsoll's own image
Level = Literal["restricted", "baseline", "privileged"]


def pod_security(*, group: int | None = None) -> dict[str, Any]:
    """The pod's `securityContext`: as Pod Security `restricted` asks.

    group  group that owns writable volumes; None where there are none
    """
    found: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if group is not None:
        # OnRootMismatch: changing the owner of a terabyte of weights takes minutes.
        found |= {"fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch"}
    return found


def container_security(user: int) -> dict[str, Any]:
    """A container's `securityContext`; user 0 only where a reason is written down."""
    found: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": user != 0,
        "runAsUser": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if user != 0:
        found["runAsGroup"] = user
    return found


def container_of(workload: Workload) -> Container:
    """What the engine needs of its container, and what its accelerators need beside.

    NVIDIA's device files are everybody's. Those of AMD and Intel belong to root and to a group of
    the node whose number no manifest can know; without it only root opens them.
    """
    found = workload.engine.container(workload.place)
    devices = workload.place.devices
    if devices is None or found.user == 0:
        return found
    group = device_resources()[accelerator(devices.name).vendor].device_group
    if not group:
        return found
    reason = f"the accelerator's device files belong to root and to the node's group `{group}`, "
    return replace(found, user=0, root_reason=f"{reason}whose number differs from node to node")


def host_ipc(site: Site, workload: Workload) -> bool:
    """Whether its pods must share the node's inter-process communication.

    GKE's own device plugin hands out MPS so; NVIDIA's mounts what clients need instead.
    Source: cloud.google.com, GKE, Share GPUs with NVIDIA MPS (`hostIPC: true`), from memory.
    """
    devices = workload.place.devices
    if devices is None or devices.sharing != "mps":
        return False
    return any(shared_by_cloud(pool, site) for pool in fitting_pools(workload))


def mps_notes(site: Site) -> tuple[str, ...]:
    """Where models of one pool would hinder each other: an MPS server serves one user at a time.

    Source: kubernetes-sigs/dra-driver-nvidia-gpu#1158; NVIDIA's device plugin has no other mode.
    """
    users: dict[str, dict[int, str]] = {}
    for workload in site.workloads:
        devices = workload.place.devices
        if devices is not None and devices.sharing == "mps":
            for pool in fitting_pools(workload):
                known = users.setdefault(pool.name, {})
                known.setdefault(container_of(workload).user, workload.model.name)
    return tuple(
        f"pool {pool}: MPS serves pods of one user at a time, and "
        + ", ".join(f"{model} runs as {user}" for user, model in found.items())
        + ": on one accelerator all but the first wait; give each engine a pool of its own"
        for pool, found in users.items()
        if len(found) > 1
    )


def root_reason(container: Container) -> dict[str, str]:
    """The annotation of a pod whose engine must run as root."""
    return {f"{PREFIX}/why-root": container.root_reason} if container.user == 0 else {}


def pod_security_level(site: Site, namespace: str) -> Level:
    """The strictest Pod Security level under which everything in the namespace may run.

    `privileged` where pods read weights from the node's own disk, or share its inter-process
    communication: `baseline` forbids both.
    """
    inside = [workload for workload in site.workloads if workload.namespace == namespace]
    if any(node_local(workload) for workload in inside) or (
        namespace == site.namespace and any(node_local(workload) for workload in site.workloads)
    ):
        return "privileged"
    if any(host_ipc(site, workload) for workload in inside):
        return "privileged"
    rooted = any(container_of(workload).user == 0 for workload in inside)
    return "baseline" if rooted else "restricted"


def node_local(workload: Workload) -> bool:
    """Whether the weights come from the node's own disk."""
    scheme = workload.model.source.scheme
    return workload.model.storage.strategy == "nodeLocal" and scheme not in ("pvc", "oci")
