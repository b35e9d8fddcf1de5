"""Where the scenarios happen: a real cluster with nodes of our own, or the mocked API server.

In a real cluster everything is in namespaces and on nodes that the arena makes and removes. Where
no kubelet makes pods on those nodes ready within some seconds, the arena plays it: it keeps the
nodes alive, sets their pods ready, and removes those that end.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plimsoll.cli.cluster_plan import plan_for_cluster
from plimsoll.cli.files import LoadedFleet
from plimsoll.engines import ENGINES
from plimsoll.errors import PlimsollError
from plimsoll.fleet import crd
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.errors import ClusterError, Conflict, MissingApi, NotFound, Throttled
from plimsoll.worlds.cluster.info import ClusterInfo
from plimsoll.worlds.cluster.objects.names import COMPONENT, FLEET, GATEWAY_COMPONENT
from plimsoll.worlds.cluster.objects.render import render
from plimsoll.worlds.cluster.observe import replicas_seen
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from plimsoll.worlds.cluster.operator.parts import Parts, Settings
from plimsoll.worlds.cluster.operator.run import Operator
from plimsoll.worlds.cluster.operator.sites import Planned, Surroundings
from tests.cluster.kubelet import LEASES, Kubelet, is_ready
from tests.worlds.cluster.operator.stage import Callers, Cluster, cluster

Object = dict[str, Any]
IMAGE = "registry.example.com/plimsoll:0.4.0"
PATIENCE = 240.0  # seconds for whatever is waited for in a real cluster
DEFINITION = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
FLEETS = ("plimsoll.dev/v1alpha1", "Fleet")


@dataclass(kw_only=True)
class Arena:
    """One place for one scenario.

    real        whether schedulers and controllers are real; the mocked API server has neither a
                scheduler nor evictions
    name        prefix of everything that is made here; no two alike
    namespaces  two of its own
    stage       the played controllers, on the mocked API server
    kubelet     that of our own nodes
    """

    kube: Kube
    real: bool
    name: str
    namespaces: tuple[str, str]
    kubelet: Kubelet
    stage: Cluster | None = None
    callers: Callers = field(default_factory=Callers)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def until(
        self, condition: Callable[[], Awaitable[Any]], what: str, patience: float = PATIENCE
    ) -> Any:
        """Wait until something holds; returns what it yields."""
        ends = time.monotonic() + patience
        while True:
            if self.stage is not None:
                self.stage.kubelet = self.kubelet.readying
                self.stage.play()
            found = await condition()
            if found:
                return found
            assert time.monotonic() < ends, f"never: {what}"
            await asyncio.sleep(0.5 if self.real else 0.01)

    async def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object:
        """An object; empty where there is none."""
        return await self.kube.get(api_version, kind, name, namespace or self.namespaces[0]) or {}

    async def listed(
        self, api_version: str, kind: str, namespace: str = "", labels: str = ""
    ) -> list[Object]:
        found = await self.kube.list(
            api_version, kind, namespace=namespace or self.namespaces[0], labels=labels
        )
        return list(found.items)

    async def pods(self, model: str) -> list[Object]:
        """The pods of a model that do not end."""
        found = await self.listed("v1", "Pod", labels=f"plimsoll.dev/model={model}")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def ready_pods(self, model: str) -> list[Object]:
        return [pod for pod in await self.pods(model) if is_ready(pod)]

    async def status(self, fleet: str = "shop") -> Object:
        return (await self.get(*FLEETS, fleet)).get("status") or {}

    async def condition(self, kind: str, fleet: str = "shop") -> Object:
        conditions = (await self.status(fleet)).get("conditions") or ()
        return next((one for one in conditions if one["type"] == kind), {})

    async def is_true(self, kind: str, fleet: str = "shop") -> bool:
        return (await self.condition(kind, fleet)).get("status") == "True"

    async def create(self, spec: Object, name: str = "shop") -> None:
        """Create a Fleet."""
        meta = {"name": name, "namespace": self.namespaces[0]}
        await self.kube.create(
            {"apiVersion": FLEETS[0], "kind": FLEETS[1], "metadata": meta, "spec": spec}
        )

    async def change(self, change: Callable[[Object], None], name: str = "shop") -> None:
        """Change the spec of a Fleet, as often as somebody else is faster."""
        for _ in range(10):
            live = await self.get(*FLEETS, name)
            change(live["spec"])
            with suppress(ClusterError):
                await self.kube.update(live)
                return
        raise AssertionError("somebody else was always faster")

    async def evict(self, pod: Object) -> bool:
        """Ask for a pod's eviction, as a drain does; whether it may go now."""
        meta = pod["metadata"]
        target = await self.kube._target("v1", "Pod", meta["name"], meta["namespace"], "eviction")
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        }
        try:
            await self.kube._calls.send("POST", "create", target, body=body, repeatable=False)
        except Throttled:  # what a budget answers
            return False
        return True

    def pool(self, **words: Any) -> Object:
        """A pool that only our own nodes are in."""
        return {"name": self.name, "accelerator": "none", "nodes": {"max": 3}, **words}

    def model(self, name: str, **words: Any) -> Object:
        """A model on processors of our own nodes."""
        place = {"placement": {"pools": [self.name]}}
        return {"name": name, "source": "builtin:demo", "engine": "llamacpp", **place, **words}

    async def add_node(self, suffix: str, **resources: str) -> str:
        """A node in our pool; on the mocked API server, nothing."""
        name = f"{self.name}-{suffix}"
        if not self.real:
            return name
        labels = {
            "plimsoll.dev/pool": self.name,
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "nvidia.com/gpu.memory": "15360",
        }
        meta = {"name": name, "labels": labels}
        self.kubelet.nodes.append(name)  # first, so that it is removed whatever happens
        await self.kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": meta})
        offered = {
            "cpu": "64", "memory": "256Gi", "ephemeral-storage": "1000Gi", "pods": "110",
            **resources,
        }  # fmt: skip
        self.tasks.append(asyncio.create_task(self.kubelet.beat(name, offered)))
        await self.until(lambda: self._may_schedule(name), f"node {name} ready")
        return name

    async def _may_schedule(self, name: str) -> bool:
        node = await self.kube.get("v1", "Node", name) or {}
        taints = (node.get("spec") or {}).get("taints") or []
        status = node.get("status") or {}
        if not status.get("allocatable") or not is_ready(node):
            return False  # until then nothing has tainted it yet
        return not any("not-ready" in one["key"] or "unreachable" in one["key"] for one in taints)

    async def gateway_pod(self, fleet: str = "shop") -> None:
        """A gateway that runs, for `callers` to speak through."""
        if not self.real:
            return  # the played controllers start the real one's pods
        labels = {COMPONENT: GATEWAY_COMPONENT, FLEET: fleet}
        made = await self.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{fleet}-played-gateway",
                    "namespace": self.namespaces[0],
                    "labels": labels,
                },
                "spec": {
                    "nodeName": self.kubelet.nodes[0],
                    "containers": [{"name": "gateway", "image": IMAGE}],
                    "tolerations": [{"operator": "Exists"}],
                },
            }
        )
        await self.kubelet.set_ready(made)

    @asynccontextmanager
    async def operating(self, **words: Any) -> AsyncIterator[Operator]:
        """An operator of our own namespaces meanwhile, in a connection of its own."""
        settings = Settings(
            **{
                "identity": "test-0",
                "lease": f"{self.name}-operator",
                "namespace": self.namespaces[0],
                "namespaces": self.namespaces,
                "poll": 1.0 if self.real else 0.05,
                **words,
            }
        )
        around = Surroundings(engines=ENGINES, image=IMAGE, info=ClusterInfo())
        parts = Parts(
            plan=plan,
            render=lambda site: render(site).manifests,
            observe=replicas_seen,
            fetch=self.callers.fetch,
            around=lambda: around,
            clock=time.monotonic,
            now=time.time,
            random=random.random,
        )
        async with await self.connect() as kube:
            operator = Operator(kube, settings, parts, OperatorMetrics())
            task = asyncio.create_task(operator.run())
            try:
                yield operator
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def connect(self) -> Kube:
        url = self.stage.api.url if self.stage is not None else None
        return await Kube.connect(url=url)


