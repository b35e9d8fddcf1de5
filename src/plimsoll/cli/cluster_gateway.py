"""One gateway in a cluster: follows its configuration and the replicas, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll.cli.gateway_keys import access_of, not_kept
from plimsoll.cli.gateway_limits import gateway_settings
from plimsoll.cli.offered import Planned, offered
from plimsoll.cli.signals import on_signals
from plimsoll.cli.workers import Place, shared
from plimsoll.engines import ENGINES
from plimsoll.errors import InputError
from plimsoll.facts.engines import engine as engine_facts
from plimsoll.facts.engines import engines as all_engine_facts
from plimsoll.fleet import Fleet
from plimsoll.fleet.gateway import Logs
from plimsoll.gateway import (
    Board,
    EngineLooks,
    Gateway,
    GatewaySettings,
    LookPace,
    Served,
    Spoken,
    Upstream,
)
from plimsoll.gateway.access import Access
from plimsoll.gateway.certificate import Certificate
from plimsoll.gateway.workers.member import Member
from plimsoll.telemetry.access_log import AccessLog
from plimsoll.telemetry.engine_metrics import EngineMetrics
from plimsoll.telemetry.event_log import log_events
from plimsoll.telemetry.metrics import GatewayMetrics
from plimsoll.telemetry.watch_metrics import WatchMetrics
from plimsoll.worlds.cluster.replicas import Replicas
from plimsoll.worlds.cluster.served import GatewayConfiguration, ServedModel, drain_seconds

FIRST_WORD_SECONDS = 30.0  # that a new gateway waits for namespaces of which it hears nothing
_SETTLE_SECONDS = 0.02  # a burst of changes is looked at once
_CERTIFICATE_SECONDS = 10.0  # between two looks at the certificate's files
_FAREWELL_SECONDS = 1.0  # for which an idle connection may still bring a request in a drain
_KEYS_SECONDS = 30.0  # between two looks at the files of keys

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where the gateway listens, and how it is found by others of its kind.

    host         empty: every address
    port         0 lets the system choose
    certificate  None: plain HTTP
    namespace    in which the gateways run
    service      Service of all gateways of the fleet; empty: this one is alone
    drain_delay  seconds for which connections are still accepted when it is to end
    place        among the workers of one gateway; None: it has none
    """

    host: str
    port: int
    certificate: Certificate | None
    namespace: str
    service: str
    drain_delay: float = 0.0
    place: Place | None = None

    @property
    def workers(self) -> int:
        """Processes of this gateway."""
        return self.place.count if self.place is not None else 1


