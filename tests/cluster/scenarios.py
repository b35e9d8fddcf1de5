"""What an operator does in a cluster, told once, for the mocked API server and for real ones.

Each takes an arena and uses only the API. Where an arena has no scheduler or no evictions, a
scenario ends before them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from plimsoll.engines import ENGINES
from plimsoll.fleet import Document, load_fleet
from plimsoll.worlds.cluster.apply import apply_all, plan_changes
from plimsoll.worlds.cluster.changes import Scope
from plimsoll.worlds.cluster.errors import MissingApi
from plimsoll.worlds.cluster.info import ClusterInfo
from plimsoll.worlds.cluster.objects.render import render
from plimsoll.worlds.cluster.objects.site import Site
from plimsoll.worlds.cluster.operator.election import Terms
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.kinds import MADE
from plimsoll.worlds.cluster.operator.reading import FleetKey
from tests.cluster.arena import FLEETS, IMAGE, Arena, Object, plan

Scenario = Callable[[Arena], Awaitable[None]]
SCALING = {"min": 1, "max": 3, "target": 2, "stabilization": "0s", "cooldown": "0s"}


async def created_it_becomes_ready(arena: Arena) -> None:
    """From a Fleet to a ready replica, and a status that says so."""
    await arena.add_node("cpu")
    async with arena.operating():
        await arena.create({"models": [arena.model("chat")], "pools": [arena.pool()]})
        await arena.until(lambda: arena.is_true("Ready"), "the Fleet is Ready")
        status = await arena.status()
        assert (status["models"], status["ready"]) == (1, 1)
        assert await arena.ready_pods("chat")
        assert await arena.is_true("Applied")


async def a_gpu_request_is_scheduled_onto_the_gpu_node(arena: Arena) -> None:
    """The planned accelerator is asked for, and the pod gets to the node that has it."""
    await arena.add_node("cpu")
    node = await arena.add_node("gpu", **{"nvidia.com/gpu": "1"})
    wish = {
        "name": "mistral-7b", "source": "hf://mistralai/Mistral-7B-Instruct-v0.3", "context": 4096,
        "traffic": {"requestsPerSecond": 0.2, "promptTokens": 600, "outputTokens": 150},
    }  # fmt: skip
    pool = arena.pool(accelerator="T4", perNode=1, nodes={"min": 1, "max": 1})
    async with arena.operating():
        await arena.create({"models": [wish], "pools": [pool]})
        pods = await arena.until(lambda: arena.pods("mistral-7b"), "a pod of the model")
        engine = next(one for one in pods[0]["spec"]["containers"] if one["name"] == "engine")
        assert engine["resources"]["limits"]["nvidia.com/gpu"] == "1"
        if not arena.real:
            return
        await arena.until(lambda: arena.ready_pods("mistral-7b"), "it is ready")
        placed = await arena.ready_pods("mistral-7b")
        assert [pod["spec"]["nodeName"] for pod in placed] == [node]


async def a_change_rolls_out(arena: Arena) -> None:
    """Another context: every replica is replaced, and the Fleet is ready again."""
    await arena.add_node("cpu")
    async with arena.operating():
        await arena.create({"models": [arena.model("chat")], "pools": [arena.pool()]})
        await arena.until(lambda: arena.is_true("Ready"), "the Fleet is Ready")
        before = {pod["metadata"]["uid"] for pod in await arena.pods("chat")}
        live = await arena.get("apps/v1", "Deployment", "shop-chat")
        await arena.change(lambda spec: spec["models"][0].update(context=1024))

        async def changed() -> bool:
            now = await arena.get("apps/v1", "Deployment", "shop-chat")
            return bool(now["spec"]["template"] != live["spec"]["template"])

        await arena.until(changed, "the Deployment has the new template")
        if not arena.real:
            return

        async def replaced() -> bool:
            ready = {pod["metadata"]["uid"] for pod in await arena.ready_pods("chat")}
            every = {pod["metadata"]["uid"] for pod in await arena.pods("chat")}
            return bool(ready) and not every & before

        await arena.until(replaced, "every replica is a new one")
        await arena.until(lambda: arena.is_true("Ready"), "the Fleet is Ready again")


async def demand_scales(arena: Arena) -> None:
    """Waiting requests bring replicas, and none take them away again."""
    await arena.add_node("cpu")
    async with arena.operating():
        chat = arena.model("chat", scaling=SCALING)
        await arena.create({"models": [chat], "pools": [arena.pool()]})
        await arena.until(lambda: arena.is_true("Ready"), "the Fleet is Ready")
        await arena.gateway_pod()
        arena.callers.queued = {"chat": 5}
        await arena.until(lambda: _ready(arena, 3), "three replicas")
        arena.callers.queued = {"chat": 0}
        await arena.until(lambda: _ready(arena, 1), "one replica")


async def a_drain_respects_the_budget_and_the_streams(arena: Arena) -> None:
    """Of two replicas one may be evicted, the other only when a new one is ready."""
    await arena.add_node("cpu")
    async with arena.operating():
        chat = arena.model("chat", scaling={"min": 2, "max": 2})
        await arena.create({"models": [chat], "pools": [arena.pool()]})
        await arena.until(lambda: _ready(arena, 2), "two replicas")
        pods = await arena.ready_pods("chat")
        for pod in pods:
            engine = next(one for one in pod["spec"]["containers"] if one["name"] == "engine")
            assert engine["lifecycle"]["preStop"]
            assert pod["spec"]["terminationGracePeriodSeconds"] > 600, "the longest stream"
        budget = await arena.get("policy/v1", "PodDisruptionBudget", "shop-chat")
        assert budget["spec"]["selector"]["matchLabels"]["plimsoll.dev/model"] == "chat"
        if not arena.real:
            return
        await arena.until(lambda: _allows(arena, 1), "the budget knows its pods")
        if not {pod["metadata"]["uid"] for pod in pods} <= arena.kubelet.played:
            return  # whoever makes pods ready here does not wait for us
        arena.kubelet.readying = False
        await arena.until(lambda: arena.evict(pods[0]), "one may be evicted")
        await arena.until(lambda: _allows(arena, 0), "the budget is used up")
        assert not await arena.evict(pods[1])
        arena.kubelet.readying = True
        await arena.until(lambda: _ready(arena, 2), "two replicas again")


async def apply_diff_and_prune_by_hand(arena: Arena) -> None:
    """Without an operator: what `apply` sends is what `diff` says, and what goes is pruned."""
    space = arena.namespaces[0]

    async def manifests(*models: Object) -> tuple[Any, ...]:
        spec = {"models": list(models), "pools": [arena.pool()]}
        body: Object = {
            "apiVersion": FLEETS[0],
            "kind": FLEETS[1],
            "metadata": {"name": "hand", "namespace": space},
            "spec": spec,
        }
        fleet = load_fleet([Document(file="hand", text=str(body).replace("'", '"'))])
        planned = await plan(Effective(key=FleetKey(space, "hand"), fleet=fleet))
        site = Site(
            fleet=fleet, plan=planned.plan, engines=ENGINES, namespace=space, image=IMAGE,
            info=ClusterInfo(),
        )  # fmt: skip
        return render(site).manifests

    scope = Scope(fleet="hand", namespace=space)
    both = await manifests(arena.model("chat"), arena.model("mail"))
    await apply_all(arena.kube, both, scope)

    async def settled() -> bool:
        return (await plan_changes(arena.kube, both, scope)).empty

    await arena.until(settled, "nothing would change")
    one = await manifests(arena.model("chat"))
    changes = await plan_changes(arena.kube, one, scope)
    assert {"hand-mail"} <= {change.key.name for change in changes.of("delete")}
    await apply_all(arena.kube, one, scope)
    assert not await arena.get("apps/v1", "Deployment", "hand-mail")
    assert await arena.get("apps/v1", "Deployment", "hand-chat")
    await apply_all(arena.kube, (), scope)
    await arena.until(lambda: _nothing(arena, "hand"), "nothing is left")


async def deleted_it_leaves_nothing(arena: Arena) -> None:
    """Engines, gateway, settings and the Fleet itself go; what is others' stays."""
    await arena.add_node("cpu")
    theirs = {"name": "theirs", "namespace": arena.namespaces[0]}
    await arena.kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": theirs})
    async with arena.operating():
        elsewhere = arena.model("mail", namespace=arena.namespaces[1])
        await arena.create({"models": [arena.model("chat"), elsewhere], "pools": [arena.pool()]})
        await arena.until(lambda: arena.is_true("Ready"), "the Fleet is Ready")
        await arena.kube.delete(*FLEETS, "shop", arena.namespaces[0])
        await arena.until(lambda: _without(arena), "the Fleet is gone")
        await arena.until(lambda: _nothing(arena, "shop"), "nothing is left")
        assert await arena.get("v1", "ConfigMap", "theirs")