async def plan(effective: Effective) -> Planned:
    """As `plimsoll operate` plans."""
    assert effective.fleet is not None
    loaded = LoadedFleet(fleet=effective.fleet, base=Path.cwd(), title=str(effective.key))
    found = await asyncio.to_thread(plan_for_cluster, loaded)
    return Planned(plan=found.plan, notes=found.notes)


@asynccontextmanager
async def mocked() -> AsyncIterator[Arena]:
    """An arena on the mocked API server."""
    spaces = ("arena-a", "arena-b")
    async with cluster(*spaces) as stage, await Kube.connect(url=stage.api.url) as kube:
        yield Arena(
            kube=kube, real=False, name="arena", namespaces=spaces, stage=stage,
            callers=stage.callers, kubelet=Kubelet(kube=kube),
        )  # fmt: skip


@asynccontextmanager
async def in_cluster() -> AsyncIterator[Arena]:
    """An arena in the cluster of $KUBECONFIG; removes all that it made."""
    name = f"plimsoll-test-{secrets.token_hex(3)}"
    spaces = (f"{name}-a", f"{name}-b")
    async with await Kube.connect() as kube:
        arena = Arena(
            kube=kube, real=True, name=name, namespaces=spaces, kubelet=Kubelet(kube=kube)
        )
        await arena.until(lambda: _is_not_going(kube), "an earlier definition gone")
        definition = crd()
        installed = await kube.get(*DEFINITION, definition["metadata"]["name"])
        try:
            await kube.apply(definition, force=True)
            for space in spaces:
                meta = {"name": space}
                await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
            await arena.until(lambda: _served(kube), "the Fleet API served")
            arena.tasks.append(asyncio.create_task(arena.kubelet.run()))
            yield arena
        finally:
            await _clean(arena)
            if installed is None:
                await kube.delete(*DEFINITION, definition["metadata"]["name"])
                await arena.until(lambda: _is_not_going(kube), "the definition gone")


