"""Killed at any step, 200 times: the next operator always ends where an undisturbed one would."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from plimsoll.worlds.cluster.operator.run import Operator
from tests.worlds.cluster.api import Object
from tests.worlds.cluster.operator.mortal import Life, count_steps, live
from tests.worlds.cluster.operator.stage import (
    SETTINGS,
    Cluster,
    cluster,
    fleet,
    model,
    named,
    played,
)

KILLS = 200
KILLS_EACH = 4  # one after the other, before one operator may end its work
FOREIGN = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "theirs", "namespace": "team-a", "labels": {"plimsoll.dev/fleet": "shop"}},
    "data": {"a": "b"},
}
# Without a wait, or how many replicas there are would depend on how many there were.
AT_ONCE = {"min": 0, "max": 2, "stabilization": "0s", "cooldown": "0s"}
# What is wished, one after the other: models come, change, move and go, and so does the Fleet.
WISHES: tuple[dict[str, Any] | None, ...] = (
    {"models": [model("chat")]},
    {"models": [model("chat", context=1024), model("mail", scaling=AT_ONCE)]},
    {"models": [model("mail", scaling={"min": 2, "max": 2})], "gateway": {"replicas": 2}},
    {"models": [model("chat", namespace="team-b")]},
    None,
)


def wish(stage: Cluster, spec: dict[str, Any] | None) -> None:
    there = stage.api.objects("plimsoll.dev/v1alpha1", "Fleet")
    if spec is None:
        for one in there:
            if not one["metadata"].get("deletionTimestamp"):
                stage.api.delete(one)
    elif not there:
        stage.api.create({**fleet(), "spec": spec})
    elif not there[0]["metadata"].get("deletionTimestamp") and there[0]["spec"] != spec:
        stage.api.change(fleet(), lambda one: one.update(spec=spec))


def reached(stage: Cluster, spec: dict[str, Any] | None) -> bool:
    """Whether the operator says that it is where it should be; a Fleet on its way out comes back
    when it is gone.
    """
    wish(stage, spec)
    there = stage.api.objects("plimsoll.dev/v1alpha1", "Fleet")
    if spec is None or not there:
        return spec is None and not there
    status = there[0].get("status") or {}
    return (
        there[0]["spec"] == spec
        and not there[0]["metadata"].get("deletionTimestamp")
        and status.get("observedGeneration") == there[0]["metadata"]["generation"]
        and stage.is_true("Ready")
        and stage.is_true("Applied")
        and not stage.is_true("Progressing")
        and len(status["inventory"]) == _made(stage)
    )


def _made(stage: Cluster) -> int:
    return len(stage.made()) - len(_others(stage)) - 1


def _others(stage: Cluster) -> dict[str, Object]:
    return {
        key: one
        for key, one in stage.made().items()
        if "plimsoll.dev/owner" not in (one["metadata"].get("annotations") or {})
        and one["kind"] != "Fleet"
    }


async def end(stage: Cluster, spec: dict[str, Any] | None, life: Life) -> dict[str, Object]:
    """Let an operator live until all is as wished. Returns the objects that there are then."""
    done = asyncio.Event()
    running = asyncio.create_task(live(stage, SETTINGS, life, done))
    try:
        await stage.until(lambda: reached(stage, spec), f"never ended at {spec}")
    finally:
        done.set()
        await running
    return stage.made()


async def die(stage: Cluster, spec: dict[str, Any] | None, life: Life) -> None:
    """Let an operator live until it dies, or has nothing left to do."""
    running = asyncio.create_task(live(stage, SETTINGS, life, life.over))
    while not running.done():
        stage.play()
        if reached(stage, spec):
            life.over.set()
        await asyncio.sleep(0.002)
    await running


@pytest.mark.slow
@played
async def test_killed_anywhere_it_ends_where_an_undisturbed_one_ends() -> None:
    count_steps(asyncio.get_running_loop())
    expected: list[dict[str, Object]] = []
    steps: list[int] = []
    async with cluster("team-a", "team-b") as stage:
        stage.api.create(FOREIGN)
        for spec in WISHES:
            wish(stage, spec)
            life = Life(None)
            expected.append(await end(stage, spec, life))
            steps.append(life.taken)
        others = _others(stage)
    chance = random.Random(20261121)
    killed = 0
    async with cluster("team-a", "team-b") as stage:
        stage.api.create(FOREIGN)
        while killed < KILLS:
            for spec, whole, longest in zip(WISHES, expected, steps, strict=True):
                # The wish changes under the dying ones, so that what is half made is not wished.
                for now in [*chance.choices(WISHES, k=KILLS_EACH - 1), spec]:
                    wish(stage, now)
                    await die(stage, now, Life(chance.randint(1, longest)))
                    killed += 1
                assert await end(stage, spec, Life(None)) == whole, killed
                assert _others(stage) == others
    assert killed >= KILLS


@pytest.mark.slow
@played
async def test_of_two_that_are_killed_in_turn_never_two_act_and_the_work_is_done() -> None:
    count_steps(asyncio.get_running_loop())
    chance = random.Random(7)
    async with cluster("team-a", "team-b") as stage:
        for turn in range(4):
            spec = WISHES[turn % 3]
            wish(stage, spec)
            done = asyncio.Event()
            roster: list[tuple[Operator, Life]] = []
            running = [
                asyncio.create_task(
                    live(stage, named(SETTINGS, f"{turn}-{number}", elect=True), life, done, roster)
                )
                for number, life in enumerate((Life(chance.randint(50, 600)), Life(None)))
            ]

            def ended(spec: dict[str, Any] | None = spec, roster: Any = roster) -> bool:
                acting = [one for one, life in roster if one.leading and not life.over.is_set()]
                assert len(acting) <= 1
                return reached(stage, spec)

            try:
                await stage.until(ended)
            finally:
                done.set()
                await asyncio.gather(*running)
