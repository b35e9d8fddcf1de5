"""The operator on a mocked API: what it makes, keeps, scales, and takes away."""

from __future__ import annotations

import asyncio
from typing import Any

from plimsoll.errors import DoesNotFit
from plimsoll.worlds.cluster.info import KEDA, ClusterInfo
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.reconcile import DELETE_VOLUMES, FINALIZER
from plimsoll.worlds.cluster.operator.sites import OWNER, Planned
from tests.worlds.cluster.api import Object
from tests.worlds.cluster.operator.stage import (
    Cluster,
    cluster,
    fleet,
    model,
    operating,
    plan,
    played,
)

SCALED: dict[str, Any] = {
    "min": 0, "max": 3, "target": 2, "cooldown": "0s", "stabilization": "0s",
}  # fmt: skip


@played
async def test_a_fleet_becomes_ready() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        status = stage.status()
        assert (status["models"], status["ready"], status["observedGeneration"]) == (1, 1, 1)
        assert status["replicas"]["chat"]["phase"] == "Ready"
        assert stage.is_true("Accepted")
        assert stage.is_true("Applied")
        assert status["gateway"] == "team-a/shop"


@played
async def test_everything_that_is_made_is_in_the_inventory_and_names_its_owner() -> None:
    async with cluster() as stage, operating(stage):
        before = set(stage.made())
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        made = {key: one for key, one in stage.made().items() if key not in before}
        del made["Fleet/team-a/shop"]
        listed = {entry.split(" ", 1)[1].replace(" ", "/") for entry in stage.status()["inventory"]}
        assert listed == set(made)
        assert {one["metadata"]["annotations"][OWNER] for one in made.values()} == {"team-a/shop"}


@played
async def test_a_change_reaches_the_objects_and_what_is_no_longer_wished_goes() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet("shop", model("chat"), model("old")))
        await stage.until(lambda: stage.deployment("shop-old"))

        def change(live: Object) -> None:
            live["spec"]["models"] = [model("chat", context=1024)]

        old = stage.deployment("shop-chat")
        stage.api.change(fleet(), change)
        await stage.until(lambda: stage.deployment("shop-old") is None)
        await stage.until(lambda: stage.status()["observedGeneration"] == 2)
        assert old != stage.deployment("shop-chat")
        assert stage.is_true("Applied")


@played
async def test_nothing_is_written_while_nothing_changes() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        await settled(stage)
        writes = stage.api.writes
        await asyncio.sleep(0.5)
        assert stage.api.writes == writes


@played
async def test_what_somebody_changes_in_a_workload_is_changed_back() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))

        def change(live: Object) -> None:
            live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1

        live = stage.deployment("shop-chat")
        assert live is not None
        stage.api.change(live, change)
        before = live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        await stage.until(lambda: grace(stage) == before)


@played
async def test_a_workload_that_somebody_deletes_is_made_again() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        live = stage.deployment("shop-chat")
        assert live is not None
        stage.api.delete(live)
        await stage.until(lambda: stage.deployment("shop-chat"))


@played
async def test_demand_sets_the_replicas_up_and_down() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet("shop", model("chat", scaling=SCALED)))
        await stage.until(lambda: stage.is_true("Ready") and stage.gateways())
        assert stage.replicas("shop-chat") == 0
        stage.callers.queued = {"chat": 5}
        await stage.until(lambda: stage.replicas("shop-chat") == 3)
        await stage.until(lambda: stage.status()["replicas"]["chat"]["ready"] == 3)
        stage.callers.queued = {"chat": 0}
        await stage.until(lambda: stage.replicas("shop-chat") == 0)


@played
async def test_a_model_that_is_to_start_at_none_never_has_a_replica() -> None:
    async with cluster() as stage, operating(stage):
        numbers = set()
        stage.api.create(fleet("shop", model("chat", scaling=SCALED)))

        def seen() -> bool:
            numbers.add(stage.replicas("shop-chat"))
            return stage.is_true("Ready")

        await stage.until(seen)
        assert numbers <= {None, 0}
        assert not [pod for pod in stage.api.objects("v1", "Pod") if "chat" in str(pod["metadata"])]


@played
async def test_nobody_is_scaled_down_while_the_gateway_is_silent() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet("shop", model("chat", scaling=SCALED)))
        await stage.until(stage.gateways)
        stage.callers.queued = {"chat": 5}
        await stage.until(lambda: stage.replicas("shop-chat") == 3)
        pod = stage.gateways()[0]
        stage.callers.silent.add(f"http://{pod['status']['podIP']}:8080")
        stage.callers.queued = {"chat": 0}
        await stage.until(lambda: stage.is_true("Degraded"))
        assert stage.condition("Degraded")["reason"] == "GatewaySilent"
        asked = stage.callers.asked
        await stage.until(lambda: stage.callers.asked > asked + 5)
        assert stage.replicas("shop-chat") == 3
        stage.callers.silent.clear()
        await stage.until(lambda: stage.replicas("shop-chat") == 0)