class ClusterGateway:
    """A gateway whose models and replicas are told by a cluster; `serve` runs it to its end.

    Each of several gateways has its share of every replica: one that works on 32 requests at once
    gets 16 from each of two. What the others leave is lent, by what replicas say of themselves.
    Shares are rounded up; what is too much for a moment waits in the engine's own queue.
    """

    def __init__(
        self,
        *,
        door: Door,
        configurations: AsyncIterator[GatewayConfiguration],
        replicas: Callable[[Callable[[], None]], Replicas],
        metrics: WatchMetrics,
        pace: LookPace,
        keys: Path | None = None,
        as_json: bool = False,
    ) -> None:
        """`keys`: folder with keys of tenants that are in Secrets, a file `TENANT/KEY` each."""
        self._door = door
        self._json = as_json
        self._keys = keys
        self._complaints: tuple[str, ...] = ()
        self._configurations = configurations
        self._changed = asyncio.Event()
        self._configured = asyncio.Event()
        self._known = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._metrics = metrics
        self._replicas = replicas(self._changed.set)
        self._configuration: GatewayConfiguration | None = None
        self._told: dict[str, tuple[tuple[Upstream, int, int], ...]] = {}
        self._board = Board(())
        self._looks = EngineLooks(self._board, pace)
        numbers = GatewayMetrics()
        numbers.follow(EngineMetrics(self._looks.seen))
        numbers.add(metrics)
        self._member: Member | None = None
        if door.place is not None:
            self._member = Member(numbers=numbers.parts, explain=self._explain)
        self._gateway = Gateway(
            board=self._board,
            settings=GatewaySettings(),
            metrics=numbers,
            log=AccessLog(sys.stdout),
            siblings=self._member,
        )

    async def serve(self) -> int:
        """Serve until SIGINT or SIGTERM, then drain. Returns how many requests were cut.

        Raises InputError when the configuration cannot be read at all, PortTaken, and Failed for
        an address that cannot be listened on.
        """
        with on_signals(self._on_signal), _one_error():
            async with self._replicas, self._helpers():
                try:
                    return await self._open_to_end()
                finally:
                    await self._gateway.close()

    async def _open_to_end(self) -> int:
        place, member = self._door.place, self._member
        if place is not None and member is not None:
            await member.join(socket.socket(fileno=place.descriptor), self._orphaned)
        await self._unless_stopped(self._knows_enough())
        if self._stopping.is_set():
            return 0
        certificate = self._door.certificate
        host, port = await self._gateway.start(
            self._door.host,
            self._door.port,
            tls=certificate.context if certificate else None,
            shared=member is not None,
        )
        _log.info("listening on %s port %d", host, port, extra={"fields": {"port": port}})
        if member is not None:
            member.ready()
        await self._stopping.wait()
        cut = await self._drain()
        if member is not None:
            await member.leave()
        return cut

    @contextlib.asynccontextmanager
    async def _helpers(self) -> AsyncIterator[None]:
        """What runs beside the requests; a fault in one of them ends the gateway."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._follow()),
                group.create_task(self._tell()),
                group.create_task(self._renew()),
                group.create_task(self._reread_keys()),
                group.create_task(self._looks.run()),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _unless_stopped(self, work: Coroutine[Any, Any, Any]) -> None:
        """Wait until some work is done, or the gateway is to stop."""
        tasks = [asyncio.create_task(work), asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _knows_enough(self) -> None:
        """Wait until a request would be served: every namespace told, or all had time to.

        Until then nothing listens, so that no request comes here instead of to a gateway that
        knows where the replicas are.
        """
        await self._configured.wait()
        while not self._known.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._known.wait(), FIRST_WORD_SECONDS)
                return
            if self._replicas.heard_any:
                _log.warning("some namespaces are silent; serving the others")
                return
            _log.warning("the API server has not told of any replica yet; not listening")

    async def _follow(self) -> None:
        async for configuration in self._configurations:
            self._apply(configuration)

    def _apply(self, configuration: GatewayConfiguration) -> None:
        """Take a configuration; models that stay keep their replicas and requests."""
        before = self._configuration
        self._configuration = configuration
        wish = configuration.fleet.gateway
        log_events(sys.stderr, level=wish.logs.level, as_json=self._json or _as_json(wish.logs))
        self._gateway.configure(shared(gateway_settings(configuration.fleet), self._door.workers))
        self._guard(*self._access_of(configuration.fleet))
        self._board.offer(_offered(configuration))
        self._looks.follow(
            {each.model: told for each in configuration.models if (told := spoken(each))}
        )
        own = {self._door.namespace} if self._door.service else set()
        self._replicas.follow({*own, *(served.namespace for served in configuration.models)})
        names = {served.model for served in configuration.models}
        old = {served.model for served in before.models} if before is not None else set()
        self._told = {name: told for name, told in self._told.items() if name in names}
        _log.info(
            "serving %d models (%d new, %d gone)", len(names), len(names - old), len(old - names)
        )
        if unkept := not_kept(configuration.fleet):
            _log.warning("%s", unkept)
        self._configured.set()
        self._changed.set()

    async def _tell(self) -> None:
        """Tell the board of replicas whenever something changed."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_SETTLE_SECONDS)
            self._changed.clear()
            if self._configuration is not None:
                self._tell_board(self._configuration.models)
                if self._replicas.heard:
                    self._known.set()

    def _tell_board(self, models: tuple[ServedModel, ...]) -> None:
        gateways = self._gateways()
        changes = {}
        for served in models:
            upstreams = self._upstreams(served, gateways)
            # Upstreams are equal whatever their capacity and who shares it.
            told = tuple((each, each.capacity, each.gateways) for each in upstreams)
            if self._told.get(served.model) != told:
                self._told[served.model] = told
                changes[served.model] = upstreams
        if changes:
            self._board.update_all(changes)

    def _upstreams(self, served: ServedModel, gateways: int) -> tuple[Upstream, ...]:
        return tuple(
            Upstream(
                replica=found.name,
                host=found.host,
                port=found.port,
                capacity=served.parallel,
                gateways=gateways,
            )
            for found in self._replicas.of(served.namespace, served.service, port=served.port)
        )

    def _gateways(self) -> int:
        """Processes that share the replicas: every worker of every gateway that gets requests."""
        door = self._door
        found = self._replicas.of(door.namespace, door.service, port=door.port)
        self._metrics.peers = max(1, len(found)) if door.service else 1
        return self._metrics.peers * door.workers

    async def _renew(self) -> None:
        """Take a certificate that was renewed."""
        certificate = self._door.certificate
        while certificate is not None:
            await asyncio.sleep(_CERTIFICATE_SECONDS)
            try:
                if certificate.renew():
                    _log.info("the certificate was renewed")
            except InputError as error:
                _log.warning("%s", error)

    def _access_of(self, fleet: Fleet) -> tuple[Access, tuple[str, ...]]:
        return access_of(fleet, environment=os.environ, folder=self._keys)

    def _guard(self, access: Access, complaints: tuple[str, ...]) -> None:
        """Have a guard, and say once what is wrong with keys."""
        self._gateway.guard(access)
        for complaint in complaints:
            if complaint not in self._complaints:
                _log.warning("%s", complaint)
        self._complaints = complaints

    async def _reread_keys(self) -> None:
        """Take keys that were changed in their Secrets."""
        while self._keys is not None:
            await asyncio.sleep(_KEYS_SECONDS)
            configuration = self._configuration
            if configuration is not None:
                read = await asyncio.to_thread(self._access_of, configuration.fleet)
                if configuration is self._configuration:
                    self._guard(*read)

    async def _drain(self) -> int:
        """Finish what is going on; a second signal cuts it now."""
        assert self._configuration is not None
        seconds = drain_seconds(self._configuration.fleet)
        _log.info("draining for at most %.0f s", seconds)
        draining = asyncio.create_task(
            self._gateway.drain(seconds, accept=self._door.drain_delay, idle=_FAREWELL_SECONDS)
        )
        hurried = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
            cut = draining.result() if draining.done() else await self._gateway.drain(0.0)
        finally:
            for task in (draining, hurried):
                task.cancel()
            await asyncio.gather(draining, hurried, return_exceptions=True)
        _log.info("drained", extra={"fields": {"cut": cut}})
        return cut

    def _explain(self, key: bytes) -> bytes:
        return self._gateway.known(key)

    def _orphaned(self) -> None:
        """The parent of the workers is gone, and with it who would say when to end."""
        _log.error("the parent process is gone; ending")
        self._hurry.set()
        self._stopping.set()

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()


