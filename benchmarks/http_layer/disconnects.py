"""Callers that leave a real engine, one after another: how long its slot stays taken.

`python -m benchmarks.http_layer.disconnects [--times 1000]`. Exit 1 when one is over 200 ms.
"""

# ruff: noqa: ASYNC110 -- what is waited for happens in another process, which has no events

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import httpx

from plimsoll.gateway import new_event_loop
from tests.gateway.engine import RealEngine, demo
from tests.gateway.stub import Rig, post, rig

LIMIT = 0.2  # seconds
PHASES = ("streamed", "whole", "reading the prompt", "before the first byte")
_PAUSE = 0.001  # seconds between two looks at the engine's metrics
_CALM = 0.03  # seconds of idleness that count as free


def _request(phase: str, number: int) -> bytes:
    """A request that would run for seconds; its beginning is new, so no cache shortens it."""
    words = f"{number} What is a KV cache? "
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": words * (60 if "prompt" in phase else 1)}],
        "stream": phase != "whole",
        "max_tokens": 900,
        "ignore_eos": True,
    }
    return post(body)


async def _working(http: httpx.AsyncClient, engine: RealEngine) -> bool:
    text = (await http.get(f"http://{engine.address}/metrics")).text
    row = next(r for r in text.splitlines() if r.startswith("llamacpp:requests_processing"))
    return float(row.split()[-1]) > 0


async def _leave(
    the: Rig, http: httpx.AsyncClient, engine: RealEngine, phase: str, number: int
) -> tuple[float, float]:
    """Seconds from leaving until the gateway, and until the engine, has freed the place."""
    client = await the.connect()
    client.send(_request(phase, number))
    if phase == "streamed":
        await client.head()
        await client.chunk()
    elif phase == "before the first byte":
        while not the.board.in_flight(engine.name):
            await asyncio.sleep(_PAUSE)
    else:
        while not await _working(http, engine):
            await asyncio.sleep(_PAUSE)
    since = time.perf_counter()
    await client.close()
    while the.board.in_flight(engine.name):
        await asyncio.sleep(0)
    ours = time.perf_counter() - since
    return ours, await _last_worked(http, engine) - since


async def _last_worked(http: httpx.AsyncClient, engine: RealEngine) -> float:
    """When the engine was last seen to work; it must then be idle for a while, for a request
    may still be on its way in.
    """
    last = looked = time.perf_counter()
    while looked - last < _CALM:
        await asyncio.sleep(_PAUSE)
        working = await _working(http, engine)
        looked = time.perf_counter()
        if working:
            last = looked
    return last


async def run(times: int) -> dict[str, list[tuple[float, float]]]:
    """Leave `times` times, the phases in turn."""
    seen: dict[str, list[tuple[float, float]]] = {phase: [] for phase in PHASES}
    with RealEngine() as engine:
        async with rig(served=demo()) as the, httpx.AsyncClient() as http:
            the.board.update("demo", (engine.upstream(),))
            for number in range(times):
                phase = PHASES[number % len(PHASES)]
                seen[phase].append(await _leave(the, http, engine, phase, number))
                the.clients.clear()
    return seen


def main() -> int:
    """Print a table. Returns 1 when a slot stayed taken for longer than the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=1000)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        seen = runner.run(run(options.times))
    print(
        "| the caller left | times | gateway p99 ms | slot free p50 ms | p99 | max | over 200 ms |"
    )
    print("|---|---|---|---|---|---|---|")
    over_all = 0
    for phase, pairs in seen.items():
        ours = sorted(pair[0] * 1e3 for pair in pairs)
        slot = sorted(pair[1] * 1e3 for pair in pairs)
        over = sum(each > LIMIT * 1e3 for each in slot)
        over_all += over
        at = len(slot) * 99 // 100
        print(
            f"| {phase} | {len(slot)} | {ours[at]:.1f} | {slot[len(slot) // 2]:.1f} | "
            f"{slot[at]:.1f} | {slot[-1]:.1f} | {over} |"
        )
    return int(over_all > 0)


if __name__ == "__main__":
    sys.exit(main())