@played
async def test_replicas_that_keda_owns_are_never_written() -> None:
    info = ClusterInfo(kubernetes="1.34", apis=(KEDA,))
    keda = model("chat", scaling={**SCALED, "driver": "keda"})
    gateway = {"monitoring": {"prometheus": "http://prometheus.monitoring:9090"}}
    async with cluster() as stage, operating(stage, info=info):
        stage.api.create(fleet("shop", keda, gateway=gateway))
        await stage.until(lambda: stage.is_true("Applied"))
        assert stage.api.objects("keda.sh/v1alpha1", "ScaledObject")
        live = stage.deployment("shop-chat")
        assert live is not None

        def change(live: Object) -> None:
            live["spec"]["replicas"] = 2

        stage.api.change(live, change, manager="keda-operator")
        stage.callers.queued = {"chat": 9}
        await stage.until(lambda: stage.status()["replicas"]["chat"]["wanted"] == 2)
        stage.api.change(fleet(), lambda one: one["spec"]["models"][0].update(context=1024))
        await stage.until(lambda: stage.status()["observedGeneration"] == 2)
        await settled(stage)
        assert stage.replicas("shop-chat") == 2
        assert not [request for request in stage.api.requests if "/scale?" in request]


@played
async def test_a_change_of_driver_does_not_reset_the_replicas() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet("shop", model("chat", scaling={"min": 3, "max": 3})))
        await stage.until(lambda: stage.replicas("shop-chat") == 3)
        numbers = set()

        def change(live: Object) -> None:
            live["spec"]["models"][0]["scaling"] = {"min": 2, "max": 4, "stabilization": "1h"}

        def seen() -> bool:
            numbers.add(stage.replicas("shop-chat"))
            return stage.status().get("observedGeneration") == 2

        stage.api.change(fleet(), change)
        await stage.until(seen)
        assert numbers == {3}


@played
async def test_a_deleted_fleet_leaves_nothing() -> None:
    async with cluster() as stage:
        meta = {"name": "theirs", "namespace": "team-a"}
        stage.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
        before = stage.made()
        async with operating(stage):
            stage.api.create(fleet())
            await stage.until(lambda: stage.is_true("Ready"))
            stage.api.delete(fleet())
            await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))
        assert stage.made() == before


@played
async def test_the_gateway_goes_after_the_engines_streams() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        engine = next(p for p in stage.api.objects("v1", "Pod") if p not in stage.gateways())
        hold = {"finalizers": ["test/streams"]}
        stage.api.change(engine, lambda live: live["metadata"].update(hold))
        stage.api.delete(fleet())
        await stage.until(lambda: stage.deployment("shop-chat") is None)
        await stage.until(lambda: "being deleted" in stage.condition("Ready").get("message", ""))
        assert stage.deployment("shop-gateway") is not None
        assert stage.gateways()
        stage.api.change(engine, lambda live: live["metadata"].update(finalizers=[]))
        await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))
        assert stage.deployment("shop-gateway") is None


@played
async def test_volumes_stay_unless_the_fleet_says_otherwise() -> None:
    volume = model(
        "chat", storage={"strategy": "volume", "size": "1Gi", "accessMode": "ReadWriteMany"}
    )
    for marks, left in (({}, 1), ({DELETE_VOLUMES: "true"}, 0)):
        async with cluster() as stage, operating(stage):
            wish = fleet("shop", volume)
            wish["metadata"]["annotations"] = marks
            stage.api.create(wish)
            await stage.until(lambda: stage.is_true("Applied"))
            claims = stage.api.objects("v1", "PersistentVolumeClaim")
            assert len(claims) == 1
            stage.api.delete(wish)
            await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))
            assert len(stage.api.objects("v1", "PersistentVolumeClaim")) == left
            told = [one["reason"] for one in stage.api.objects("events.k8s.io/v1", "Event")]
            assert ("Kept" in told) == bool(left)


@played
async def test_what_is_somebody_elses_is_not_touched_and_nothing_is_half_applied() -> None:
    async with cluster() as stage, operating(stage):
        theirs = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "shop-chat", "namespace": "team-a"},
            "spec": {"replicas": 0, "selector": {}, "template": {"metadata": {"labels": {}}}},
        }
        stage.api.create(theirs)
        before = stage.made()
        stage.api.create(fleet())
        await stage.until(lambda: stage.condition("Applied").get("status") == "False")
        assert stage.condition("Applied")["reason"] == "OperatorTaken"
        assert "Deployment shop-chat" in stage.condition("Applied")["message"]
        after = stage.made()
        del after["Fleet/team-a/shop"]
        assert after == before
        stage.api.delete(theirs)
        await stage.until(lambda: stage.is_true("Ready"))


