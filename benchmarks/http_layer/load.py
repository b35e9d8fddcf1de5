"""Closed-loop load: connections that ask, read the whole answer, and ask again."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import cast

import httptools


def request(*, stream: bool, size: int = 900) -> bytes:
    """A chat request of about `size` bytes."""
    body = json.dumps(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "x" * size}],
            "stream": stream,
        },
        separators=(",", ":"),
    ).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAccept: */*\r\n"
        "User-Agent: load\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer key\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(kw_only=True)
class Counted:
    """What came back.

    answers  whole answers with status 200
    errors   other answers and broken connections
    chunks   chunks of streams
    delays   seconds of each answer
    """

    answers: int
    errors: int
    chunks: int
    delays: list[float]


class _Asker(asyncio.Protocol):
    def __init__(self, data: bytes, counted: Counted, until: float) -> None:
        self._data = data
        self._counted = counted
        self._until = until
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._asked = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._asked = time.perf_counter()
        self._transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        self._counted.chunks += data.count(b"data: {")
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._counted.delays.append(now - self._asked)
        if self._parser.get_status_code() == 200:
            self._counted.answers += 1
        else:
            self._counted.errors += 1
        if now < self._until:
            self._ask()
        elif self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self._until:
            self._counted.errors += 1
        if not self.done.done():
            self.done.set_result(exc)


async def load(port: int, *, connections: int, stream: bool, seconds: float) -> Counted:
    """Load a gateway; every connection ends its last answer."""
    counted = Counted(answers=0, errors=0, chunks=0, delays=[])
    data = request(stream=stream)
    loop = asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    askers = []
    for _ in range(connections):
        _, asker = await loop.create_connection(
            lambda: _Asker(data, counted, until), "127.0.0.1", port
        )
        askers.append(asker.done)
    await asyncio.gather(*askers)
    return counted
