"""A gateway on loopback, stub engines and callers who all do their worst at random."""

# ruff: noqa: SLF001 -- what is left behind is looked for inside

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

from benchmarks.fuzz.corpus import BODIES, REQUESTS
from plimsoll.gateway import GatewaySettings, Served
from tests.gateway.stub import (
    DONE,
    EMBED,
    REPLY,
    Asked,
    RawClient,
    Rig,
    StubEngine,
    get,
    post,
    rig,
)

SETTINGS = GatewaySettings(
    head_seconds=1.0, body_seconds=1.0, idle_seconds=3.0, write_seconds=1.0, queue_wait=0.5,
    connect_seconds=0.5, first_byte_seconds=0.5, between_seconds=0.5, max_stream=2.0,
    queue_requests=40, linger_seconds=0.3,
)  # fmt: skip
_CHAT = Served(
    name="chat", aliases=("talk",), task="chat", context=2048, continues=True, fallbacks=("shy",)
)
_SHY = Served(name="shy", task="chat", context=2048, assemble=True, fallbacks=("chat",))
_CALLERS = 24
_PATIENCE = 4.0  # seconds that a caller stays at most


class Disasters:
    """One soak; see `run`. `done` counts what was done."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._engines: list[StubEngine] = []
        self._left = 0
        self.done: Counter[str] = Counter()

    async def run(self, events: int) -> Rig:
        """Do so many things, then let everything end, and check that nothing is left."""
        self._left = events
        problems: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(str(context)))
        async with rig(served=_CHAT, settings=SETTINGS) as the:
            the.board.offer([_CHAT, _SHY, EMBED])
            for number in range(4):
                await self._start(f"e-{number}")
            self._place(the)
            async with asyncio.TaskGroup() as group:
                for _ in range(_CALLERS):
                    group.create_task(self._caller(the))
                group.create_task(self._fleet(the))
            the.board.offer([_CHAT, _SHY, EMBED])
            await check_nothing_left(the)
            assert not problems, problems
            for engine in self._engines:
                await engine.kill()
            return the

    def _take(self, what: str) -> bool:
        if self._left <= 0:
            return False
        self._left -= 1
        self.done[what] += 1
        return True

    async def _start(self, name: str) -> None:
        engine = StubEngine(name, self._answer)
        await engine.start()
        self._engines.append(engine)

    def _place(self, the: Rig) -> None:
        rng = self._rng
        names = the.board.names()
        for model in ("chat", "shy"):
            if model in names:
                some = rng.sample(self._engines, rng.randint(0, len(self._engines)))
                the.board.update(model, tuple(each.upstream(rng.randint(1, 4)) for each in some))

    # What engines do.

    async def _answer(self, asked: Asked) -> None:
        try:
            await self._say(asked)
        except RuntimeError as error:  # uvloop's word for a connection that is closed
            raise ConnectionResetError from error

    async def _say(self, asked: Asked) -> None:
        rng = self._rng
        asked_for = asked.json
        if rng.random() < 0.1:
            await asyncio.sleep(rng.choice((0.01, 0.1, 0.7)))
        match rng.randrange(14):
            case 0 if self._take("an engine resets"):
                asked.writer.transport.abort()
                raise ConnectionResetError
            case 1 if self._take("an engine is silent"):
                await asyncio.sleep(10)
            case 2 if self._take("an engine says 503"):
                await asked.whole(b"{}", status="503 Busy")
            case 3 if self._take("an engine says garbage"):
                await asked.send(b"SSH-2.0\r\n")
            case _ if asked_for.get("stream"):
                await self._stream(asked)
            case _:
                await asked.whole(REPLY)

    async def _stream(self, asked: Asked) -> None:
        rng = self._rng
        await asked.stream_head()
        for number in range(rng.randint(0, 12)):
            await asked.event(f" word{number}")
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() * 0.02)
            if rng.random() < 0.02 and self._take("an engine dies in a stream"):
                asked.writer.transport.abort()
                raise ConnectionResetError
            if rng.random() < 0.01 and self._take("an engine falls silent"):
                await asyncio.sleep(10)
        finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await asked.chunk(b"data: %b\n\n" % json.dumps(finish).encode() + DONE)
        await asked.end()

    # What callers do.

    async def _caller(self, the: Rig) -> None:
        rng = self._rng
        leave: dict[str, Callable[[RawClient], Awaitable[None]]] = {
            "closes": _closes, "resets": _resets, "closes half": _closes_half,
        }  # fmt: skip
        while self._left > 0:
            client = await the.connect()
            for _ in range(rng.randint(1, 3)):
                client.send(self._request())
            how = rng.choice([*leave, "stays", "stays", "stops reading"])
            try:
                if how in leave:
                    await asyncio.sleep(rng.choice((0, 0, 0.002, 0.01, 0.05, 0.3)))
                    if self._take(f"a caller {how}"):
                        await leave[how](client)
                elif how == "stops reading":
                    self._take("a caller stops reading")
                    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await asyncio.sleep(0.1)
                else:
                    async with asyncio.timeout(_PATIENCE * rng.random()):
                        await client.reply()
                        self.done["answers"] += 1
            except (OSError, EOFError, TimeoutError, ValueError):
                self._take("a caller gives up")
            finally:
                await client.close()
                the.clients.remove(client)

    def _request(self) -> bytes:
        rng = self._rng
        roll = rng.random()
        if roll < 0.03:
            return get("/v1/models")
        if roll < 0.1:
            return rng.choice(REQUESTS)
        path = rng.choice(list(BODIES))
        body = {**rng.choice(BODIES[path])}
        if body["model"] == "talk" or rng.random() < 0.2:
            body["model"] = rng.choice(("chat", "shy"))
        data = post(body, path.decode())
        return data[: rng.randint(1, len(data))] if rng.random() < 0.1 else data

    # What the fleet does.

    async def _fleet(self, the: Rig) -> None:
        rng = self._rng
        number = len(self._engines)
        while self._left > 0:
            await asyncio.sleep(0.01)
            match rng.randrange(5):
                case 0 if self._take("an engine is killed"):
                    engine = self._engines.pop(rng.randrange(len(self._engines)))
                    await engine.kill()
                    await self._start(f"e-{number}")
                    number += 1
                case 1 | 2 if self._take("replicas change"):
                    self._place(the)
                case 3 if self._take("a model is withdrawn"):
                    the.board.offer(rng.sample([_CHAT, _SHY, EMBED], rng.randint(1, 3)))
                    await asyncio.sleep(0.005)
                    the.board.offer([_CHAT, _SHY, EMBED])
                    self._place(the)
                case 4 if self._take("settings change"):
                    tight = replace(
                        SETTINGS,
                        queue_requests=rng.choice((1, 5, 40)),
                        tries=rng.choice((1, 3)),
                        continuation=rng.random() < 0.7,
                    )
                    the.gateway.configure(tight)
                case _:
                    pass


async def _closes(client: RawClient) -> None:
    client.writer.close()


async def _resets(client: RawClient) -> None:
    sock = client.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


async def _closes_half(client: RawClient) -> None:
    if client.writer.can_write_eof():
        client.writer.write_eof()
    await asyncio.sleep(0.01)


async def check_nothing_left(the: Rig) -> None:
    """Fails when a few seconds later anything is left of requests."""
    service, pool, board = the.gateway._service, the.gateway._pool, the.board

    def left() -> dict[str, object]:
        places = {
            place.upstream.replica: (place.in_flight, place.prefill, place.context)
            for name in board.names()
            for place in board.places(name)
        }
        idle = sum(len(kept.idle) for kept in pool._kept.values())
        found: dict[str, object] = {
            "bodies": service.bodies,
            "connections": len(service.connections),
            "demand": [
                (name, each.queued, each.in_flight)
                for name, each in board.demand().items()
                if each.queued or each.in_flight
            ],
            "places": {name: each for name, each in places.items() if any(each)},
            "connections to engines that are not idle": len(pool._all) - idle,
            "connections being opened": len(pool._tasks),
        }
        return {name: value for name, value in found.items() if value}

    for _ in range(500):
        if not left():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(left())