@played
async def test_a_broken_fleet_beside_good_ones_harms_only_itself() -> None:
    async with cluster("team-a", "team-b") as stage, operating(stage):
        stage.api.create(fleet("bad", model("chat", source="nowhere"), namespace="team-b"))
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        told = stage.condition("Accepted", "team-b", "bad")
        assert told["status"] == "False"
        assert "spec.models[0].source" in told["message"]
        assert FINALIZER in stage.api.objects("plimsoll.dev/v1alpha1", "Fleet", "team-b")[0][
            "metadata"
        ].get("finalizers", [])


@played
async def test_a_fleet_that_breaks_keeps_running_as_it_was() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet("shop", model("chat", scaling=SCALED)))
        await stage.until(lambda: stage.gateways() and stage.is_true("Ready"))
        before = stage.deployment("shop-chat")
        stage.api.change(fleet(), lambda one: one["spec"]["models"][0].update(source="nowhere"))
        await stage.until(lambda: stage.condition("Accepted").get("status") == "False")
        assert stage.deployment("shop-chat") == before
        stage.callers.queued = {"chat": 3}
        await stage.until(lambda: stage.replicas("shop-chat") == 2)


@played
async def test_a_fleet_that_fits_nowhere_says_so_and_keeps_what_runs() -> None:
    async def small(effective: Effective) -> Planned:
        assert effective.fleet is not None
        if effective.fleet.models[0].context == 4096:
            raise DoesNotFit("needs 80 GiB, there are 24", where="model chat")
        return await plan(effective)

    async with cluster() as stage, operating(stage, plan=small):
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        before = stage.made()
        stage.api.change(fleet(), lambda one: one["spec"]["models"][0].update(context=4096))
        await stage.until(lambda: stage.condition("Planned").get("status") == "False")
        assert stage.condition("Planned")["reason"] == "DoesNotFit"
        assert stage.is_true("Ready")
        after = stage.made()
        del before["Fleet/team-a/shop"], after["Fleet/team-a/shop"]
        assert after == before


@played
async def test_fleets_of_several_namespaces_share_the_oldest_gateway() -> None:
    async with cluster("platform", "team-a", "team-b") as stage, operating(stage):
        door = fleet("base", namespace="platform", gateway={})
        door["spec"]["models"] = []
        stage.api.create(door)
        stage.api.create(fleet("shop", model("chat"), namespace="team-a"))
        stage.api.create(fleet("desk", model("mail"), namespace="team-b"))
        for namespace, name in (("team-a", "shop"), ("team-b", "desk")):
            await stage.until(
                lambda n=namespace, f=name: stage.is_true("Ready", n, f)  # type: ignore[misc]
            )
            assert stage.status(namespace, name)["gateway"] == "platform/base"
        await stage.until(lambda: "mail" in served(stage) and "chat" in served(stage))
        gateways = [
            one["metadata"]["namespace"]
            for one in stage.api.objects("apps/v1", "Deployment")
            if "gateway" in one["metadata"]["name"]
        ]
        assert gateways == ["platform"]


@played
async def test_events_tell_each_change_once() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        await settled(stage)
        told = [
            (one["reason"], one["note"]) for one in stage.api.objects("events.k8s.io/v1", "Event")
        ]
        assert len(told) == len(set(told))
        assert "Ready" in {reason for reason, _ in told}


def served(stage: Cluster) -> str:
    """What the platform's gateway is told."""
    for one in stage.api.objects("v1", "ConfigMap", "platform"):
        if one["metadata"]["name"] == "base-gateway-fleet":
            return str(one["data"])
    return ""


def grace(stage: Cluster) -> int | None:
    live = stage.deployment("shop-chat")
    return live and live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


async def settled(stage: Cluster) -> None:
    """Wait until nothing was written for a while."""
    writes = -1
    while writes != stage.api.writes:
        writes = stage.api.writes
        stage.play()
        await asyncio.sleep(0.15)


@played
async def test_a_fleet_that_cannot_be_helped_is_not_looked_at_over_and_over() -> None:
    async with cluster() as stage, operating(stage) as operator:
        stage.api.create(fleet("shop", model("chat", source="nowhere")))
        await stage.until(lambda: stage.condition("Accepted").get("status") == "False")
        await settled(stage)
        passes = operator.metrics.reconciles.labels("same")._value.get()
        await asyncio.sleep(1.5)
        assert operator.metrics.reconciles.labels("same")._value.get() == passes
