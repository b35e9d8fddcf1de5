"""A stage for the operator: the mocked API server, controllers that are played, and callers.

The server is spoken to over HTTP by the real client; only what Kubernetes' own controllers and
kubelets would do is played, by `Cluster.play`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from plimsoll.engines import ENGINES
from plimsoll.errors import Failed
from plimsoll.plan.types import Ledger, Placement, Plan, Term
from plimsoll.worlds.cluster.client import Kube, Patience
from plimsoll.worlds.cluster.info import ClusterInfo
from plimsoll.worlds.cluster.objects.names import COMPONENT, GATEWAY_COMPONENT
from plimsoll.worlds.cluster.objects.render import render
from plimsoll.worlds.cluster.observe import replicas_seen
from plimsoll.worlds.cluster.operator.election import Terms
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from plimsoll.worlds.cluster.operator.parts import Parts, Settings
from plimsoll.worlds.cluster.operator.queue import Pace
from plimsoll.worlds.cluster.operator.run import Operator
from plimsoll.worlds.cluster.operator.sites import Planned, Surroundings
from tests.worlds.cluster.api import Api, Object, serving

IMAGE = "registry.example.com/plimsoll:0.4.0"
BARE = ClusterInfo(kubernetes="1.34")  # Kubernetes alone, without anything installed
QUICK = Patience(timeout=5.0, attempts=2, pause=0.01, longest=0.05)
SETTINGS = Settings(
    identity="operator-0",
    elect=False,
    poll=0.05,
    settle=0.005,
    terms=Terms(duration=1.0, deadline=0.7, retry=0.1),
    pace=Pace(first=0.02, longest=0.2, rate=10_000, burst=1_000),
)
PATIENCE = 20.0  # seconds for whatever is waited for


def fleet(
    name: str = "shop",
    *models: Object,
    namespace: str = "team-a",
    **spec: Any,
) -> Object:
    """A Fleet object; without models, one that serves one model."""
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"models": list(models or [model("chat")]), **spec},
    }


def model(name: str, **words: Any) -> Object:
    """A model of the demo weights, on processors."""
    return {"name": name, "source": "builtin:demo", "engine": "llamacpp", **words}


async def plan(effective: Effective) -> Planned:
    """A plan as llama.cpp would get it; what is planned is not what these tests are about."""
    await asyncio.sleep(0)
    assert effective.fleet is not None
    return Planned(
        plan=Plan(
            placements=tuple(
                Placement(
                    model=wished.name,
                    engine="llamacpp",
                    source=str(wished.source),
                    task=wished.task,
                    context=wished.context or 512,
                    parallel=4,
                    threads=1,
                    batch=512,
                    kv_type="f16",
                    weight_bytes=2**20,
                    ledger=Ledger(terms=(Term(name="weights", bytes=2**20),)),
                )
                for wished in effective.fleet.models
            )
        )
    )


@dataclass(kw_only=True)
class Callers:
    """What the gateways' pods say; `silent` ones do not answer."""

    queued: dict[str, int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: int = 0

    async def fetch(self, address: str) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        if address in self.silent:
            raise Failed("does not answer")
        return "".join(
            f'plimsoll_gateway_queued{{model="{name}"}} {count}\n'
            f'plimsoll_gateway_in_flight{{model="{name}"}} 0\n'
            for name, count in self.queued.items()
        )


@dataclass(kw_only=True)
class Cluster:
    """The mocked cluster: its API, its callers, and what is played of its controllers.

    kubelet  whether pods become ready
    """

    api: Api
    callers: Callers = field(default_factory=Callers)
    kubelet: bool = True

    def play(self) -> None:
        """One turn of the controllers of Deployments, StatefulSets and pods."""
        for kind in ("Deployment", "StatefulSet"):
            for one in self.api.objects("apps/v1", kind):
                self._replicas(one)
        owners = {
            one["metadata"]["uid"]
            for kind in ("Deployment", "StatefulSet")
            for one in self.api.objects("apps/v1", kind)
        }
        for pod in self.api.objects("v1", "Pod"):
            reference = pod["metadata"].get("ownerReferences")
            if reference and reference[0]["uid"] not in owners:
                self.api.delete(pod)

    def _replicas(self, owner: Object) -> None:
        meta, wanted = owner["metadata"], owner["spec"].get("replicas", 1)
        pods = self.pods(owner)
        for number in range(len(pods), wanted):
            self._start(owner, number)
        for pod in pods[wanted:]:
            self.api.delete(pod)
        if self.kubelet:
            for pod in self.pods(owner):
                if not (pod.get("status") or {}).get("conditions"):
                    self._ready(pod)
        assert meta["name"]

    def pods(self, owner: Object) -> list[Object]:
        """The pods of a workload, the oldest first."""
        uid = owner["metadata"]["uid"]
        return [
            pod
            for pod in self.api.objects("v1", "Pod", owner["metadata"]["namespace"])
            if any(ref["uid"] == uid for ref in pod["metadata"].get("ownerReferences") or ())
        ]

    def _start(self, owner: Object, number: int) -> None:
        meta, template = owner["metadata"], owner["spec"]["template"]
        reference = {
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"],
            "uid": meta["uid"], "controller": True,
        }  # fmt: skip
        self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "generateName": f"{meta['name']}-{number}-",
                    "namespace": meta["namespace"],
                    "labels": dict(template["metadata"]["labels"]),
                    "ownerReferences": [reference],
                },
                "spec": template["spec"],
            }
        )

    def _ready(self, pod: Object) -> None:
        def change(live: Object) -> None:
            live["status"] = {
                "phase": "Running",
                "podIP": f"10.0.0.{int(live['metadata']['uid'][-6:]) % 250 + 1}",
                "conditions": [{"type": "Ready", "status": "True"}],
            }

        with suppress(Exception):
            self.api.change(pod, change, subresource="status")

    async def until(
        self,
        condition: Callable[[], Any],
        what: str = "",
        *,
        patience: float = PATIENCE,
        every: float = 0.005,
    ) -> None:
        """Play until something holds."""
        ends = time.monotonic() + patience
        while True:
            self.play()
            if condition():
                return
            assert time.monotonic() < ends, what or "it never came to that"
            await asyncio.sleep(every)

    def status(self, namespace: str = "team-a", name: str = "shop") -> Object:
        """The status of a Fleet; empty where there is none."""
        for one in self.api.objects("plimsoll.dev/v1alpha1", "Fleet", namespace):
            if one["metadata"]["name"] == name:
                return one.get("status") or {}
        return {}

    def condition(self, kind: str, namespace: str = "team-a", name: str = "shop") -> Object:
        """One condition of a Fleet; empty where there is none."""
        found = self.status(namespace, name).get("conditions") or ()
        return next((one for one in found if one["type"] == kind), {})

    def is_true(self, kind: str, namespace: str = "team-a", name: str = "shop") -> bool:
        return self.condition(kind, namespace, name).get("status") == "True"

    def deployment(self, name: str, namespace: str = "team-a") -> Object | None:
        for one in self.api.objects("apps/v1", "Deployment", namespace):
            if one["metadata"]["name"] == name:
                return one
        return None

    def replicas(self, name: str, namespace: str = "team-a") -> int | None:
        found = self.deployment(name, namespace)
        return None if found is None else found["spec"].get("replicas")

    def made(self) -> dict[str, Object]:
        """Everything but what comes and goes: pods, events, leases, statuses."""
        found = {}
        for key, one in self.api.everything().items():
            if one["kind"] in ("Pod", "Event", "Lease"):
                continue
            found[key] = {name: value for name, value in one.items() if name != "status"}
        return found

    def gateways(self) -> list[Object]:
        return [
            pod
            for pod in self.api.objects("v1", "Pod")
            if pod["metadata"]["labels"].get(COMPONENT) == GATEWAY_COMPONENT
        ]


