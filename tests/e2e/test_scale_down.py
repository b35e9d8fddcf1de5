"""Fewer replicas under load: real llama.cpp processes, the real gateway, nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from plimsoll.engines import ENGINES
from plimsoll.gateway import Board, Gateway, GatewaySettings, Upstream
from plimsoll.policy.retry import Failure
from plimsoll.policy.snapshot import ReplicaSeen, ReplicaState, StartReplica, StopReplica
from plimsoll.telemetry.metrics import GatewayMetrics
from plimsoll.worlds.local import LocalModel, LocalWorld
from tests.gateway.engine import demo
from tests.gateway.stub import RawClient, post, run
from tests.worlds.local.harness import placement, until, write_model

pytestmark = pytest.mark.slow
PARALLEL = 2


def ready(replicas: Mapping[str, tuple[ReplicaSeen, ...]]) -> tuple[Upstream, ...]:
    """The replicas that get new work, as `plimsoll up` tells them to its gateway."""
    found = []
    for replica in replicas["tiny"]:
        if replica.state is ReplicaState.READY and replica.address:
            host, _, port = replica.address.rpartition(":")
            found.append(
                Upstream(replica=replica.name, host=host, port=int(port), capacity=PARALLEL)
            )
    return tuple(found)


async def streamed(host: str, port: int) -> bytes:
    """One whole stream's bytes."""
    reader, writer = await asyncio.open_connection(host, port)
    client = RawClient(reader, writer)
    try:
        client.send(
            post(
                {
                    "model": "tiny",
                    "messages": [{"role": "user", "content": "?"}],
                    "stream": True,
                    "max_tokens": 60,
                    "ignore_eos": True,
                }
            )
        )
        return (await client.reply()).body
    finally:
        await client.close()


def test_a_replica_that_is_to_stop_gets_no_new_work_and_ends_after_its_streams(
    tmp_path: Path,
) -> None:
    weights = write_model(tmp_path / "tiny.gguf")

    async def main() -> None:
        board, metrics = Board([demo("tiny")]), GatewayMetrics()
        gateway = Gateway(board=board, settings=GatewaySettings(), metrics=metrics)
        world = LocalWorld(
            models={"tiny": LocalModel(placement=placement(parallel=PARALLEL), weights=weights)},
            engines=ENGINES,
            state=tmp_path,
            in_flight=board.in_flight,
            changed=lambda: None,
            drain_seconds=60.0,
        )
        async with world:
            await world.apply([StartReplica(model="tiny", reason="")] * 3)
            await until(lambda: len(ready(world.observe())) == 3)
            board.update("tiny", ready(world.observe()))
            host, port = await gateway.start("127.0.0.1", 0)
            bodies: list[bytes] = []
            over = asyncio.Event()

            async def load() -> None:
                while not over.is_set():
                    bodies.append(await streamed(host, port))

            loads = [asyncio.create_task(load()) for _ in range(5)]
            for name in ("tiny-0", "tiny-1"):
                await until(lambda name=name: board.in_flight(name) > 0)
                await world.apply([StopReplica(model="tiny", replica=name, reason="")])
                board.update("tiny", ready(world.observe()))
                held = board.in_flight(name)
                assert held > 0
                before = len(bodies)
                await until(
                    lambda name=name: all(r.name != name for r in world.observe()["tiny"]),
                    seconds=60,
                )
                assert board.in_flight(name) == 0
                await until(lambda before=before: len(bodies) > before + 5, seconds=60)
            over.set()
            await asyncio.gather(*loads)
            await gateway.close()
        assert len(bodies) > 10
        assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
        numbers = metrics.model("tiny")
        assert numbers.broken == 0
        # llama.cpp closes a kept connection when it likes; a try that met that is not a failed one.
        allowed = {Failure.STALE.value}
        assert not {kind for kind, count in numbers.failures.items() if count} - allowed
        assert not {kind for kind, count in numbers.retries.items() if count} - allowed

    run(main, seconds=240)
