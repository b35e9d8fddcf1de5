"""An engine whose every fault is at a test's hand, and raw connections to a gateway.

The same rules are run against a real engine in `test_real_engine.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from plimsoll.gateway import Board, Gateway, GatewaySettings, Served, Upstream, new_event_loop
from plimsoll.gateway.access import Access
from plimsoll.telemetry.access_log import AccessLog
from plimsoll.telemetry.metrics import GatewayMetrics

CHAT = Served(name="chat", aliases=("talk",), task="chat", context=2048)
EMBED = Served(name="embed", task="embedding", context=512)
MESSAGES = [{"role": "user", "content": "What is MIG?"}]


def run(main: Callable[[], Awaitable[None]], *, seconds: float = 30.0) -> None:
    """Run an async test on the loop that the gateway is measured with."""

    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await main()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(bounded())


async def until(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Look until a condition holds; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- conditions are of any kind
            await asyncio.sleep(0.002)


@dataclass(eq=False)
class Asked:
    """One request as the stub got it.

    gone  set when the gateway closed the connection before the answer was whole
    """

    line: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def whole(self, body: bytes, *, status: str = "200 OK", kind: str = "json") -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/{kind}\r\n"
        await self.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    async def stream_head(self) -> None:
        await self.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, text: str) -> None:
        await self.chunk(event(text))

    async def end(self) -> None:
        await self.send(b"0\r\n\r\n")


def event(text: str) -> bytes:
    delta = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", **delta}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
REPLY = json.dumps(
    {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "A slice."}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }
).encode()
Handler = Callable[[Asked], Awaitable[None]]


async def good(asked: Asked) -> None:
    """A right answer, streamed or not."""
    if not asked.json.get("stream"):
        await asked.whole(REPLY)
        return
    await asked.stream_head()
    for word in ("A", " slice", "."):
        await asked.event(word)
    await asked.chunk(DONE)
    await asked.end()


class StubEngine:
    """One replica.

    asked    every request so far
    handler  what is done with the next one
    """

    def __init__(self, name: str = "chat-0", handler: Handler = good) -> None:
        self.name = name
        self.handler = handler
        self.asked: list[Asked] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def upstream(self, capacity: int = 4) -> Upstream:
        return Upstream(replica=self.name, host="127.0.0.1", port=self.port, capacity=capacity)

    async def kill(self) -> None:
        """Die as a process does: nobody listens, every connection is reset."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = head.split("\r\n")
        headers = dict(row.lower().split(": ", 1) for row in rest if row)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = Asked(line, headers, body, writer)
        self.asked.append(asked)
        handling = asyncio.ensure_future(self.handler(asked))
        leaving = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({handling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if handling.done():
            # The next request begins with the byte that `leaving` waits for: one request per
            # connection keeps the stub simple, unless nothing was read yet.
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            if isinstance(handling.exception(), ConnectionError):
                asked.gone.set()
                return False
            handling.result()
            return leaving.cancelled()
        asked.gone.set()
        handling.cancel()
        await asyncio.gather(handling, leaving, return_exceptions=True)
        return False


@dataclass
class Rig:
    """A gateway with stub engines.

    url   where it listens
    """

    gateway: Gateway
    board: Board
    metrics: GatewayMetrics
    host: str
    port: int
    engines: list[StubEngine]
    clients: list[RawClient] = field(default_factory=list)

    @property
    def engine(self) -> StubEngine:
        return self.engines[0]

    async def connect(self) -> RawClient:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        client = RawClient(reader, writer)
        self.clients.append(client)
        return client

    async def ask(self, data: bytes) -> Reply:
        """Send bytes on a new connection and read one answer."""
        client = await self.connect()
        try:
            client.send(data)
            return await client.reply()
        finally:
            await client.close()

    def numbers(self) -> str:
        return self.metrics.text().decode()

    def idle(self) -> bool:
        demand = self.board.demand().values()
        return all(not each.in_flight and not each.queued for each in demand)


@asynccontextmanager
async def rig(
    *engines: StubEngine,
    settings: GatewaySettings | None = None,
    capacity: int = 4,
    served: Served = CHAT,
    wake: Callable[[str], None] | None = None,
    log: AccessLog | None = None,
    access: Access | None = None,
) -> AsyncIterator[Rig]:
    """A gateway before stub engines, started and closed; its counts must end at zero."""
    board = Board([served, EMBED], wake=wake)
    metrics = GatewayMetrics()
    gateway = Gateway(
        board=board,
        settings=settings or GatewaySettings(),
        metrics=metrics,
        log=log,
        access=access,
    )
    host, port = await gateway.start("127.0.0.1", 0)
    for engine in engines:
        await engine.start()
    board.update(served.name, tuple(engine.upstream(capacity) for engine in engines))
    the_rig = Rig(gateway, board, metrics, host, port, list(engines))
    try:
        yield the_rig
        await until(the_rig.idle)
    finally:
        for client in the_rig.clients:
            await client.close()
        for engine in engines:
            await engine.kill()
        await gateway.close()
    assert the_rig.idle()


@dataclass
class Reply:
    """One answer as a client reads it.

    rest  bytes after it
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


class RawClient:
    """A client that sends what it is told, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *rows = text.rstrip("\r\n").split("\r\n")
        return int(line.split()[1]), {
            row.split(":", 1)[0].lower(): row.split(":", 1)[1].strip() for row in rows
        }

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def reply(self) -> Reply:
        status, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while piece := await self.chunk():
                body += piece
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Reply(status, headers, body)

    async def at_end(self) -> bool:
        """Whether the gateway has closed the connection and sent nothing more."""
        return await self.reader.read() == b""

    async def close(self) -> None:
        self.writer.transport.abort()


def post(body: bytes | dict[str, Any], path: str = "/v1/chat/completions", *headers: str) -> bytes:
    """A whole request."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + data


def chat(*, stream: bool = False, **more: object) -> bytes:
    """A whole, right chat request."""
    return post({"model": "chat", "messages": MESSAGES, "stream": stream, **more})


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: gateway", *headers, "", ""]).encode()
