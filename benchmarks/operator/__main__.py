"""`python -m benchmarks.operator [--fleets 500] [--seconds 30] [--json]`: the operator's cost.

The operator of `plimsoll operate` in this process; API server, controllers and gateways in
another. Time from nothing to all Fleets ready, then this process's own processor time over a while
in which nothing changes, and over one in which the demand of some models changes at every look.
Exits 1 when the claim does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from plimsoll.engines import ENGINES
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.info import ClusterInfo
from plimsoll.worlds.cluster.objects.render import render
from plimsoll.worlds.cluster.observe import replicas_seen
from plimsoll.worlds.cluster.operator.gateway_metrics import MetricsReader
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from plimsoll.worlds.cluster.operator.parts import Parts, Settings
from plimsoll.worlds.cluster.operator.run import Operator
from plimsoll.worlds.cluster.operator.sites import Surroundings
from tests.worlds.cluster.operator.stage import plan

MOST = 0.05  # of a core
BUSY = 50  # models whose demand changes at every look


@dataclass(frozen=True, kw_only=True)
class Share:
    """Processor time over a while.

    seconds  how long
    share    processor time over that
    passes   looks at a Fleet
    writes   to the API
    """

    seconds: float
    share: float
    passes: int
    writes: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured.

    ready   seconds from the operator's start until every Fleet is ready
    spent   processor seconds of the operator for that
    writes  to the API for that
    idle    while nothing changes
    busy    while the demand of BUSY models changes at every look
    memory  MiB that the operator took at most
    """

    fleets: int
    ready: float
    spent: float
    writes: int
    idle: Share
    busy: Share
    memory: float


async def measure(fleets: int, seconds: float) -> Result:
    """Start the other side, run the operator, and measure."""
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.operator.cluster", str(fleets),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        addresses = json.loads(await other.stdout.readline())
        async with MetricsReader() as reader, await Kube.connect(url=addresses["api"]) as kube:
            metrics = OperatorMetrics()
            operator = Operator(
                kube, Settings(identity="benchmark"), _parts(reader, addresses["metrics"]), metrics
            )
            began, spent = time.monotonic(), time.process_time()
            task = asyncio.create_task(operator.run())
            told = json.loads(await other.stdout.readline())
            ready, spent = time.monotonic() - began, time.process_time() - spent
            assert told["ready"] == fleets
            print(f"ready after {ready:.1f} s", file=sys.stderr, flush=True)
            await asyncio.sleep(20)  # what is written late, such as the gateway's configuration
            idle = await _share(metrics, seconds)
            other.stdin.write(b"%d\n" % BUSY)
            await asyncio.sleep(6)
            busy = await _share(metrics, seconds)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        other.stdin.close()
        other.kill()
        await other.wait()
    return Result(
        fleets=fleets,
        ready=ready,
        spent=spent,
        writes=told["writes"],
        idle=idle,
        busy=busy,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _parts(reader: MetricsReader, address: str) -> Parts:
    around = Surroundings(engines=ENGINES, image="plimsoll:0", info=ClusterInfo())
    return Parts(
        plan=plan,
        render=lambda site: render(site).manifests,
        observe=replicas_seen,
        fetch=lambda _pod: reader.fetch(address),
        around=lambda: around,
        clock=time.monotonic,
        now=time.time,
        random=random.Random(1).random,
    )


async def _share(metrics: OperatorMetrics, seconds: float) -> Share:
    began, spent = time.monotonic(), time.process_time()
    passes, writes = _total(metrics.reconciles), _total(metrics.writes)
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    return Share(
        seconds=took,
        share=(time.process_time() - spent) / took,
        passes=_total(metrics.reconciles) - passes,
        writes=_total(metrics.writes) - writes,
    )


def _total(counter: Any) -> int:
    total = 0.0
    for family in counter.collect():
        total += sum(one.value for one in family.samples if one.name.endswith("_total"))
    return round(total)


def main() -> int:
    """Measure, print, and return 1 when the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleets", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.fleets, arguments.seconds))
    if arguments.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        print(_table(found))
    return int(found.idle.share >= MOST)


def _table(found: Result) -> str:
    idle, busy = found.idle, found.busy
    rows = (
        ("claim", "result"),
        ("---", "---"),
        (
            f"{found.fleets} Fleets from nothing to ready",
            f"{found.ready:.1f} s; {found.spent:.1f} s of a core, {found.writes:,} writes by all",
        ),
        (f"nothing changes, {idle.seconds:.0f} s", _share_text(idle)),
        (
            f"demand of {BUSY} models changes every 5 s, {busy.seconds:.0f} s",
            _share_text(busy),
        ),
        ("memory at most", f"{found.memory:.0f} MiB"),
    )
    return "\n".join(f"| {left} | {right} |" for left, right in rows)


def _share_text(found: Share) -> str:
    return f"{found.share:.2%} of a core; {found.passes} passes, {found.writes} writes"


if __name__ == "__main__":
    sys.exit(main())
