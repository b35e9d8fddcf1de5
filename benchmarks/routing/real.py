"""`python -m benchmarks.routing.real [--json]`: prompt tokens that real engines find in caches.

Conversations that grow turn by turn, their turns mixed, over llama.cpp replicas with the demo
model, placed by the real state machine. What was cached is what each engine says in its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from time import perf_counter

import httpx

from benchmarks.routing.peers import RoundRobin
from plimsoll.policy.requests.dispatcher import Dispatcher
from plimsoll.policy.requests.types import (
    Do,
    Instructions,
    QueueLimits,
    Served,
    Ticket,
    Upstream,
)
from plimsoll.policy.routing.load import LeastLoaded
from plimsoll.policy.routing.prefix import PrefixRouter
from plimsoll.policy.routing.prompt import BLOCK_TOKENS, BYTES_PER_TOKEN, blocks_of
from plimsoll.policy.routing.protocol import Router
from tests.gateway.engine import RealEngine

CONTEXT = 1024
TEXT = (
    "the harbour keeps a ledger of every ship and its load so that no captain leaves with more "
    "than the line on the hull allows whatever the price of grain may be that day in spring"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one router made of the conversations.

    cached  prompt tokens found in the engines' caches, of
    prompt  all
    seconds average seconds of a request
    """

    router: str
    cached: int
    prompt: int
    seconds: float


def conversations(number: int, turns: int, seed: int) -> list[list[list[dict[str, str]]]]:
    """Messages of every turn of every conversation; each turn begins with all before it."""
    chance = random.Random(seed)
    spoken = TEXT.split()

    def say(words: int) -> str:
        return " ".join(chance.choices(spoken, k=words))

    found = []
    for _ in range(number):
        messages = [{"role": "system", "content": "You keep the harbour's ledger."}]
        said = []
        for turn in range(turns):
            messages = [*messages, {"role": "user", "content": say(90 if turn == 0 else 25)}]
            said.append(messages)
            messages = [*messages, {"role": "assistant", "content": say(12)}]
        found.append(said)
    return found


def mixed(said: Sequence[Sequence[list[dict[str, str]]]], seed: int) -> list[list[dict[str, str]]]:
    """All turns in an order by chance in which no conversation runs ahead of itself."""
    chance = random.Random(seed)
    turns = [number for number, each in enumerate(said) for _ in each]
    chance.shuffle(turns)
    at = [0] * len(said)
    order = []
    for number in turns:
        order.append(said[number][at[number]])
        at[number] += 1
    return order


class _Fleet:
    """The state machine over real replicas, a few requests at a time."""

    def __init__(self, router: Callable[[Served], Router], engines: Sequence[RealEngine]) -> None:
        served = Served(
            name="demo", task="chat", context=CONTEXT, kv_tokens=CONTEXT * engines[0].parallel
        )
        self._machine = Dispatcher(QueueLimits(requests=1_000, bytes=1 << 30), router=router)
        self._machine.offer([served], perf_counter())
        upstreams: tuple[Upstream, ...] = tuple(each.upstream() for each in engines)
        self._machine.replicas({"demo": upstreams}, perf_counter())
        self._client = httpx.AsyncClient(timeout=120.0)
        self.cached = self.prompt = 0

    async def ask(self, messages: list[dict[str, str]]) -> None:
        raw = json.dumps(messages).encode()
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = Ticket(
            granted, "demo", deadline=perf_counter() + 120.0, prompt=len(raw) // BYTES_PER_TOKEN,
            blocks=blocks_of(raw),
        )  # fmt: skip
        self._start(self._machine.arrive(ticket, perf_counter()))
        try:
            await granted
            assert ticket.place is not None
            upstream = ticket.place.upstream
            answer = await self._client.post(
                f"http://{upstream.host}:{upstream.port}/v1/chat/completions",
                json={"model": "demo", "messages": messages, "max_tokens": 4, "temperature": 0},
            )
            answer.raise_for_status()
            self._machine.began(ticket, perf_counter())
            body = answer.json()
            self.cached += body["timings"]["cache_n"]
            self.prompt += body["usage"]["prompt_tokens"]
        finally:
            self._start(self._machine.end(ticket, perf_counter()))

    def _start(self, instructions: Instructions) -> None:
        for instruction in instructions:
            assert instruction.do is Do.START
            assert isinstance(instruction.ticket.owner, asyncio.Future)
            instruction.ticket.owner.set_result(None)

    async def close(self) -> None:
        await self._client.aclose()


async def _drive(
    name: str,
    router: Callable[[Served], Router],
    engines: Sequence[RealEngine],
    order: Sequence[list[dict[str, str]]],
    at_once: int,
) -> Found:
    fleet = _Fleet(router, engines)
    places = asyncio.Semaphore(at_once)
    took = 0.0

    async def one(messages: list[dict[str, str]]) -> None:
        nonlocal took
        start = perf_counter()
        try:
            await fleet.ask(messages)
        finally:
            places.release()
        took += perf_counter() - start

    try:
        async with asyncio.TaskGroup() as group:
            for messages in order:
                await places.acquire()
                group.create_task(one(messages))
    finally:
        await fleet.close()
    return Found(
        router=name, cached=fleet.cached, prompt=fleet.prompt, seconds=took / max(1, len(order))
    )


def measure(*, replicas: int, number: int, turns: int, seed: int, at_once: int) -> list[Found]:
    """Every router on the same turns in the same order, each over replicas just started."""
    order = mixed(conversations(number, turns, seed), seed)
    routers: list[tuple[str, Callable[[Served], Router]]] = [
        ("ours", lambda served: PrefixRouter("demo", ends=BLOCK_TOKENS, tokens=served.kv_tokens)),
        ("least loaded", lambda _: LeastLoaded("demo")),
        ("round robin", lambda _: RoundRobin()),
    ]
    found = []
    for name, router in routers:
        with ExitStack() as stack:
            engines = [
                stack.enter_context(RealEngine(f"demo-{index}", parallel=3))
                for index in range(replicas)
            ]
            found.append(asyncio.run(_drive(name, router, engines, order, at_once)))
        print(f"{name}: done", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Measure, print, and return 1 when ours does not find the most."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.real", description=__doc__)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--conversations", type=int, default=10)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=3, help="requests at the same time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(
        replicas=arguments.replicas,
        number=arguments.conversations,
        turns=arguments.turns,
        seed=arguments.seed,
        at_once=arguments.at_once,
    )
    if arguments.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        print("| router | prompt tokens found in caches | average seconds |\n|---|---|---|")
        for each in found:
            share = each.cached / max(1, each.prompt)
            print(
                f"| {each.router} | {each.cached:,} of {each.prompt:,} ({share:.1%}) "
                f"| {each.seconds:.3f} |"
            )
    return int(any(each.cached >= found[0].cached for each in found[1:]))


if __name__ == "__main__":
    sys.exit(main())