@asynccontextmanager
async def cluster(*namespaces: str) -> AsyncIterator[Cluster]:
    """A mocked cluster with some namespaces."""
    async with serving() as api:
        api.namespace(*(namespaces or ("team-a",)))
        yield Cluster(api=api)


def parts(stage: Cluster, *, seed: int = 1, **other: Any) -> Parts:
    """What an operator on the stage is given."""
    around = Surroundings(engines=ENGINES, image=IMAGE, info=other.pop("info", BARE))
    given: dict[str, Any] = {
        "plan": plan,
        "render": lambda site: render(site).manifests,
        "observe": replicas_seen,
        "fetch": stage.callers.fetch,
        "around": lambda: around,
        "clock": time.monotonic,
        "now": time.time,
        "random": random.Random(seed).random,
    }
    return Parts(**{**given, **other})


@asynccontextmanager
async def operating(
    stage: Cluster, settings: Settings = SETTINGS, **other: Any
) -> AsyncIterator[Operator]:
    """An operator that runs meanwhile, and is stopped as by SIGTERM."""
    async with await Kube.connect(url=stage.api.url, patience=QUICK) as kube:
        operator = Operator(kube, settings, parts(stage, **other), OperatorMetrics())
        task = asyncio.create_task(operator.run())
        try:
            yield operator
        finally:
            task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(done, BaseException) and not isinstance(done, asyncio.CancelledError):
            raise done


def named(settings: Settings, identity: str, **words: Any) -> Settings:
    """The same settings for another operator."""
    return replace(settings, identity=identity, **words)


def played(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test whose body is a coroutine, in an event loop of its own."""

    def run() -> None:
        asyncio.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