async def _is_not_going(kube: Kube) -> bool:
    """Whether the definition of Fleets is there to stay, or is not there."""
    found = await kube.get(*DEFINITION, crd()["metadata"]["name"]) or {}
    return not (found.get("metadata") or {}).get("deletionTimestamp")


async def _served(kube: Kube) -> bool:
    found = await kube.get(*DEFINITION, crd()["metadata"]["name"]) or {}
    conditions = (found.get("status") or {}).get("conditions") or ()
    if not any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
        return False
    with suppress(MissingApi):
        await kube.list(*FLEETS)
        return True
    return False


async def _clean(arena: Arena) -> None:
    """Fleets first, without waiting for an operator that is gone; then namespaces and nodes."""
    arena.kubelet.plays = arena.kubelet.readying = True
    for space in arena.namespaces:
        with suppress(AssertionError, PlimsollError):
            await arena.until(lambda space=space: _without_fleets(arena, space), "no Fleet left")
        with suppress(PlimsollError):
            await arena.kube.delete("v1", "Namespace", space)
    with suppress(AssertionError, PlimsollError):
        await arena.until(lambda: _gone(arena), "namespaces gone")
    for task in arena.tasks:
        task.cancel()
    await asyncio.gather(*arena.tasks, return_exceptions=True)
    for node in arena.kubelet.nodes:
        for key in (("v1", "Node", node), (*LEASES, node, "kube-node-lease")):
            with suppress(PlimsollError):
                await arena.kube.delete(*key)


async def _without_fleets(arena: Arena, space: str) -> bool:
    """Free every Fleet and delete it; whether none is left."""
    fleets = (await arena.kube.list(*FLEETS, namespace=space)).items
    for fleet in fleets:
        with suppress(Conflict, NotFound):  # looked at again
            await arena.kube.update({**fleet, "metadata": {**fleet["metadata"], "finalizers": []}})
            await arena.kube.delete(*FLEETS, fleet["metadata"]["name"], space)
    return not fleets


async def _gone(arena: Arena) -> bool:
    found = [await arena.kube.get("v1", "Namespace", space) for space in arena.namespaces]
    return not any(found)
