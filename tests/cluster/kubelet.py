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


@dataclass(kw_only=True)
class Kubelet:
    """Plays the kubelet of some nodes, if nobody else does.

    nodes     those
    readying  whether it makes pods ready
    plays     whether it has to play; None: not known yet
    """

    kube: Kube
    nodes: list[str] = field(default_factory=list)
    readying: bool = True
    plays: bool | None = None

    async def beat(self, name: str, offered: dict[str, str]) -> None:
        """A kubelet's heartbeat: the node's status, and its Lease."""
        while True:
            now = datetime.now(UTC)
            stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
            condition = {
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "played", "lastHeartbeatTime": stamp, "lastTransitionTime": stamp,
            }  # fmt: skip
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": "kube-node-lease"},
                "spec": {
                    "holderIdentity": name,
                    "leaseDurationSeconds": 40,
                    "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                },
            }
            with suppress(PlimsollError):
                await self.kube.patch_status(
                    "v1", "Node", name, None,
                    {"capacity": offered, "allocatable": offered, "conditions": [condition]},
                )  # fmt: skip
                await self.kube.apply(lease, manager="plimsoll-test", force=True)
            await asyncio.sleep(5)

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
        meta = pod["metadata"]
        if meta.get("deletionTimestamp"):
            await self._end(pod, waiting)
            return
        if is_ready(pod):
            self.plays = bool(self.plays)  # somebody made it ready: we, or a kubelet
            return
        since = waiting.setdefault(meta["uid"], time.monotonic())
        if self.plays is None and time.monotonic() - since > BY_ITSELF:
            self.plays = True
        if self.plays and self.readying:
            await self.set_ready(pod)

    async def _end(self, pod: Object, waiting: dict[str, float]) -> None:
        if not self.plays:
            return
        meta = pod["metadata"]
        ends = waiting.setdefault(f"end {meta['uid']}", time.monotonic())
        if time.monotonic() - ends < GRACE:
            return
        target = await self.kube._target("v1", "Pod", meta["name"], meta["namespace"])
        options = {
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": {"uid": meta["uid"]},
        }  # fmt: skip
        with suppress(ClusterError):
            await self.kube._calls.send("DELETE", "delete", target, body=options)

    async def set_ready(self, pod: Object) -> None:
        """What a kubelet writes when every container runs and answers."""
        meta = pod["metadata"]
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        await self.kube.patch_status(
            "v1", "Pod", meta["name"], meta["namespace"],
            {
                "phase": "Running",
                "podIP": f"10.244.0.{random.randint(2, 250)}",
                "startTime": stamp,
                "conditions": [
                    {"type": kind, "status": "True", "lastTransitionTime": stamp} for kind in kinds
                ],
                "containerStatuses": [
                    {
                        "name": one["name"], "ready": True, "started": True, "restartCount": 0,
                        "image": one["image"], "imageID": "",
                        "state": {"running": {"startedAt": stamp}},
                    }
                    for one in pod["spec"]["containers"]
                ],
            },
        )  # fmt: skip


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
