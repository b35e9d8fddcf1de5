"""The operator when the API is away, slow, conflicting or forgetful, and beside another one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from plimsoll.worlds.cluster.operator.election import Terms
from plimsoll.worlds.cluster.operator.parts import LEASE
from tests.worlds.cluster.api import Fault
from tests.worlds.cluster.operator.stage import (
    SETTINGS,
    Cluster,
    cluster,
    fleet,
    model,
    named,
    operating,
    played,
)


@played
async def test_an_api_that_is_away_for_a_while_is_waited_for() -> None:
    async with cluster() as stage, operating(stage):
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        await stage.api.stop()
        await asyncio.sleep(0.5)
        stage.api.change(fleet(), lambda one: one["spec"]["models"].append(model("second")))
        await stage.api.start()
        await stage.until(lambda: stage.deployment("shop-second"))
        await stage.until(lambda: stage.status().get("ready") == 2)


@played
async def test_an_operator_that_starts_without_an_api_waits_for_it() -> None:
    async with cluster() as stage:
        stage.api.create(fleet())
        await stage.api.stop()
        async with operating(stage) as operator:
            await asyncio.sleep(0.3)
            assert not operator.synced
            await stage.api.start()
            await stage.until(lambda: stage.is_true("Ready"))


@played
async def test_a_lost_watch_misses_nothing() -> None:
    async with cluster() as stage, operating(stage):
        for number in range(5):
            stage.api.create(fleet(f"shop-{number}"))
            stage.api.drop_watches()
        for number in range(5):
            await stage.until(lambda n=number: stage.is_true("Ready", name=f"shop-{n}"))  # type: ignore[misc]


@played
async def test_an_expired_watch_lists_again() -> None:
    async with cluster() as stage, operating(stage) as operator:
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))
        stage.api.drop_watches()
        stage.api.create(fleet("late"))
        stage.api.expire()
        await stage.until(lambda: stage.is_true("Ready", name="late"))
        restarts = operator.metrics.watch_restarts.labels("Fleet")
        assert restarts._value.get() >= 1


@played
async def test_a_fleet_that_is_deleted_while_nobody_watches_is_taken_away() -> None:
    async with cluster() as stage:
        before = stage.made()
        async with operating(stage):
            stage.api.create(fleet())
            await stage.until(lambda: stage.is_true("Ready"))
        stage.api.delete(fleet())
        assert stage.api.objects("plimsoll.dev/v1alpha1", "Fleet")
        async with operating(stage):
            await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))
        assert stage.made() == before


@played
async def test_an_operator_goes_on_where_the_last_was_cut_off() -> None:
    async with cluster() as stage:
        stage.api.create(fleet("shop", model("chat"), model("mail")))
        async with operating(stage):
            await stage.until(lambda: stage.is_true("Ready"))
            whole = stage.made()
        stage.api.delete(fleet())
        async with operating(stage):
            await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))
        for cut in (3, 7, 12):
            stage.api.create(fleet("shop", model("chat"), model("mail")))
            stage.api.lose_after(cut)
            async with operating(stage):
                await asyncio.sleep(0.3)
            stage.api.heal()
            async with operating(stage):
                await stage.until(lambda: stage.is_true("Ready"))
                assert stage.made() == whole
                stage.api.delete(fleet())
                await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))


@played
async def test_a_status_that_lost_its_inventory_is_found_again_by_label() -> None:
    async with cluster() as stage:
        before = stage.made()
        async with operating(stage):
            stage.api.create(fleet())
            await stage.until(lambda: stage.is_true("Ready"))
        stage.api.change(fleet(), lambda one: one.update(status={}), subresource="status")
        stage.api.delete(fleet())
        async with operating(stage):
            await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))
        assert stage.made() == before


@played
async def test_errors_of_every_kind_are_tried_again() -> None:
    async with cluster() as stage, operating(stage):
        for status in (409, 429, 500, 503):
            stage.api.faults.append(Fault(match="^(PATCH|PUT)", status=status, times=4))
        stage.api.faults.append(Fault(match="^PATCH", drop=True, after=True, times=4))
        stage.api.faults.append(Fault(match="^PATCH", delay=0.2, times=4))
        stage.api.create(fleet())
        await stage.until(lambda: stage.is_true("Ready"))


@played
async def test_one_forbidden_kind_is_told_and_harms_no_other_fleet() -> None:
    async with cluster("team-a", "team-b") as stage, operating(stage):
        stage.api.deny("patch", "poddisruptionbudgets")
        stage.api.create(fleet())
        await stage.until(lambda: stage.condition("Applied").get("status") == "False")
        assert stage.condition("Applied")["reason"] == "ClusterForbidden"
        stage.api.server.denied.clear()
        await stage.until(lambda: stage.is_true("Ready"))


@played
async def test_of_two_operators_exactly_one_acts() -> None:
    async with cluster() as stage, AsyncExitStack() as stack:
        operators = [
            await stack.enter_async_context(
                operating(stage, named(SETTINGS, f"operator-{number}", elect=True))
            )
            for number in range(2)
        ]
        stage.api.create(fleet())
        together: list[int] = []

        def seen() -> bool:
            together.append(sum(operator.leading for operator in operators))
            return stage.is_true("Ready")

        await stage.until(seen)
        assert max(together) == 1
        assert sum(operator.leading for operator in operators) == 1


@played
async def test_when_the_leader_stops_the_other_takes_over_at_once() -> None:
    slow = Terms(duration=60.0, deadline=40.0, retry=0.05)
    async with cluster() as stage:
        first = operating(stage, named(SETTINGS, "operator-0", elect=True, terms=slow))
        second = operating(stage, named(SETTINGS, "operator-1", elect=True, terms=slow))
        async with AsyncExitStack() as stack:
            async with first as one:
                await stage.until(lambda: one.leading)
                two = await stack.enter_async_context(second)
                await asyncio.sleep(0.2)
                assert not two.leading
            await stage.until(lambda: two.leading, "the Lease was given back")
            assert holder(stage) == "operator-1"


@played
async def test_a_leader_that_cannot_renew_stops_acting_before_another_begins() -> None:
    async with cluster() as stage, AsyncExitStack() as stack:
        one = await stack.enter_async_context(
            operating(stage, named(SETTINGS, "operator-0", elect=True))
        )
        await stage.until(lambda: one.leading)

        def steal(lease: dict[str, dict[str, object]]) -> None:
            lease["spec"]["holderIdentity"] = "somebody-else"

        lease = stage.api.objects("coordination.k8s.io/v1", "Lease")[0]
        stage.api.change(lease, steal)
        await stage.until(lambda: not one.leading)
        assert one.metrics.leader._value.get() == 0
        # Nobody renews it in that name, so it runs out.
        await stage.until(lambda: one.leading)


@pytest.mark.slow
@played
async def test_five_hundred_fleets_become_ready() -> None:
    async with cluster() as stage:
        for number in range(500):
            door = {} if number else {"gateway": {}}
            stage.api.create(fleet(f"f{number}", model(f"m{number}"), **door))
        async with operating(stage):

            def ready() -> int:
                return sum(
                    (one.get("status") or {}).get("ready") == 1
                    for one in stage.api.objects("plimsoll.dev/v1alpha1", "Fleet")
                )

            await stage.until(lambda: ready() == 500, patience=200, every=0.5)


def holder(stage: Cluster) -> str:
    lease = next(
        one
        for one in stage.api.objects("coordination.k8s.io/v1", "Lease")
        if one["metadata"]["name"] == LEASE
    )
    return str(lease["spec"]["holderIdentity"])
