"""Loads: as many requests as go (wrk), a fixed rate, and streams. Every answer is checked."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httptools

from benchmarks.http_layer.upstream import CHUNKS

KEY = "sk-benchmark"
_SIZE = 900  # bytes of the prompt: a request of about one KB
_CHUNK = b"data: {"
_PATIENCE = 120.0  # seconds for the last answers of a load


def body(*, stream: bool, milliseconds: int = 0) -> bytes:
    """A chat request; a stream has a chunk every so many milliseconds, 0: no pause."""
    fields: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": "x" * _SIZE}],
        "stream": stream,
    }
    if milliseconds:
        fields["seed"] = milliseconds
    return json.dumps(fields, separators=(",", ":")).encode()


def request(data: bytes) -> bytes:
    """The body as a whole request."""
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAccept: */*\r\n"
        "User-Agent: load\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


@dataclass(kw_only=True)
class Counted:
    """What came back.

    answers  whole answers with status 200, streams with all their chunks
    errors   other answers and broken connections
    chunks   chunks of streams
    seconds  from the first request to the last answer
    delays   seconds of each answer; of a stream, to its first chunk
    """

    answers: int = 0
    errors: int = 0
    chunks: int = 0
    seconds: float = 0.0
    delays: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Seconds that this share of the answers stayed under."""
        return sorted(self.delays)[min(len(self.delays) - 1, int(len(self.delays) * share))]


def wrk() -> str | None:
    """Where wrk is installed."""
    return shutil.which("wrk")


def closed(port: int, *, connections: int, seconds: float, file: Path) -> Counted:
    """wrk: every connection asks again as soon as it has its answer. `delays` has p50 and p99."""
    said = subprocess.run(
        [
            "wrk", "--threads", "1", "--connections", str(connections), "--timeout", "60s",
            "--duration", f"{max(1, round(seconds))}s", "--latency",
            "--script", str(Path(__file__).with_name("post.lua")),
            f"http://127.0.0.1:{port}/v1/chat/completions", "--", str(file), KEY,
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout  # fmt: skip
    row = json.loads(said.rstrip().splitlines()[-1])
    return Counted(
        answers=row["answers"] - row["errors"],
        errors=row["errors"],
        seconds=row["microseconds"] / 1e6,
        delays=[row["p50"] / 1e6, row["p99"] / 1e6],
    )


class _Asker(asyncio.Protocol):
    """One connection; it asks whenever it is told to, one answer after another."""

    def __init__(self, data: bytes, counted: Counted, *, stream: bool) -> None:
        self._data = data
        self._counted = counted
        self._stream = stream
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._asked = 0.0
        self._chunks = 0
        self._tail = b""
        self._answer: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, due: float) -> asyncio.Future[None]:
        """Send; the delay is counted from when it was due."""
        assert self._transport is not None
        self._asked = due
        self._chunks = 0
        self._tail = b""
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            self.connection_lost(None)
        else:
            self._transport.write(self._data)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        if not self._stream:
            return
        data = self._tail + data
        self._tail = data[1 - len(_CHUNK) :]  # a chunk's beginning may be cut in two
        found = data.count(_CHUNK)
        if found and not self._chunks:
            self._counted.delays.append(time.perf_counter() - self._asked)
        self._chunks += found

    def on_message_complete(self) -> None:
        counted = self._counted
        if not self._stream:
            counted.delays.append(time.perf_counter() - self._asked)
        counted.chunks += self._chunks
        whole = not self._stream or self._chunks >= CHUNKS
        if self._parser.get_status_code() == 200 and whole:
            counted.answers += 1
        else:
            counted.errors += 1
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._counted.errors += 1
            self._answer.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def _open(port: int, count: int, data: bytes, counted: Counted, *, stream: bool) -> Any:
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        _, asker = await loop.create_connection(
            lambda: _Asker(data, counted, stream=stream), "127.0.0.1", port
        )
        made.append(asker)
    return made


async def fixed_rate(port: int, *, per_second: float, seconds: float) -> Counted:
    """Requests at a fixed rate on kept connections; each delay counts from when it was due."""
    counted = Counted()
    idle = await _open(port, 8, request(body(stream=False)), counted, stream=False)
    connections = list(idle)
    waiting: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        if not idle:
            idle.extend(await _open(port, 1, request(body(stream=False)), counted, stream=False))
            connections.append(idle[-1])
        asker = idle.pop(0)
        await asker.ask(due)
        idle.append(asker)

    began = time.perf_counter()
    for number in range(int(per_second * seconds)):
        due = began + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        waiting.add(asyncio.create_task(one(due)))
    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*waiting)
    counted.seconds = time.perf_counter() - began
    for asker in connections:
        asker.close()
    return counted


async def streams(port: int, *, connections: int, milliseconds: int, seconds: float) -> Counted:
    """Streams, one after another on each connection; none begins after so many seconds."""
    counted = Counted()
    data = request(body(stream=True, milliseconds=milliseconds))
    askers = await _open(port, connections, data, counted, stream=True)
    began = time.perf_counter()

    async def go_on(asker: _Asker) -> None:
        while True:
            await asker.ask(time.perf_counter())
            if time.perf_counter() - began >= seconds:
                return

    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*(go_on(asker) for asker in askers))
    counted.seconds = time.perf_counter() - began
    for asker in askers:
        asker.close()
    return counted