def _offered(configuration: GatewayConfiguration) -> tuple[Served, ...]:
    for name in sorted({served.engine for served in configuration.models} - ENGINES.keys()):
        _log.warning("engine %s is not known here; its answers are passed on", name)
    return offered(
        configuration.fleet,
        {
            served.model: Planned(
                task=served.task,
                context=served.context,
                adapters=served.adapters,
                engine=ENGINES.get(served.engine),
                kv_tokens=served.kv_tokens,
                prefill_rate=served.prefill_rate,
            )
            for served in configuration.models
        },
    )


def spoken(served: ServedModel) -> Spoken | None:
    """How the replicas of a model tell their counts; None where they do not.

    Metrics on a port of their own are of a node with whatever runs there, not of a replica.
    """
    engine = ENGINES.get(served.engine)
    if engine is None:
        return None
    facts = engine_facts(served.engine)
    known = [facts] if facts.metrics else list(all_engine_facts().values())
    metrics = {name for each in known for name in each.metrics.values()}
    path = served.metrics or facts.metrics_path
    if facts.metrics_port or not path:
        return None
    return Spoken(path=path, metrics=tuple(sorted(metrics)), read=engine.counts)


def _as_json(wish: Logs) -> bool:
    return wish.format == "json" or (wish.format == "auto" and not sys.stderr.isatty())


@contextlib.contextmanager
def _one_error() -> Iterator[None]:
    """The error that ended a group of tasks, instead of the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group
