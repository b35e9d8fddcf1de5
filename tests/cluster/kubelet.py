"""A kubelet that is played, for nodes that are only objects."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from plimsoll.errors import PlimsollError
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.errors import ClusterError

Object = dict[str, Any]
BY_ITSELF = 12.0  # seconds within which a kubelet, or what plays it, makes a pod ready
GRACE = 1.0  # seconds in which a played kubelet ends a pod
LEASES = ("coordination.k8s.io/v1", "Lease")


@dataclass(kw_only=True)
class Kubelet:
    """Plays the kubelet of some nodes, as far as nobody else does.

    nodes     those
    readying  whether it makes pods ready
    plays     whether it had to play once, and so does not wait for anybody else any more
    played    uids of the pods that it made ready
    """

    kube: Kube
    nodes: list[str] = field(default_factory=list)
    readying: bool = True
    plays: bool = False
    played: set[str] = field(default_factory=set)

    async def beat(self, name: str, offered: dict[str, str]) -> None:
        """A kubelet's heartbeat: the node's status, and its Lease."""
        while True:
            stamp = now()
            condition = {
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "played", "lastHeartbeatTime": stamp, "lastTransitionTime": stamp,
            }  # fmt: skip
            with suppress(PlimsollError):
                await self.kube.patch_status(
                    "v1", "Node", name, None,
                    {"capacity": offered, "allocatable": offered, "conditions": [condition]},
                )  # fmt: skip
            with suppress(PlimsollError):
                await self._renew(name)
            await asyncio.sleep(5)

    async def _renew(self, name: str) -> None:
        """Renew the node's Lease, unless somebody else holds it and so keeps the node."""
        found = await self.kube.get(*LEASES, name, "kube-node-lease") or {}
        if (found.get("spec") or {}).get("holderIdentity") not in (None, "", name):
            return
        lease = {
            "apiVersion": LEASES[0],
            "kind": LEASES[1],
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": 40,
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        await self.kube.apply(lease, manager="plimsoll-test", force=True)

    async def run(self) -> None:
        """Set pods on our nodes ready and remove those that end, if nobody else does."""
        waiting: dict[str, float] = {}
        while True:
            with suppress(PlimsollError):
                for node in tuple(self.nodes):
                    found = await self.kube.list("v1", "Pod", fields=f"spec.nodeName={node}")
                    for pod in found.items:
                        await self._play(pod, waiting)
            await asyncio.sleep(0.5)

    async def _play(self, pod: Object, waiting: dict[str, float]) -> None:
        uid, ends = pod["metadata"]["uid"], bool(pod["metadata"].get("deletionTimestamp"))
        if is_ready(pod) and not ends:
            return
        since = waiting.setdefault(f"{uid} {ends}", time.monotonic())
        patience = (GRACE if ends else 0.0) if self.plays else BY_ITSELF
        if time.monotonic() - since < patience:
            return
        with suppress(ClusterError):  # it went meanwhile
            if ends:
                await self._end(pod)
            elif self.readying:
                self.plays = True
                await self.set_ready(pod)

    async def _end(self, pod: Object) -> None:
        """What a kubelet asks when the last container has ended: nothing is left to wait for."""
        meta = pod["metadata"]
        target = await self.kube._target("v1", "Pod", meta["name"], meta["namespace"])
        options = {
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": {"uid": meta["uid"]},
        }  # fmt: skip
        await self.kube._calls.send("DELETE", "delete", target, body=options)

    async def set_ready(self, pod: Object) -> None:
        """What a kubelet writes when every container runs and answers."""
        meta, spec, stamp = pod["metadata"], pod["spec"], now()
        running = {"running": {"startedAt": stamp}}
        done = {
            "terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": stamp, "finishedAt": stamp,
            },
        }  # fmt: skip
        first = [
            _container(one, running if one.get("restartPolicy") == "Always" else done)
            for one in spec.get("initContainers") or ()
        ]
        # An address of nobody: those for benchmarks are not routed (RFC 2544).
        address = f"198.18.{random.randint(0, 255)}.{random.randint(1, 254)}"
        kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        status = {
            "phase": "Running",
            "podIP": (pod.get("status") or {}).get("podIP") or address,
            "startTime": (pod.get("status") or {}).get("startTime") or stamp,
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": stamp} for kind in kinds
            ],
            "containerStatuses": [_container(one, running) for one in spec["containers"]],
        }
        if first:
            status["initContainerStatuses"] = first
        await self.kube.patch_status("v1", "Pod", meta["name"], meta["namespace"], status)
        self.played.add(meta["uid"])


def _container(spec: Object, state: Object) -> Object:
    return {
        "name": spec["name"], "ready": True, "started": "running" in state, "restartCount": 0,
        "image": spec["image"], "imageID": "", "state": state,
    }  # fmt: skip


def now() -> str:
    """A time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
