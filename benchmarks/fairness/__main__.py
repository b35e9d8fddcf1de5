"""Prints shares of tokens and p99 of a tenant beside one that floods, and of the same one alone."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from benchmarks.fairness.served import PACE, Asking, Crowd, guard, paced
from benchmarks.fairness.simulated import READS, WRITES, Got, Load, simulate
from plimsoll.gateway import new_event_loop
from tests.gateway.engine import RealEngine, demo
from tests.gateway.stub import CHAT, StubEngine, rig

SLOTS = 8
NEAR = 0.10
"""How far a share may be from the weight's, of it."""
P99 = 1.3
_LOAD = 0.6  # of its share that the calm tenant asks for


def simulated(seconds: float, weight: int) -> dict[str, Any]:
    """Imagined time: the same tenants for `seconds` times 200."""
    share, time = weight / (1 + weight), seconds * 200
    flood = Load(callers=200)
    both = simulate({"a": Load(callers=99, weight=weight), "b": flood}, replicas=[16], seconds=time)
    rate = _LOAD * share * 16 / (125 / READS + 70 / WRITES)
    calm = Load(rate=rate, weight=weight)
    alone = simulate({"a": calm}, replicas=[int(16 * share)], seconds=time)
    beside = simulate({"a": calm, "b": flood}, replicas=[16], seconds=time)
    return _row(weight, both, alone["a"], beside["a"])


def _shares(weight: int, both: dict[str, Got]) -> dict[str, Any]:
    share = both["a"].tokens / (both["a"].tokens + both["b"].tokens)
    wanted = weight / (1 + weight)
    return {
        "weight": weight,
        "share": round(share, 3),
        "wanted": round(wanted, 3),
        "fine": abs(share / wanted - 1) <= NEAR,
    }


def _row(weight: int, both: dict[str, Got], alone: Got, beside: Got) -> dict[str, Any]:
    shares = _shares(weight, both)
    return {
        **shares,
        "alone_p99": round(alone.p(99), 3),
        "beside_p99": round(beside.p(99), 3),
        "ratio": round(beside.p(99) / alone.p(99), 2),
        "answers": len(beside.seconds),
        "fine": shares["fine"] and beside.p(99) <= P99 * alone.p(99),
    }


async def _played(tenants: dict[str, Asking], slots: int, seconds: float) -> dict[str, Got]:
    stub = StubEngine(handler=paced)
    async with rig(stub, capacity=slots, access=guard(tenants)) as the:
        return await Crowd(the, CHAT.name, tenants).run(seconds)


async def played(seconds: float, weight: int) -> dict[str, Any]:
    """A played engine of 8 slots at a steady pace; alone, of as many as the share is."""
    share = weight / (1 + weight)
    flood = Asking(callers=40)
    both = await _played({"a": Asking(callers=40, weight=weight), "b": flood}, SLOTS, seconds)
    calm = Asking(rate=_LOAD * share * SLOTS / (PACE * 25), weight=weight)
    alone = await _played({"a": calm}, int(SLOTS * share), seconds)
    beside = await _played({"a": calm, "b": flood}, SLOTS, seconds)
    return _row(weight, both, alone["a"], beside["a"])


async def real(seconds: float, weight: int) -> dict[str, Any]:
    """A real llama.cpp of 4 slots. They share one thread, so that no replica can be scaled to a
    share: only the shares of tokens are measured.
    """
    tenants = {"a": Asking(callers=12, weight=weight), "b": Asking(callers=30)}
    with RealEngine(parallel=4) as engine:
        async with rig(served=demo(), access=guard(tenants)) as the:
            the.board.update("demo", (engine.upstream(),))
            both = await Crowd(the, "demo", tenants).run(seconds)
    return _shares(weight, both)


def main() -> int:
    """Print a row per weight. Returns 1 when a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=["simulated", "stub", "real"], default="simulated")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for weight in (1, 3):
        if options.engine == "simulated":
            rows.append(simulated(options.seconds, weight))
        else:
            measure = played if options.engine == "stub" else real
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                rows.append(runner.run(measure(options.seconds, weight)))
        if not options.json:
            print("| " + " | ".join(f"{name} {value}" for name, value in rows[-1].items()) + " |")
    if options.json:
        print(json.dumps(rows))
    return int(not all(row["fine"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
