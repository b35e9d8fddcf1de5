"""Which replicas of a Service may get work: read from its EndpointSlices, kept true by a watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec

from plimsoll.telemetry.watch_metrics import WatchMetrics
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.following import Followed, Following, Pace
from plimsoll.worlds.cluster.objects.site import Manifest

SLICES = ("discovery.k8s.io/v1", "EndpointSlice")
SERVICE = "kubernetes.io/service-name"  # label of a slice: whose endpoints it holds

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Replica:
    """One pod that is ready and is not ending.

    name  of the pod; `host:port` where the endpoint names none
    host  its IP address
    port  TCP port
    """

    name: str
    host: str
    port: int


class _Conditions(msgspec.Struct, frozen=True):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _Target(msgspec.Struct, frozen=True):
    kind: str = ""
    name: str = ""


class _Endpoint(msgspec.Struct, frozen=True, rename="camel"):
    addresses: tuple[str, ...] = ()
    conditions: _Conditions = _Conditions()
    target_ref: _Target | None = None


class _Port(msgspec.Struct, frozen=True):
    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class _Slice(msgspec.Struct, frozen=True, rename="camel"):
    address_type: str
    endpoints: tuple[_Endpoint, ...] | None = None
    ports: tuple[_Port, ...] | None = None


@dataclass(slots=True, kw_only=True)
class _Seen:
    """One pod over all slices of its Service.

    addresses  (rank of the family, address, port) where it listens
    """

    ready: bool = False
    terminating: bool = False
    addresses: set[tuple[int, str, int]]


def replicas_of(slices: Iterable[Manifest], *, port: int) -> tuple[Replica, ...]:
    """The replicas that may get work, by all slices of one Service.

    port  where they listen, to choose among several ports of the Service

    A pod may be in several slices: while it moves between two, and once per address family. It
    counts once; it is ending if any slice says so, else ready if any says so. A slice that cannot
    be read is left out.
    """
    pods: dict[str, _Seen] = {}
    for manifest in slices:
        read = _read(manifest)
        number = _port_of(read, port) if read is not None else None
        if read is None or number is None:
            continue
        for endpoint in read.endpoints or ():
            _add(pods, endpoint, rank=int(read.address_type == "IPv6"), port=number)
    return tuple(
        sorted(
            Replica(name=name, host=address, port=number)
            for name, seen in pods.items()
            if seen.ready and not seen.terminating
            for _, address, number in [min(seen.addresses)]
        )
    )


def _add(pods: dict[str, _Seen], endpoint: _Endpoint, *, rank: int, port: int) -> None:
    if not endpoint.addresses:
        return
    address = endpoint.addresses[0]  # the API allows one; more have no meaning
    target = endpoint.target_ref
    spoken = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    name = target.name if target is not None and target.kind == "Pod" and target.name else spoken
    seen = pods.setdefault(name, _Seen(addresses=set()))
    seen.addresses.add((rank, address, port))
    seen.ready = seen.ready or _ready(endpoint.conditions)
    seen.terminating = seen.terminating or bool(endpoint.conditions.terminating)


def _ready(conditions: _Conditions) -> bool:
    """Whether the pod passes its readiness probe; what is not said counts as yes.

    `ready` alone does not tell: a Service that publishes addresses of pods that are not ready
    calls every one of them ready, and only `serving` says the truth.
    """
    return conditions.ready is not False and conditions.serving is not False


def _port_of(read: _Slice, wanted: int) -> int | None:
    """The port of a slice: the wanted one, else one that is called `http`, else the only one."""
    ports = [port for port in read.ports or () if port.port and port.protocol in (None, "TCP")]
    for port in ports:
        if port.port == wanted:
            return wanted
    named = [port for port in ports if port.name == "http"] or ports
    return named[0].port if len(named) == 1 else None


def _read(manifest: Manifest) -> _Slice | None:
    try:
        read = msgspec.convert(manifest, type=_Slice)
    except msgspec.ValidationError as error:
        _log.warning("EndpointSlice %s cannot be read: %s", manifest["metadata"]["name"], error)
        return None
    return read if read.address_type in ("IPv4", "IPv6") else None


class Replicas:
    """The endpoints of every Service in some namespaces; `follow` says in which.

    Holds tasks from `async with` to its end.
    """

    def __init__(
        self, kube: Kube, *, pace: Pace, metrics: WatchMetrics, changed: Callable[[], None]
    ) -> None:
        self._kube = kube
        self._pace = pace
        self._metrics = metrics
        self._told = changed
        self._following: dict[str, Following] = {}
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._services: dict[str, Mapping[str, tuple[Manifest, ...]]] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._stack.push_async_callback(self._end)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def follow(self, namespaces: Iterable[str]) -> None:
        """Follow exactly these namespaces from now on."""
        wanted = set(namespaces)
        for namespace in self._following.keys() - wanted:
            self._tasks.pop(namespace).cancel()
            del self._following[namespace]
        for namespace in sorted(wanted - self._following.keys()):
            following = Following(
                self._kube,
                Followed(api_version=SLICES[0], kind=SLICES[1], namespace=namespace),
                pace=self._pace,
                metrics=self._metrics,
                changed=self._changed,
            )
            self._following[namespace] = following
            self._tasks[namespace] = asyncio.create_task(following.run())
        self._changed()

    @property
    def heard(self) -> bool:
        """Whether the API server told of every namespace at least once."""
        return all(following.heard for following in self._following.values())

    @property
    def heard_any(self) -> bool:
        """Whether it told of any."""
        return any(following.heard for following in self._following.values())

    def of(self, namespace: str, service: str, *, port: int) -> tuple[Replica, ...]:
        """The replicas of a Service that may get work; none where nothing is known."""
        following = self._following.get(namespace)
        if following is None:
            return ()
        if namespace not in self._services:
            self._services[namespace] = _by_service(following.objects.values())
        return replicas_of(self._services[namespace].get(service, ()), port=port)

    def _changed(self) -> None:
        self._services.clear()  # made again when they are asked for: changes come in bursts
        self._told()

    async def _end(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _by_service(slices: Iterable[Manifest]) -> dict[str, tuple[Manifest, ...]]:
    found: dict[str, list[Manifest]] = {}
    for manifest in slices:
        service = (manifest["metadata"].get("labels") or {}).get(SERVICE)
        if service:
            found.setdefault(service, []).append(manifest)
    return {service: tuple(each) for service, each in found.items()}
