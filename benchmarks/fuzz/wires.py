"""A gateway in one process without sockets: its own classes, on transports that keep bytes, with
time at the caller's hand.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, cast

from plimsoll.gateway import Board, GatewaySettings
from plimsoll.gateway.connection import ClientConnection
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.one_try import Means
from plimsoll.gateway.pages import Pages
from plimsoll.gateway.service import Service
from plimsoll.gateway.upstream import Kept, Opening, Pool, Ready, UpstreamConnection
from plimsoll.policy.requests.types import Served, Upstream
from plimsoll.telemetry.metrics import GatewayMetrics

SETTINGS = GatewaySettings(
    max_body=3000, max_bodies=20_000, max_target=100, max_head=1000, max_headers=12,
    max_pipelined=4, max_connections=8, max_reply=20_000, max_event=5000, queue_requests=6,
    queue_bytes=10_000,
)  # fmt: skip
MODELS = (
    Served(name="chat", aliases=("talk",), task="chat", context=2048, continues=True),
    Served(
        name="shy", task="chat", context=2048, assemble=True, continues=True,
        stream_fields={"return_progress": True}, fallbacks=("chat",),
    ),
    Served(name="embed", task="embedding", context=512),
)  # fmt: skip
_HEAD = re.compile(
    rb"(?:POST|GET) /[a-z0-9_/]+ HTTP/1\.1\r\nhost: [a-z0-9.]+:\d+\r\n"
    rb"content-type: application/json\r\ncontent-length: (0|[1-9]\d*)\r\n"
    rb"x-request-id: [A-Za-z0-9._:\-]{1,128}\r\n(?:trace(?:parent|state): [^\r\n\0]*\r\n)*\r\n"
)
_NEVER_READ, _NEVER_WRITTEN = socket.socketpair()


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now

    @contextmanager
    def rules(self) -> Iterator[None]:
        """Be the monotonic clock of every module of the gateway for a while."""
        ruled = [
            vars(module)
            for name, module in list(sys.modules.items())
            if name.startswith("plimsoll.gateway") and hasattr(module, "monotonic")
        ]
        for names in ruled:
            names["monotonic"] = self
        try:
            yield
        finally:
            for names in ruled:
                names["monotonic"] = monotonic


class Wire:
    """A transport that keeps what is written.

    written  so far
    closing  whether the gateway has closed it
    ended    whether the gateway has said that it sends no more
    lost     whether the protocol was told that it is gone
    """

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.written = b""
        self.closing = False
        self.ended = False
        self.lost = False
        self.paused = False
        self.protocol = protocol
        protocol.connection_made(cast(asyncio.BaseTransport, self))

    def write(self, data: bytes) -> None:
        """Keep bytes."""
        assert not self.ended, "written after the end"
        if not self.closing:
            self.written += bytes(data)

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        """Keep bytes."""
        self.write(b"".join(parts))

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing waits here."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def get_extra_info(self, name: str) -> socket.socket:
        """A socket from which nothing is to be read."""
        return _NEVER_READ

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """Send no more."""
        self.ended = True

    def pause_reading(self) -> None:
        """Take no more."""
        self.paused = True

    def resume_reading(self) -> None:
        """Take more."""
        self.paused = False

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self.closing

    def close(self) -> None:
        """Close."""
        self.closing = True

    abort = close

    def receive(self, data: bytes) -> None:
        """Bytes come in."""
        if not (self.closing or self.lost or self.paused):
            self.protocol.data_received(data)

    def lose(self, error: Exception | None = None, *, politely: bool = False) -> None:
        """The connection is gone: its protocol is told, once."""
        if self.lost:
            return
        if politely and not self.closing:
            self.protocol.eof_received()
        self.lost = self.closing = True
        self.protocol.connection_lost(error)


class EngineWire(Wire):
    """One connection to an engine.

    to_say  what the engine will say, in pieces
    then    what it does after the last of them: stays | closes | resets
    """

    def __init__(self, protocol: UpstreamConnection) -> None:
        self.to_say: list[bytes] = []
        self.then = "stays"
        self.answered = 0
        super().__init__(protocol)

    def asked(self) -> list[bytes]:
        """The bodies of whole requests so far; fails when anything else came over this wire."""
        data, found = self.written, []
        while data:
            head = _HEAD.match(data)
            assert head is not None, data[:500]
            body = data[head.end() : head.end() + int(head[1])]
            assert len(body) == int(head[1]), "half a request to an engine"
            found.append(body)
            data = data[head.end() + len(body) :]
        return found


class _NoTask:
    def __init__(self, cancel: Callable[[], None]) -> None:
        self.cancel = cancel


class EnginePool(Pool):
    """Connections to engines that are played.

    opening  those that are being opened
    wires    every one that was
    """

    def __init__(self) -> None:
        super().__init__(4.0)
        self.opening: list[tuple[Upstream, Ready]] = []
        self.wires: list[EngineWire] = []

    def open(self, upstream: Upstream, ready: Ready) -> Opening:
        """Be asked for a connection; `accept` or `refuse` answers."""
        wish = (upstream, ready)
        self.opening.append(wish)

        def cancel() -> None:
            if wish in self.opening:
                self.opening.remove(wish)

        return Opening(cast(Any, _NoTask(cancel)))

    def accept(self, at: int) -> None:
        """One of those that are being opened is open."""
        upstream, ready = self.opening.pop(at)
        kept = self._kept.get(upstream)
        if kept is None:
            kept = Kept(upstream)
            kept.wanted = False
        connection = UpstreamConnection(self, kept)
        self.wires.append(EngineWire(connection))
        self._all.add(connection)
        ready(connection, "")

    def refuse(self, at: int) -> None:
        """One of those that are being opened cannot be."""
        _, ready = self.opening.pop(at)
        ready(None, "refused")

    def left(self) -> int:
        """Connections that it believes to be open."""
        return len(self._all)


class Player(ClientConnection):
    """A client connection that counts its requests.

    requests  that were whole
    """

    requests = 0

    def request_read(self, request: Request) -> None:
        """Count one."""
        self.requests += 1
        super().request_read(request)


class World:
    """A gateway without sockets."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.board = Board(MODELS, clock=clock)
        self.metrics = GatewayMetrics()
        self.pool = EnginePool()
        means = Means(
            board=self.board, pool=self.pool, settings=SETTINGS, metrics=self.metrics, log=None
        )
        pages = Pages(self.board, self.metrics.recent, created=0)
        self.service = Service(means=means, pages=pages)
        self.board.watch(lambda: self.pool.keep_only(self.board.upstreams()))
        for served in MODELS:
            self.metrics.model(served.name)
        self.replicas(2)

    def replicas(self, count: int, capacity: int = 2) -> None:
        """Have so many replicas of each model that is offered."""
        for name in self.board.names():
            self.board.update(
                name,
                tuple(
                    Upstream(replica=f"{name}-{n}", host="a", port=1 + n, capacity=capacity)
                    for n in range(count)
                ),
            )

    def check_empty(self) -> None:
        """Fails when anything is left of requests."""
        assert self.service.bodies == 0, f"{self.service.bodies} bytes of bodies left"
        assert not self.service.connections, "connections left"
        for name, demand in self.board.demand().items():
            assert not demand.queued, f"{demand.queued} queued at {name}"
            assert not demand.in_flight, f"{demand.in_flight} in flight at {name}"
            for place in self.board.places(name):
                assert place.in_flight == 0, f"{place.in_flight} at {place.upstream.replica}"
                assert place.prefill == 0, f"{place.prefill} of prefill left"
                assert place.context == 0, f"{place.context} of context left"
                assert self.board.in_flight(place.upstream.replica) == 0, "in flight at a replica"
        assert not self.pool.opening, "connections being opened"
        open_ = [wire for wire in self.pool.wires if not wire.lost and not wire.closing]
        assert self.pool.left() == len(open_), (self.pool.left(), len(open_))
