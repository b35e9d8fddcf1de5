"""The floor: asyncio, httptools and uvloop with nothing on top. No checks, limits, queue, routing,
retries or metrics, one upstream, and a caller that leaves is not noticed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"


class Engine(asyncio.Protocol):
    """One kept connection to the engine; its bytes go on as they come."""

    def __init__(self, idle: deque[Engine]) -> None:
        self.client: Client | None = None
        self.transport: asyncio.Transport | None = None
        self._idle = idle
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass on, then see whether that was the end."""
        if self.client is not None and self.client.transport is not None:
            self.client.transport.write(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.client = None
        self._idle.append(self)


class Client(asyncio.Protocol):
    """One caller."""

    def __init__(self, port: int, idle: deque[Engine]) -> None:
        self.transport: asyncio.Transport | None = None
        self._port = port
        self._idle = idle
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._body += data

    def on_message_complete(self) -> None:
        """The request is whole: send it on."""
        if self._idle:
            self._send(self._idle.pop())
        else:
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        _, engine = await loop.create_connection(
            lambda: Engine(self._idle), "127.0.0.1", self._port
        )
        self._send(engine)

    def _send(self, engine: Engine) -> None:
        body, self._body = self._body, b""
        engine.client = self
        assert engine.transport is not None
        engine.transport.write(HEAD % len(body) + body)


async def bare(port: int, upstream: int) -> None:
    """Relay until killed."""
    idle: deque[Engine] = deque()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Client(upstream, idle), "127.0.0.1", port)
    print("ready", flush=True)
    await asyncio.Event().wait()
