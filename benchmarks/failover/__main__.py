"""`python -m benchmarks.failover`: replicas are killed under load, and no caller notices.

200 callers ask real replicas through the gateway while one replica after another dies by
SIGKILL and comes back. Every answer must be whole, and at temperature 0 its text must equal that
of an undisturbed run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import httpx

from benchmarks.failover.asking import Told, path, requests, told
from benchmarks.failover.replicas import (
    FIELDS,
    PARALLEL,
    LlamaCppReplica,
    Replica,
    VllmReplica,
    served,
)
from benchmarks.failover.vllm_servers import Forked, Reserve
from plimsoll.gateway import Upstream, new_event_loop
from tests.gateway.stub import Rig, post, rig
from tests.vllm_server import processor_placement, vllm_python, write_tiny_llama

_NOTICED = 0.2  # seconds until the world takes a dead replica off the gateway's list


@dataclass(slots=True)
class Tally:
    """What came of the answers.

    whole   right answers: streamed, not streamed
    wrong   what was wrong with others
    pauses  the longest wait inside each stream, seconds
    """

    whole: Counter[bool] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Kills:
    """What was killed.

    moments    when, seconds
    answering  requests that the replica had then
    """

    moments: list[float] = field(default_factory=list)
    answering: list[int] = field(default_factory=list)


async def undisturbed(upstream: Upstream, bodies: list[dict[str, Any]]) -> list[Told]:
    """What one replica answers when it is left alone."""
    async with httpx.AsyncClient(
        base_url=f"http://{upstream.host}:{upstream.port}", timeout=300,
        limits=httpx.Limits(max_connections=upstream.capacity, max_keepalive_connections=0),
    ) as client:  # fmt: skip

        async def ask(body: dict[str, Any]) -> Told:
            answer = await client.post(path(body), json=body)
            return told(body, answer.content)

        return list(await asyncio.gather(*map(ask, bodies)))


async def caller(
    the: Rig, order: list[tuple[dict[str, Any], Told]], tally: Tally, end: float
) -> None:
    """Ask one thing after another until the time is over."""
    for body, want in order:
        if monotonic() >= end:
            return
        try:
            got, pause = await _ask(the, body)
        except (ValueError, OSError, asyncio.IncompleteReadError) as error:
            tally.wrong.append(f"{_asked(body)}: broken: {error!r}")
            continue
        if got == want:
            tally.whole[body["stream"]] += 1
            tally.pauses.append(pause)
        else:
            tally.wrong.append(_difference(body, got, want))


async def _ask(the: Rig, body: dict[str, Any]) -> tuple[Told, float]:
    client = await the.connect()
    try:
        client.send(post(body, path(body)))
        status, headers = await client.head()
        pause, last, answer = 0.0, monotonic(), b""
        if headers.get("transfer-encoding") != "chunked":
            answer = await client.reader.readexactly(int(headers["content-length"]))
        else:
            while piece := await client.chunk():
                answer += piece
                now = monotonic()
                pause, last = max(pause, now - last), now
        if status != 200:
            raise ValueError(answer.decode())
        return told(body, answer), pause
    finally:
        the.clients.remove(client)
        await client.close()


def _asked(body: dict[str, Any]) -> str:
    return f"{path(body)}{', streamed' if body['stream'] else ''}"


def _difference(body: dict[str, Any], got: Told, want: Told) -> str:
    if got.text == want.text:
        return f"{_asked(body)}: {got.reason} {got.usage} for {want.reason} {want.usage}"
    same = next(
        (at for at, (a, b) in enumerate(zip(got.text, want.text, strict=False)) if a != b),
        min(len(got.text), len(want.text)),
    )
    return (
        f"{_asked(body)}: from {same} of {len(want.text)} on {got.text[same : same + 30]!r} "
        f"for {want.text[same : same + 30]!r}"
    )


async def kill(
    the: Rig, replicas: dict[str, Replica], ready: dict[str, Upstream], pause: float, end: float
) -> Kills:
    """Kill one replica after another, each when all are there."""
    draw = random.Random(5)
    kills = Kills()
    while monotonic() < end:
        await asyncio.sleep(pause)
        name = draw.choice(sorted(replicas))
        kills.answering.append(the.board.in_flight(name))
        kills.moments.append(monotonic())
        await asyncio.to_thread(replicas[name].kill)
        await asyncio.sleep(_NOTICED)
        del ready[name]
        the.board.update("demo", tuple(ready.values()))
        ready[name] = await asyncio.to_thread(replicas[name].start)
        the.board.update("demo", tuple(ready.values()))
    return kills


async def run(arguments: argparse.Namespace, replicas: dict[str, Replica]) -> dict[str, Any]:
    """The whole benchmark."""
    started = await asyncio.gather(*(asyncio.to_thread(each.start) for each in replicas.values()))
    ready = dict(zip(replicas, started, strict=True))
    bodies = requests(arguments.tokens, FIELDS[arguments.engine])
    wants = await undisturbed(started[0], bodies)
    tally = Tally()
    async with rig(served=served(arguments.engine)) as the:
        the.board.update("demo", tuple(ready.values()))
        begun = monotonic()
        end = begun + arguments.seconds
        pairs = list(zip(bodies, wants, strict=True)) * 100
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(kill(the, replicas, ready, arguments.every, end))
            for number in range(arguments.streams):
                order = random.Random(number).sample(pairs, len(pairs))
                group.create_task(caller(the, order, tally, end))
        kills = killing.result()
        seconds = monotonic() - begun
        numbers = the.numbers()
    for each in replicas.values():
        await asyncio.to_thread(each.kill)
    pauses = sorted(tally.pauses)
    return {
        "engine": arguments.engine,
        "replicas": len(replicas),
        "seconds": round(seconds, 1),
        "kills": len(kills.moments),
        "between_kills_p50_s": round(_middle([b - a for a, b in pairwise(kills.moments)]), 1),
        "requests_at_a_killed_one_p50": _middle(kills.answering),
        "callers": arguments.streams,
        "streams_whole_and_equal": tally.whole[True],
        "answers_whole_and_equal": tally.whole[False],
        "wrong": len(tally.wrong),
        "streams_wrong": sum(", streamed" in each.partition(":")[0] for each in tally.wrong),
        "different": sum(": broken: " not in each for each in tally.wrong),
        "first_wrong": tally.wrong[:5],
        "tries_lost": _counted(numbers, "retries_total{"),
        "continued": _counted(numbers, "gateway_continuations_total{"),
        "longest_pause_p50_s": round(pauses[len(pauses) // 2], 2),
        "longest_pause_p99_s": round(pauses[len(pauses) * 99 // 100], 2),
        "longest_pause_s": round(pauses[-1], 2),
        "holds": not tally.wrong and tally.whole[True] >= arguments.streams,
    }


def _counted(numbers: str, name: str) -> int:
    """Sum of a metric over its labels."""
    rows = [row for row in numbers.splitlines() if name in row]
    return sum(int(float(row.rsplit(" ", 1)[1])) for row in rows)


def _middle(numbers: Sequence[float]) -> float:
    return sorted(numbers)[len(numbers) // 2] if numbers else 0.0


def vllm_replicas(stack: ExitStack, count: int, spares: int) -> dict[str, Replica]:
    """So many replicas of vLLM, with spares that take the place of those that are killed."""
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vllm-")))
    begun = monotonic()
    weights = write_tiny_llama(scratch / "tiny")
    place = processor_placement("demo", parallel=PARALLEL)
    forked = stack.enter_context(Forked(weights, scratch, place))
    reserve = stack.enter_context(Reserve(forked, first=count, spares=spares))
    print(f"{count + spares} vLLM servers in {monotonic() - begun:.0f} s", file=sys.stderr)
    return {f"demo-{number}": VllmReplica(f"demo-{number}", reserve) for number in range(count)}


def main() -> None:
    """Run, print, and exit 1 when the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(FIELDS), default="llamacpp")
    parser.add_argument("--replicas", type=int, default=None, help="3, or 2 of vLLM")
    parser.add_argument("--streams", type=int, default=200, help="callers at once")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two kills")
    parser.add_argument("--tokens", type=int, default=300, help="of an answer")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--spares", type=int, default=12, help="vLLM servers started beforehand")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        replicas: dict[str, Replica]
        if arguments.engine == "vllm":
            if vllm_python() is None:
                parser.error("no vLLM here: `make vllm`, or set PLIMSOLL_VLLM_PYTHON")
            replicas = vllm_replicas(stack, arguments.replicas or 2, arguments.spares)
        else:
            names = [f"demo-{number}" for number in range(arguments.replicas or 3)]
            replicas = {name: LlamaCppReplica(name) for name in names}
        runner = stack.enter_context(asyncio.Runner(loop_factory=new_event_loop))
        result = runner.run(run(arguments, replicas))
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:28} {value}")
    sys.exit(0 if result["holds"] else 1)


if __name__ == "__main__":
    main()
