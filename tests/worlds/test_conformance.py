"""What every world promises; a new world is one line in WORLDS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil
import pytest

from plimsoll.policy.snapshot import ReplicaState, StartReplica, StopReplica
from plimsoll.worlds.local import LocalModel
from tests.worlds.local.harness import Stage, engines_of, placement, staged, until

# A stage offers the models `tiny` (starts) and `broken` (cannot start).
Open = Callable[[], AbstractAsyncContextManager[Stage]]


def _local(folder: Path, weights: Path, broken: Path) -> Open:
    models = (
        LocalModel(placement=placement(), weights=weights),
        LocalModel(placement=placement("broken"), weights=broken),
    )
    return lambda: staged(folder, models, drain_seconds=0.5)


def _kill_a_local_replica() -> None:
    leaders = [child for child in engines_of() if "llama_server.py" in " ".join(child.cmdline())]
    psutil.Process(leaders[0].pid).kill()


WORLDS = {"local": (_local, _kill_a_local_replica)}


@pytest.fixture(params=WORLDS)
def world(
    request: pytest.FixtureRequest, tmp_path: Path, weights: Path, unknown_architecture: Path
) -> tuple[Open, Callable[[], None]]:
    build, kill = WORLDS[request.param]
    return build(tmp_path, weights, unknown_architecture), kill


@pytest.fixture
def opened(world: tuple[Open, Callable[[], None]]) -> Open:
    return world[0]


def act(opened: Open, scene: Callable[[Stage], Awaitable[None]]) -> None:
    """Open the world, play the scene, close the world."""

    async def play() -> None:
        async with opened() as stage:
            await scene(stage)

    asyncio.run(play())


def test_a_model_without_replicas_is_seen_with_none(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.world.observe() == {"tiny": (), "broken": ()}

    act(opened, scene)


def test_a_start_is_seen_at_once_and_becomes_ready_with_an_address(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start()
        (begun,) = stage.replicas()
        assert (begun.name, begun.state, begun.address) == ("tiny-0", ReplicaState.STARTING, None)
        await until(lambda: stage.is_in("tiny-0", ReplicaState.READY))
        (ready,) = stage.replicas()
        assert ready.address is not None
        assert ready.address.rpartition(":")[2].isdigit()

    act(opened, scene)


def test_since_is_on_the_clock_of_the_world(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        before = stage.world.now()
        (ready,) = await stage.started()
        assert before < ready.since <= stage.world.now()

    act(opened, scene)


def test_replicas_take_the_lowest_free_number(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        await stage.started(replicas=2)
        await stage.stop("tiny-0")
        await until(lambda: stage.replica("tiny-0") is None)
        await stage.start()
        assert {replica.name for replica in stage.replicas()} == {"tiny-0", "tiny-1"}

    act(opened, scene)


def test_a_name_is_not_used_again_while_requests_are_counted_at_it(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        stage.in_flight["tiny-0"] = 1
        await stage.start()
        assert [replica.name for replica in stage.replicas()] == ["tiny-1"]

    act(opened, scene)


def test_a_stopped_replica_drains_until_the_gateway_has_no_request_there(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        await stage.started()
        stage.in_flight["tiny-0"] = 1
        await stage.stop("tiny-0")
        assert stage.is_in("tiny-0", ReplicaState.DRAINING)
        await asyncio.sleep(0.1)
        assert stage.is_in("tiny-0", ReplicaState.DRAINING)
        stage.in_flight["tiny-0"] = 0
        assert await until(lambda: stage.replica("tiny-0") is None) < 0.35

    act(opened, scene)


def test_draining_ends_at_the_deadline_whatever_is_in_flight(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        await stage.started()
        stage.in_flight["tiny-0"] = 1
        await stage.stop("tiny-0")
        assert 0.4 < await until(lambda: stage.replica("tiny-0") is None) < 2.0

    act(opened, scene)


def test_a_replica_that_is_starting_can_be_stopped(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start()
        await stage.stop("tiny-0")
        await until(lambda: stage.replica("tiny-0") is None)

    act(opened, scene)


def test_stopping_twice_or_what_is_not_there_is_no_error(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        await stage.started()
        twice = StopReplica(model="tiny", replica="tiny-0", reason="")
        never = StopReplica(model="tiny", replica="tiny-7", reason="")
        await stage.world.apply([twice, twice, never])
        await until(lambda: not stage.replicas())

    act(opened, scene)


def test_a_model_that_cannot_start_leaves_a_failed_replica_with_the_reason(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start("broken")
        await until(lambda: stage.is_in("broken-0", ReplicaState.FAILED))
        (failed,) = stage.replicas("broken")
        assert "unknown model architecture" in failed.reason

    act(opened, scene)


def test_an_unknown_model_is_a_failed_replica_and_no_exception(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start("nobody")
        (failed,) = stage.replicas("nobody")
        assert failed.state is ReplicaState.FAILED
        assert "nobody" in failed.reason

    act(opened, scene)


def test_a_failed_replica_is_cleared_by_a_stop(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start("broken")
        await until(lambda: stage.is_in("broken-0", ReplicaState.FAILED))
        await stage.stop("broken-0")
        assert not stage.replicas("broken")

    act(opened, scene)


def test_a_replica_that_dies_is_failed_and_is_not_started_again_by_the_world(
    world: tuple[Open, Callable[[], None]],
) -> None:
    opened, kill = world

    async def scene(stage: Stage) -> None:
        await stage.started()
        kill()
        await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
        await asyncio.sleep(0.2)
        (dead,) = stage.replicas()
        assert dead.state is ReplicaState.FAILED
        assert "SIGKILL" in dead.reason

    act(opened, scene)


def test_every_change_is_announced(opened: Open) -> None:
    async def scene(stage: Stage) -> None:
        seen = {stage.changes: stage.world.observe()}
        await stage.start()

        def noted() -> bool:
            earlier = seen.setdefault(stage.changes, stage.world.observe())
            assert earlier == stage.world.observe(), "it changed and did not say so"
            return stage.is_in("tiny-0", ReplicaState.READY)

        await until(noted)
        await stage.stop("tiny-0")
        await until(lambda: noted() or not stage.replicas())

    act(opened, scene)


def test_nothing_is_left_and_nothing_starts_after_the_world_is_closed(opened: Open) -> None:
    async def play() -> None:
        async with opened() as stage:
            await stage.started(replicas=2)
        assert stage.world.observe() == {"tiny": (), "broken": ()}
        await stage.world.apply([StartReplica(model="tiny", reason="too late")])
        assert stage.world.observe() == {"tiny": (), "broken": ()}

    asyncio.run(play())
