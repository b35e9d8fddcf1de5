"""The Lease: whose it is does not depend on anybody's wall clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.operator.election import Election, Terms
from plimsoll.worlds.cluster.operator.fence import Fenced, NotLeading
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from tests.worlds.cluster.api import Api, serving
from tests.worlds.cluster.operator.stage import QUICK, fleet, played

TERMS = Terms(duration=15.0, deadline=10.0, retry=0.001)


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def candidate(kube: Kube, name: str, clock: Clock, *, wall: float = 0.0) -> Election:
    return Election(
        kube, name="lease", namespace="default", identity=name, terms=TERMS, clock=clock,
        wall=lambda: wall,
    )  # fmt: skip


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[Api, Kube]]:
    async with serving() as api, await Kube.connect(url=api.url, patience=QUICK) as kube:
        yield api, kube


async def wins(election: Election) -> bool:
    """Whether it gets the Lease within some looks."""
    try:
        async with asyncio.timeout(0.15):
            await election.acquired()
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("wall", [0.0, 1e9, 9e9], ids=["1970", "2001", "2255"])
def test_a_held_lease_is_left_alone_whatever_the_holders_clock_says(wall: float) -> None:
    @played
    async def scene() -> None:
        async with cluster() as (_, kube):
            assert await wins(candidate(kube, "one", Clock(0), wall=wall))
            assert not await wins(candidate(kube, "two", Clock(1e6), wall=5e9))

    scene()


@played
async def test_a_lease_that_did_not_change_for_its_duration_is_taken() -> None:
    async with cluster() as (_, kube):
        assert await wins(candidate(kube, "one", Clock(0)))
        clock = Clock(1e6)
        two = candidate(kube, "two", clock)
        assert not await wins(two)
        clock.now += TERMS.duration - 0.1
        assert not await wins(two)
        clock.now += 0.2
        assert await wins(two)


@played
async def test_a_holder_stops_before_another_may_begin() -> None:
    async with cluster() as (_, kube):
        clock = Clock(0)
        one = candidate(kube, "one", clock)
        assert await wins(one)
        assert one.left == TERMS.deadline
        clock.now = TERMS.deadline
        assert one.left <= 0
        assert TERMS.deadline < TERMS.duration


@played
async def test_nothing_is_written_without_the_lease() -> None:
    async with cluster() as (api, kube):
        clock = Clock(0)
        one = candidate(kube, "one", clock)
        fenced = Fenced(kube, left=lambda: one.left, metrics=OperatorMetrics())
        writes = api.writes
        with pytest.raises(NotLeading):
            await fenced.apply(fleet(namespace="default"))
        assert api.writes == writes
        assert await wins(one)
        await fenced.apply(fleet(namespace="default"))
        clock.now = TERMS.deadline
        with pytest.raises(NotLeading):
            await fenced.apply(fleet("another", namespace="default"))


@played
async def test_a_lease_that_is_given_back_is_free_at_once() -> None:
    async with cluster() as (_, kube):
        one = candidate(kube, "one", Clock(0))
        assert await wins(one)
        await one.release()
        assert one.left <= 0
        assert await wins(candidate(kube, "two", Clock(0)))


@played
async def test_nobody_gives_back_what_another_holds() -> None:
    async with cluster() as (api, kube):
        one = candidate(kube, "one", Clock(0))
        assert await wins(one)
        lease = api.objects("coordination.k8s.io/v1", "Lease")[0]
        api.change(lease, lambda live: live["spec"].update(holderIdentity="two"))
        await one.release()
        assert api.objects("coordination.k8s.io/v1", "Lease")[0]["spec"]["holderIdentity"] == "two"
