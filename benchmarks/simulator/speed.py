"""Prints how many requests a second of CPU time simulates, and what a day of 1,000 replicas takes.

`fleet`: lengths as in Azure's conversation trace (2023), one after the other, arriving by chance at
64 replicas that are loaded to about two thirds; every prompt begins as those of its application
do. `day`: 24 hours at 1,000 replicas, the rate going up and down as days do. Both go through the
gateway's own state machine and prefix routing; CPU time of one process, workload made included.
"""

from __future__ import annotations

import argparse
import csv
import gc
import gzip
import hashlib
import json
import random
import resource
import sys
from collections.abc import Iterator
from math import pi, sin
from pathlib import Path
from time import process_time

import msgspec

from plimsoll.policy.requests.types import Served
from plimsoll.policy.scale.types import Limits
from plimsoll.worlds.virtual.engine.types import EngineLimits, StepTimes
from plimsoll.worlds.virtual.setup import Hardware, ModelSetup, Objectives, WorldSetup
from plimsoll.worlds.virtual.tally import Minute
from plimsoll.worlds.virtual.workloads.types import BLOCK_TOKENS, Arrival
from plimsoll.worlds.virtual.world import Outcome, World

TRACE = Path(__file__).resolve().parents[3] / "shared/data/traces/azure2023_conv.csv.gz"
APPLICATIONS = 64
"""Applications, each of whose prompts begin alike."""

# Qwen3-32B in FP8 on two H200, as in benchmarks/routing/replica.py, which says where it is from.
TIMES = StepTimes(
    fixed=0.0055, token=1 / 26_000, attention=1.75e-9, context=17e-9, answer=12e-6,
    padding=(1, 2, 4, *range(8, 257, 8)), before=0.004, first=0.001, last=0.001,
)  # fmt: skip
ENGINE = EngineLimits(max_num_batched_tokens=8_192, max_num_seqs=256, kv_blocks=103_000)
SMALL = msgspec.structs.replace(ENGINE, kv_blocks=26_000)
"""With a cache as one GPU of 80 GB has beside a model of 8 B: it is full, and memory at its most,
within the first hours of a day."""


def lengths(path: Path) -> list[tuple[int, int]]:
    """Tokens of prompts and answers, in the trace's order."""
    with gzip.open(path, "rt") as file:
        rows = csv.DictReader(file)
        return [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in rows]


def arrivals(
    known: list[tuple[int, int]], *, rate: float, seconds: float, swing: float, seed: int
) -> Iterator[Arrival]:
    """Requests so many a second on average, up and down by a part within a day."""
    chance = random.Random(seed)
    at = 0.0
    number = 0
    names = (1 << 40) * (seed + 1)
    while True:
        now = rate * (1.0 - swing * sin(2.0 * pi * at / 86_400.0 + pi / 2))
        at += chance.expovariate(now)
        if at >= seconds:
            return
        prompt, output = known[number % len(known)]
        number += 1
        blocks = prompt // BLOCK_TOKENS + 1
        shared = min(blocks, 2)
        application = int(APPLICATIONS * chance.random() ** 2)
        names += blocks
        yield Arrival(
            at=at,
            prompt_tokens=prompt,
            output_tokens=max(1, output),
            blocks=(
                *range(application * 2, application * 2 + shared),
                *range(names, names + blocks - shared),
            ),
            model="model",
        )


def world(replicas: int, engine: EngineLimits = ENGINE) -> WorldSetup:
    """So many replicas of one model."""
    served = Served(
        name="model", task="chat", context=1 << 20,
        kv_tokens=engine.kv_blocks * engine.block_size,
    )  # fmt: skip
    model = ModelSetup(
        served=served, times=TIMES, engine=engine, limits=Limits(min=replicas, max=replicas),
        ready=replicas, hardware=Hardware(gpus=2, price=3.0), objectives=Objectives(),
    )  # fmt: skip
    return WorldSetup(models=(model,))


def memory() -> float:
    """Most memory that this process had so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(
    known: list[tuple[int, int]],
    *,
    replicas: int,
    engine: EngineLimits,
    rate: float,
    seconds: float,
    swing: float,
) -> tuple[dict[str, float | str], Outcome]:
    """Simulate, and say what it took."""
    early: list[float] = []
    minutes: list[float] = []  # CPU microseconds a request, of every simulated minute
    clock = [0.0]

    def minute(row: Minute) -> None:
        before, clock[0] = clock[0], process_time()
        if row.arrived and before:
            minutes.append((clock[0] - before) / row.arrived * 1e6)
        if row.at >= seconds / 2 and not early:
            early.append(memory())
        if sys.stderr.isatty() and int(row.at) % 3600 == 0:
            print(f"\r{row.at / 3600:5.1f} h of {seconds / 3600:.1f}", end="", file=sys.stderr)

    simulated = World(world(replicas, engine), seed=1, minute=minute)
    requests = arrivals(known, rate=rate, seconds=seconds, swing=swing, seed=1)
    gc.collect()
    gc.freeze()
    since = process_time()
    outcome = simulated.run(requests)
    took = process_time() - since
    model = outcome.models[0]
    row: dict[str, float | str] = {
        "replicas": replicas,
        "simulatedSeconds": round(outcome.seconds),
        "requests": model.arrived,
        "cpuSeconds": round(took, 2),
        "requestsPerCpuSecond": round(model.arrived / took),
        "microsecondsPerRequest": round(took / model.arrived * 1e6, 1),
        "microsecondsInTheFastestMinute": round(min(minutes, default=0.0), 1),
        "busy": round(model.spent.busy / (model.spent.busy + model.spent.idle), 3),
        "hitRate": round(model.hit_rate, 3),
        "ttftP99": round(model.ttft.p99, 3),
        "memoryMB": round(memory()),
        "memoryMBAtHalf": round(early[0] if early else memory()),
        "sha256": hashlib.sha256(msgspec.json.encode(outcome)).hexdigest()[:16],
    }
    return row, outcome


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--trace", type=Path, default=TRACE, help="Azure's trace of lengths")
    parser.add_argument("--seconds", type=float, default=600.0, help="of `fleet`, simulated")
    parser.add_argument("--day", action="store_true", help="the day of 1,000 replicas, too")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second of that day")
    asked = parser.parse_args()
    if not asked.trace.is_file():
        parser.error(f"{asked.trace}: no such file; name Azure's trace with --trace")
    known = lengths(asked.trace)
    found = {
        "fleet": measure(
            known, replicas=64, engine=ENGINE, rate=480.0, seconds=asked.seconds, swing=0.0
        )[0]
    }
    if asked.day:
        found["day"] = measure(
            known, replicas=1000, engine=SMALL, rate=asked.rate, seconds=86_400.0, swing=0.6
        )[0]
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    for name, row in found.items():
        print(f"\n| {name} | |\n|---|---|")
        for key, value in row.items():
            print(f"| {key} | {value} |")


if __name__ == "__main__":
    main()
