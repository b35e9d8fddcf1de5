"""`python -m benchmarks.scaler.served MODELS GATEWAYS FOLDER`: a scaler as it runs in a cluster.

Decides on the metrics of so many gateways, whose pages are as the gateway writes them and change
at every look, keeps its memory in the folder, and prints its port. With no gateways it decides once
and then only answers, so that one sees what gRPC and the machine take.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from plimsoll.policy.scale.predictive import Predictive
from plimsoll.policy.scale.types import Capacity, ColdStart, Limits, Signals
from plimsoll.scaler.decisions import Decisions
from plimsoll.scaler.gateways import FleetName, Gateways
from plimsoll.scaler.memory import Folder, Keeper
from plimsoll.scaler.models import ModelKey, Scaled
from plimsoll.scaler.server import serve, serving
from plimsoll.telemetry.metrics import Depth, GatewayMetrics

NAMESPACE, FLEET = "team", "main"


POLICY = Predictive(
    capacity=Capacity(prompt_tokens=20_000, output_tokens=4_000, concurrent=64),
    limits=Limits(min=0, max=64),
    cold_start=ColdStart(p50=60.0, p90=120.0),
)


def key(number: int) -> ModelKey:
    """One of the models."""
    return ModelKey(namespace=NAMESPACE, fleet=FLEET, model=f"model-{number}")


def pages(models: int) -> Sequence[str]:
    """The metrics page of a gateway at some moments, with answers of every model."""
    made = []
    for moment in range(4):
        metrics = GatewayMetrics()
        depths: list[Depth] = []
        for number in range(models):
            name = key(number).model
            numbers = metrics.model(name)
            for status in (200, 429, 499):
                for _ in range(3 + moment):
                    numbers.answered("chat", status)
            numbers.prompt_tokens = 3000 * (moment + 1)
            numbers.completion_tokens = 600 * (moment + 1)
            numbers.request.observe(1.0)
            queued = (number * 7 + moment * 13) % 40
            depths.append(Depth(model=name, queued=queued, in_flight=8, replicas=2))
        metrics.watch(partial(tuple, depths))
        made.append(metrics.text().decode())
    return made


async def main(models: int, gateways: int, folder: Path) -> None:
    """Serve until ended."""
    keeper = Keeper(Folder(folder))
    decisions = Decisions(keeper.changed)
    decisions.offer({key(number): Scaled(policy=POLICY) for number in range(models)})
    if not gateways:
        for each in decisions.models:
            decisions.look(each, Signals(now=0.0, ready=1, in_flight=15.0))
        async with serving(decisions, host="127.0.0.1", port=0) as port:
            print(port, flush=True)
            await asyncio.Event().wait()
    texts = pages(models)
    asked = 0

    async def addresses(_: FleetName) -> Sequence[str]:
        return [f"gateway-{number}" for number in range(gateways)]

    async def fetch(_: str) -> str:
        nonlocal asked
        asked += 1
        return texts[asked // gateways % len(texts)]

    await serve(
        decisions,
        Gateways(decisions, addresses=addresses, fetch=fetch),
        keeper=keeper,
        host="127.0.0.1",
        port=0,
        started=lambda port: print(port, flush=True),
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
