"""An operator that starts anew beside what people and earlier ones have left."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.worlds.cluster.operator.demand import gateway_pods
from tests.worlds.cluster.api import Fault, Object
from tests.worlds.cluster.operator.stage import Cluster, cluster, fleet, model, operating, played

FRONT = fleet("front", model("mail"), namespace="team-a", gateway={"replicas": 2})
SHOP = fleet("shop", model("chat"), namespace="team-b")


def of_gateway(stage: Cluster) -> dict[str, Object]:
    """Everything that belongs to a gateway, in every namespace."""
    return {key: one for key, one in stage.made().items() if "gateway" in key}


def observed_all(stage: Cluster) -> bool:
    """Whether the status of Fleet `shop` is about what it says now."""
    (live,) = stage.api.objects("plimsoll.dev/v1alpha1", "Fleet", "team-b")
    return bool(live["status"]["observedGeneration"] == live["metadata"]["generation"])


@played
async def test_a_fleet_that_was_broken_meanwhile_keeps_everything_until_it_is_repaired() -> None:
    def broken(live: Object) -> None:
        live["spec"]["models"][0]["sauce"] = "typing error"

    def repaired(live: Object) -> None:
        del live["spec"]["models"][0]["sauce"]

    async with cluster("team-a", "team-b") as stage:
        async with operating(stage):
            stage.api.create(FRONT)
            stage.api.create(SHOP)
            await stage.until(lambda: stage.is_true("Ready", "team-a", "front"))
            await stage.until(lambda: stage.is_true("Ready", "team-b", "shop"))
        stage.api.change(FRONT, broken)
        before = of_gateway(stage)
        for number in range(2):  # the second operator finds what the first told
            async with operating(stage):
                more = model(f"more-{number}")
                stage.api.change(SHOP, lambda live, more=more: live["spec"]["models"].append(more))
                await stage.until(
                    lambda: observed_all(stage) and stage.is_true("Applied", "team-b")
                )
                await stage.until(
                    lambda: stage.condition("Accepted", "team-a", "front").get("status") == "False"
                )
            assert of_gateway(stage) == before
            assert stage.status("team-b", "shop")["gateway"] == "team-a/front"
        stage.api.change(FRONT, repaired)
        async with operating(stage):
            await stage.until(lambda: stage.is_true("Accepted", "team-a", "front"))
            await stage.until(lambda: stage.is_true("Ready", "team-a", "front"))


@pytest.mark.parametrize(
    "status",
    [
        {"replicas": "x", "memory": [1], "inventory": "y", "gateway": 7},
        {"replicas": {"chat": 1}, "memory": {"chat": "z"}, "inventory": [1, {}]},
        {"memory": {"chat": {"failures": "many"}}, "inventory": ["v1 ConfigMap"]},
    ],
)
def test_a_status_that_somebody_edited_is_written_anew(status: dict[str, Any]) -> None:
    @played
    async def play() -> None:
        async with cluster() as stage:
            async with operating(stage):
                stage.api.create(fleet())
                await stage.until(lambda: stage.is_true("Ready"))
            whole = stage.status()
            stage.api.change(fleet(), lambda one: one.update(status=status), subresource="status")
            async with operating(stage):
                await stage.until(lambda: stage.is_true("Ready"))
                await stage.until(lambda: stage.status()["inventory"] == whole["inventory"])
                assert stage.status()["replicas"].keys() == {"chat"}
                stage.api.delete(fleet())
                await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))

    play()


@played
async def test_what_could_not_be_written_down_is_written_before_it_is_made() -> None:
    async with cluster() as stage:
        lost = Fault(match="PATCH .*/fleets/shop/status", times=None, status=403)
        stage.api.faults.append(lost)
        before = set(stage.made())
        async with operating(stage):
            stage.api.create(fleet())
            await stage.until(lambda: lost.hits >= 3)
            assert set(stage.made()) - before == {"Fleet/team-a/shop"}
            stage.api.faults.remove(lost)
            await stage.until(lambda: stage.is_true("Ready"))


def test_a_pod_that_claims_to_be_a_gateway_and_names_no_port_is_asked_at_the_usual_one() -> None:
    probe = {"httpGet": {"port": "nowhere"}}
    pod = {
        "metadata": {"name": "a", "uid": "a"},
        "spec": {"containers": [{"name": "x", "readinessProbe": probe}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }
    assert [one.address for one in gateway_pods([pod])] == ["http://10.0.0.1:8080"]
