"""The gateway: listens, serves, lets time pass, drains and closes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import replace
from time import monotonic, time

import uvloop

from plimsoll.gateway.access import Access, Open
from plimsoll.gateway.board import Board
from plimsoll.gateway.connection import ClientConnection
from plimsoll.gateway.listening import listen
from plimsoll.gateway.one_try import Means
from plimsoll.gateway.pages import Pages
from plimsoll.gateway.service import Connection, Service
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.upstream import Pool
from plimsoll.gateway.workers.member import Siblings
from plimsoll.policy.requests.dispatcher import Dispatcher
from plimsoll.policy.requests.types import QueueLimits
from plimsoll.telemetry.access_log import AccessLog
from plimsoll.telemetry.metrics import Depth, GatewayMetrics
from plimsoll.telemetry.replica_metrics import EJECTED, ReplicaDepth

_TICK = 0.1  # seconds; every limit of time is at least ten of them

new_event_loop = uvloop.new_event_loop
"""The event loop that the gateway is measured with, for `asyncio.Runner(loop_factory=...)`."""


class Gateway:
    """One gateway on one port.

    board     what it serves and who answers
    settings  its limits
    metrics   its numbers
    log       where access lines go, or None
    access    who may call; by default anyone
    siblings  other workers of the same gateway, or None
    """

    def __init__(
        self,
        *,
        board: Board,
        settings: GatewaySettings,
        metrics: GatewayMetrics,
        log: AccessLog | None = None,
        access: Access | None = None,
        siblings: Siblings | None = None,
    ) -> None:
        self._board = board
        self._pool = Pool(settings.keep_seconds)
        self._pages = Pages(board, metrics.recent, created=int(time()))
        means = Means(board=board, pool=self._pool, settings=settings, metrics=metrics, log=log)
        self._service = Service(
            means=means, pages=self._pages, access=access or Open(), siblings=siblings
        )
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        _limit(board, settings)
        board.watch(self._replicas_changed)
        metrics.watch(self._depths)
        self._metrics = metrics
        self._replicas_changed()

    async def start(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None, shared: bool = False
    ) -> tuple[str, int]:
        """Listen; the address and the port, which the system chooses for port 0.

        An empty host is every address of the machine, of IPv6 and IPv4. `shared` as in `listen`.

        Raises PortTaken, and Failed for an address that cannot be listened on.
        """
        self._server = await listen(
            lambda: ClientConnection(self._service),
            host,
            port,
            tls=tls,
            handshake_seconds=self._service.settings.head_seconds,
            shared=shared,
        )
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    async def drain(self, seconds: float, *, accept: float = 0.0, idle: float = 0.0) -> int:
        """Finish what is going on until the deadline, then cut the rest.

        From the beginning on, health says no and every answer ends its connection.

        seconds  until the deadline
        accept   of them, in which new connections are accepted still, because whoever sends them
                 learns late of the end
        idle     for which a kept connection may be without a request until it is closed: most
                 callers learn by an answer that theirs ends, and not by a request that is lost

        Returns how many requests were cut.
        """
        began = monotonic()
        deadline = began + seconds
        self._service.draining = self._pages.draining = True
        while monotonic() < min(began + accept, deadline):  # noqa: ASYNC110 -- a second drain ends it
            await asyncio.sleep(_TICK / 5)
        if self._server is not None:
            await _accepted()
            self._server.close()
        while self._service.connections and (now := monotonic()) < deadline:
            if now >= began + idle:
                for connection in list(self._service.connections):
                    connection.retire(now - idle)
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
        _limit(self._board, settings)

    def guard(self, access: Access) -> None:
        """Have another guard; requests that run stay."""
        self._service.access = access

    def known(self, key: bytes) -> bytes:
        """What is known of a request, for another worker; empty for one that is not known here.

        key  of the tenant and the request's id
        """
        return self._pages.encoded(key)

    def _replicas_changed(self) -> None:
        for name in self._board.names():
            places = self._board.places(name)
            self._metrics.model(name).keep(place.upstream.replica for place in places)
        self._pool.keep_only(self._board.upstreams())

    def _depths(self) -> Iterator[Depth]:
        machine = self._board.machine
        for name in self._board.names():
            if machine.served(name) is not None:  # else it was withdrawn since the first was shown
                yield _depth(machine, name)


def _depth(machine: Dispatcher, name: str) -> Depth:
    places, ejections = machine.places(name), machine.ejections(name)
    return Depth(
        model=name,
        queued=machine.queued(name),
        queued_bytes=machine.queued_bytes(name),
        held=machine.held(name),
        in_flight=machine.in_flight_of(name),
        replicas=len(places),
        each=tuple(
            ReplicaDepth(
                replica=place.upstream.replica,
                in_flight=place.in_flight,
                ejected=place.suspect > 0.0,
                ejections=(
                    ejections.get((place.upstream.replica, EJECTED[0]), 0),
                    ejections.get((place.upstream.replica, EJECTED[1]), 0),
                ),
            )
            for place in places
        ),
    )


def _limit(board: Board, settings: GatewaySettings) -> None:
    board.limit(
        QueueLimits(requests=settings.queue_requests, bytes=settings.queue_bytes),
        tries=settings.tries,
        suspect=settings.suspect_seconds,
    )


async def _accepted() -> None:
    """Let the event loop accept who has connected already."""
    for _ in range(2):
        await asyncio.sleep(0)
