"""Hardening of pods: what each may do, and the Pod Security level that a namespace needs."""

from __future__ import annotations

from typing import Any, Literal

from plimsoll.engines.protocol import Container
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


def root_reason(container: Container) -> dict[str, str]:
    """The annotation of a pod whose engine must run as root."""
    return {f"{PREFIX}/why-root": container.root_reason} if container.user == 0 else {}


def pod_security_level(site: Site, namespace: str) -> Level:
    """The strictest Pod Security level under which everything in the namespace may run.

    `privileged` where pods read weights from the node's own disk: `baseline` forbids hostPath.
    """
    inside = [workload for workload in site.workloads if workload.namespace == namespace]
    if any(node_local(workload) for workload in inside) or (
        namespace == site.namespace and any(node_local(workload) for workload in site.workloads)
    ):
        return "privileged"
    rooted = any(workload.engine.container(workload.place).user == 0 for workload in inside)
    return "baseline" if rooted else "restricted"


def node_local(workload: Workload) -> bool:
    """Whether the weights come from the node's own disk."""
    scheme = workload.model.source.scheme
    return workload.model.storage.strategy == "nodeLocal" and scheme not in ("pvc", "oci")