async def of_two_operators_one_acts_and_the_other_takes_over(arena: Arena) -> None:
    """The Lease decides; who stops gives it back."""
    terms = Terms(duration=30.0, deadline=20.0, retry=0.5)
    await arena.add_node("cpu")
    async with arena.operating(identity="two", terms=terms) as second:
        async with arena.operating(identity="one", terms=terms) as first:
            await arena.until(lambda: _any(first.leading or second.leading), "one leads")
            await arena.create({"models": [arena.model("chat")], "pools": [arena.pool()]})
            await arena.until(lambda: arena.is_true("Ready"), "the Fleet is Ready")
            assert first.leading != second.leading
        await arena.until(lambda: _any(second.leading), "the other one leads")
        await arena.change(lambda spec: spec["models"].append(arena.model("mail")))
        await arena.until(lambda: arena.ready_pods("mail"), "it acts")


SCENARIOS: tuple[Scenario, ...] = (
    created_it_becomes_ready,
    a_gpu_request_is_scheduled_onto_the_gpu_node,
    a_change_rolls_out,
    demand_scales,
    a_drain_respects_the_budget_and_the_streams,
    apply_diff_and_prune_by_hand,
    deleted_it_leaves_nothing,
    of_two_operators_one_acts_and_the_other_takes_over,
)


async def _any(found: bool) -> bool:
    await asyncio.sleep(0)
    return found


async def _ready(arena: Arena, count: int) -> bool:
    pods = await arena.pods("chat")
    ready = await arena.ready_pods("chat")
    return len(pods) == len(ready) == count


async def _allows(arena: Arena, disruptions: int) -> bool:
    budget = await arena.get("policy/v1", "PodDisruptionBudget", "shop-chat")
    status = budget.get("status") or {}
    return status.get("expectedPods") == 2 and status.get("disruptionsAllowed") == disruptions


async def _without(arena: Arena) -> bool:
    return not await arena.get(*FLEETS, "shop")


async def _nothing(arena: Arena, fleet: str) -> bool:
    """Whether no object of any kind is marked as the Fleet's."""
    labels = f"plimsoll.dev/fleet={fleet}"
    for api_version, kind in (*MADE, ("v1", "Pod")):
        for space in arena.namespaces:
            try:
                if not (await arena.kube.resource(api_version, kind)).namespaced:
                    continue  # another fleet of that name may have some
                found = await arena.kube.list(api_version, kind, namespace=space, labels=labels)
            except MissingApi:
                continue
            if found.items:
                return False
    return True
