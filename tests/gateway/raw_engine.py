"""An engine that keeps every byte it gets and answers with whatever bytes a test gives it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import NamedTuple

from plimsoll.gateway import Upstream
from tests.gateway.stub import REPLY

_HEAD = re.compile(
    rb"POST (/v1/[a-z/]+) HTTP/1\.1\r\n"
    rb"host: [0-9.]+:\d+\r\n"
    rb"content-type: application/json\r\n"
    rb"content-length: (0|[1-9]\d*)\r\n"
    rb"x-request-id: [A-Za-z0-9._:\-]{1,128}\r\n"
    rb"(?:trace(?:parent|state): [\x21-\x7e ]*\r\n)*"
    rb"\r\n"
)
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(REPLY),
    REPLY,
)


class Said(NamedTuple):
    """One request as it came over the wire."""

    path: bytes
    body: bytes


def requests(data: bytes) -> tuple[list[Said], bytes]:
    """The requests in the bytes of one connection, and the beginning of one at their end.

    Fails where anything else stands than a request of exactly the shape that the gateway writes.
    """
    found = []
    while data:
        head = _HEAD.match(data)
        if head is None:
            assert b"\r\n\r\n" not in data, data[:500]
            break
        size = int(head[2])
        if len(data) < head.end() + size:
            break
        found.append(Said(head[1], data[head.end() : head.end() + size]))
        data = data[head.end() + size :]
    return found, data


class _Connection(asyncio.Protocol):
    def __init__(self, engine: RawEngine) -> None:
        self.received = b""
        self.ended = False
        self.transport: asyncio.Transport = None  # type: ignore[assignment] -- before it opens
        self._engine = engine
        self._answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] -- uvloop's are not subclasses
        self._engine.connections.append(self)

    def data_received(self, data: bytes) -> None:
        self.received += data
        found, _ = requests(self.received)
        for said in found[self._answered :]:
            self._answered += 1
            self._engine.answer(self, said)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True


class RawEngine:
    """One replica, told byte for byte what to say.

    answer       what is done about a request
    connections  every one so far, with all that came over it
    """

    def __init__(
        self,
        name: str = "chat-0",
        answer: Callable[[_Connection, Said], None] | None = None,
    ) -> None:
        self.name = name
        self.port = 0
        self.connections: list[_Connection] = []
        self.answer = answer or (lambda connection, _said: connection.transport.write(WHOLE))
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def upstream(self, capacity: int = 4) -> Upstream:
        return Upstream(replica=self.name, host="127.0.0.1", port=self.port, capacity=capacity)

    async def kill(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            if not connection.ended:
                connection.transport.abort()

    def heard(self) -> list[Said]:
        """Every request; fails when a connection carried anything else."""
        found = []
        for connection in self.connections:
            said, rest = requests(connection.received)
            assert not rest, rest[:500]
            found += said
        return found
