"""Tenants with keys at a gateway, before an engine that writes at a steady pace or a real one."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic, time

from benchmarks.fairness.simulated import Got
from plimsoll.gateway.access import Caller, Grant, StaticAccess
from tests.gateway.stub import DONE, Asked, RawClient, Rig, post

PACE = 0.004  # seconds per token of the played engine
_WORDS = "What does a KV cache hold, and why does it grow with every token? "


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What one tenant asks.

    weight   its share
    callers  that ask again as soon as they are answered
    rate     requests that come per second instead
    answer   tokens, from and to
    stream   whether answers come as events
    """

    weight: int = 1
    callers: int = 0
    rate: float = 0.0
    answer: tuple[int, int] = (10, 40)
    stream: bool = True


async def paced(asked: Asked) -> None:
    """So many tokens as were asked for, one after another."""
    body = asked.json
    tokens = body["max_tokens"]
    usage = {"prompt_tokens": 20, "completion_tokens": tokens}
    if not body.get("stream"):
        await asyncio.sleep(PACE * tokens)
        message = {"role": "assistant", "content": "a " * tokens}
        answer = {"choices": [{"index": 0, "message": message}], "usage": usage}
        await asked.whole(json.dumps(answer).encode())
        return
    await asked.stream_head()
    due = monotonic()
    for _ in range(tokens):
        await asked.event("a ")
        due += PACE
        await asyncio.sleep(max(0.0, due - monotonic()))
    await asked.chunk(b"data: %b\n\n" % json.dumps({"choices": [], "usage": usage}).encode())
    await asked.chunk(DONE)
    await asked.end()


def guard(tenants: Mapping[str, Asking]) -> StaticAccess:
    """A guard that knows a key per tenant: its name."""
    return StaticAccess(
        [
            Grant(
                digest=sha256(name.encode()).digest(),
                caller=Caller(tenant=name, weight=asking.weight),
            )
            for name, asking in tenants.items()
        ],
        clock=time,
    )


class Crowd:
    """The callers of every tenant; see `run`."""

    def __init__(self, the: Rig, model: str, tenants: Mapping[str, Asking], seed: int = 0) -> None:
        self._the = the
        self._model = model
        self._tenants = tenants
        self._random = {name: random.Random(f"{seed} {name}") for name in tenants}
        self._since = 0.0
        self.got = {name: Got() for name in tenants}

    async def run(self, seconds: float) -> dict[str, Got]:
        """What each tenant gets in that time, the first fifth not counted."""
        self._since = monotonic() + seconds / 5
        tasks = [
            asyncio.ensure_future(self._caller(name) if turn else self._arrivals(name))
            for name, asking in self._tenants.items()
            for turn in ([True] * asking.callers or [False])
        ]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception) and not isinstance(ended, asyncio.CancelledError):
                raise ended
        return self.got

    async def _caller(self, name: str) -> None:
        client = await self._the.connect()
        try:
            while True:
                await self._ask(name, client)
        finally:
            await client.close()

    async def _arrivals(self, name: str) -> None:
        rng, rate = self._random[name], self._tenants[name].rate
        idle: list[RawClient] = []

        async def one() -> None:
            client = idle.pop() if idle else await self._the.connect()
            await self._ask(name, client)
            idle.append(client)

        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(rng.expovariate(rate))
                group.create_task(one())

    async def _ask(self, name: str, client: RawClient) -> None:
        asking, rng = self._tenants[name], self._random[name]
        tokens = rng.randint(*asking.answer)
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": f"{rng.random()} {_WORDS}"}],
            "max_tokens": tokens,
            "stream": asking.stream,
            "ignore_eos": True,
            "temperature": 0,
        }
        began = monotonic()
        client.send(post(body, "/v1/chat/completions", f"Authorization: Bearer {name}"))
        reply = await client.reply()
        assert reply.status == 200, reply.body
        now = monotonic()
        if now >= self._since:
            self.got[name].tokens += tokens
            self.got[name].seconds.append(now - began)
