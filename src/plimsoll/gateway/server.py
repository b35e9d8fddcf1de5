"""The gateway: listens, serves, lets time pass, drains and closes."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from dataclasses import replace
from time import monotonic, time

import uvloop

from plimsoll.errors import Failed, PortTaken
from plimsoll.gateway.board import Board
from plimsoll.gateway.connection import ClientConnection
from plimsoll.gateway.exchange import Means
from plimsoll.gateway.pages import Pages
from plimsoll.gateway.queue import QueueLimits
from plimsoll.gateway.service import Connection, Service
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.upstream import Pool
from plimsoll.telemetry.access_log import AccessLog
from plimsoll.telemetry.metrics import Depth, GatewayMetrics

_TICK = 0.1  # seconds; every limit of time is at least ten of them
_BACKLOG = 1024  # connections that the system keeps until they are accepted
_NEIGHBOURS = 20  # ports tried after a taken one, for the hint

new_event_loop = uvloop.new_event_loop
"""The event loop that the gateway is measured with, for `asyncio.Runner(loop_factory=...)`."""


class Gateway:
    """One gateway on one port.

    board     what it serves and who answers
    settings  its limits
    metrics   its numbers
    log       where access lines go, or None
    """

    def __init__(
        self,
        *,
        board: Board,
        settings: GatewaySettings,
        metrics: GatewayMetrics,
        log: AccessLog | None = None,
    ) -> None:
        self._board = board
        self._pool = Pool(settings.keep_seconds)
        self._pages = Pages(board, created=int(time()))
        means = Means(board=board, pool=self._pool, settings=settings, metrics=metrics, log=log)
        self._service = Service(means=means, pages=self._pages)
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        board.limit(QueueLimits(requests=settings.queue_requests, bytes=settings.queue_bytes))
        board.watch(self._replicas_changed)
        metrics.watch(self._depths)
        self._metrics = metrics
        self._replicas_changed()

    async def start(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None
    ) -> tuple[str, int]:
        """Listen; the address and the port, which the system chooses for port 0.

        An empty host is every address of the machine, of IPv6 and IPv4.

        Raises PortTaken, and Failed for an address that cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        try:
            where = {"host": host, "port": port} if host else {"sock": _every_address(port)}
            self._server = await loop.create_server(
                lambda: ClientConnection(self._service),
                **where,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=self._service.settings.head_seconds if tls else None,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _port_taken(host, port) from error
            raise Failed(
                f"cannot listen: {error.strerror or error}", where=f"{host}:{port}"
            ) from error
        self._ticker = loop.create_task(self._tick())
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    async def drain(self, seconds: float) -> int:
        """Stop accepting, finish what is going on until the deadline, then cut the rest.

        Returns how many requests were cut.
        """
        self._service.draining = self._pages.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._service.connections):
            connection.retire()
        deadline = monotonic() + seconds
        while self._answering() and monotonic() < deadline:  # noqa: ASYNC110 -- a count, no event
            await asyncio.sleep(_TICK / 5)
        return sum(connection.cut() for connection in list(self._service.connections))

    async def close(self) -> None:
        """Close everything at once; what was written already is sent."""
        self._service.draining = self._pages.draining = True
        if self._server is not None:
            self._server.close()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        for connection in list(self._service.connections):
            connection.cut()
        await self._emptied()
        for connection in list(self._service.connections):
            connection.abort()
        self._pool.close()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def _emptied(self) -> None:
        deadline = monotonic() + 2 * _TICK
        while self._service.connections and monotonic() < deadline:  # noqa: ASYNC110 -- a count
            await asyncio.sleep(_TICK / 10)

    def _answering(self) -> bool:
        return any(connection.answering for connection in self._service.connections)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            now = monotonic()
            for connection in list(self._service.connections):
                self._tick_one(connection, now)
            self._board.tick(now)

    def _tick_one(self, connection: Connection, now: float) -> None:
        try:
            connection.tick(now)
        except Exception as error:  # noqa: BLE001 -- reported; the other connections' time must go on
            message = "a client connection failed at a time limit"
            context = {"message": message, "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            connection.abort()

    def configure(self, settings: GatewaySettings) -> None:
        """Take other limits; requests that run keep those that they began with."""
        self._service.means = replace(self._service.means, settings=settings)
        self._board.limit(QueueLimits(requests=settings.queue_requests, bytes=settings.queue_bytes))

    def _replicas_changed(self) -> None:
        for name in self._board.names():
            self._metrics.model(name)
        self._pool.keep_only(self._board.upstreams())

    def _depths(self) -> list[Depth]:
        return [
            Depth(
                model=queue.served.name,
                queued=queue.queued,
                in_flight=queue.in_flight,
                replicas=len(queue.places),
            )
            for queue in self._board.queues()
        ]


def _every_address(port: int) -> socket.socket:
    """A socket for IPv6 and IPv4 together, or for IPv4 where the machine has no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    return socket.create_server(("", port), backlog=_BACKLOG)


def _port_taken(host: str, port: int) -> PortTaken:
    free = _free_port(host, port)
    hint = f"port {free} is free" if free else "choose another port"
    return PortTaken(f"port {port} is taken", where=f"{host}:{port}", hint=hint)


def _free_port(host: str, taken: int) -> int | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in (*range(taken + 1, min(taken + _NEIGHBOURS, 65535) + 1), 0):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return None
