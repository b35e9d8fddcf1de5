"""A copy of one kind of object, kept by one watch; it only wakes, nobody acts on events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from plimsoll.errors import PlimsollError
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.errors import Expired, MissingApi
from plimsoll.worlds.cluster.following import Pace
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics

_log = logging.getLogger(__name__)
_SETTLED = 10.0  # seconds; a watch that lived so long was no failure

Place = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is watched.

    labels    selector; empty: all
    optional  whether the cluster may lack it: then there are none
    """

    api_version: str
    kind: str
    labels: str = ""
    optional: bool = False


class Mirror:
    """The objects of one kind, over all namespaces or over some.

    index    under which key an object is found; None: under none
    changed  told of every object that came, changed or went, with what it was before
    """

    def __init__(
        self,
        kube: Kube,
        kind: Kind,
        *,
        namespaces: tuple[str, ...],
        pace: Pace,
        metrics: OperatorMetrics,
        index: Callable[[Manifest], Hashable | None],
        changed: Callable[[Manifest | None, Manifest | None], None],
        clock: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._kind = kind
        self._scopes: tuple[str | None, ...] = namespaces or (None,)
        self._pace = pace
        self._metrics = metrics
        self._index = index
        self._changed = changed
        self._clock = clock
        self._items: dict[Place, Manifest] = {}
        self._by: dict[Hashable, dict[Place, None]] = {}
        self._synced = {scope: asyncio.Event() for scope in self._scopes}

    def __len__(self) -> int:
        return len(self._items)

    def get(self, place: Place) -> Manifest | None:
        """One object as it was last seen."""
        return self._items.get(place)

    def all(self) -> Iterable[Manifest]:
        """Every object."""
        return tuple(self._items.values())

    def found(self, key: Hashable) -> tuple[Manifest, ...]:
        """The objects under a key of the index, by name."""
        return tuple(self._items[place] for place in sorted(self._by.get(key, ())))

    def put(self, item: Manifest) -> None:
        """Take over what the API answered to a write of ours, ahead of the watch."""
        self._set(_place(item), item, tell=False)

    def drop(self, place: Place) -> None:
        """Take over that an object is gone."""
        self._set(place, None, tell=False)

    async def synced(self) -> None:
        """Wait until everything was listed once."""
        for event in self._synced.values():
            await event.wait()

    async def run(self) -> None:
        """Keep the copy true, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for scope in self._scopes:
                group.create_task(self._follow(scope))

    async def _follow(self, scope: str | None) -> None:
        failures = 0
        while True:
            began = self._clock()
            try:
                await self._once(scope)
            except Expired:
                failures = failures + 1 if self._clock() - began < _SETTLED else 0
            except MissingApi:
                failures = 30  # it may be installed one day
                if self._kind.optional:
                    self._synced[scope].set()
                else:
                    _log.warning("the cluster does not know %s", self._kind.kind)
            except PlimsollError as error:
                failures = failures + 1 if self._clock() - began < _SETTLED else 1
                self._metrics.api_errors.labels(error.code).inc()
                _log.warning("watching %s: %s", self._kind.kind, error)
            self._metrics.watch_restarts.labels(self._kind.kind).inc()
            if failures:
                await asyncio.sleep(self._pace.pause(failures))

    async def _once(self, scope: str | None) -> None:
        """List, then watch until the watch is lost. Raises what the API answers."""
        kind = self._kind
        listed = await self._kube.list(
            kind.api_version, kind.kind, namespace=scope, labels=kind.labels
        )
        there = {_place(item): item for item in listed.items}
        for place in [p for p in self._items if scope in (None, p[0]) and p not in there]:
            self._set(place, None)
        for place, item in there.items():
            self._set(place, item)
        self._synced[scope].set()
        events = self._kube.watch(
            kind.api_version,
            kind.kind,
            namespace=scope,
            labels=kind.labels,
            resource_version=listed.resource_version,
        )
        async with aclosing(events):
            async for event in events:
                gone = event.type == "DELETED"
                self._set(_place(event.object), None if gone else event.object)

    def _set(self, place: Place, item: Manifest | None, *, tell: bool = True) -> None:
        old = self._items.get(place)
        if item is not None:
            item["metadata"].pop("managedFields", None)  # half of an object, and never read
        if old is not None and item is not None and _version(old) == _version(item):
            return
        if old is not None:
            self._unindex(place, old)
            del self._items[place]
        if item is not None:
            self._items[place] = item
            key = self._index(item)
            if key is not None:
                self._by.setdefault(key, {})[place] = None
        if tell and (old is not None or item is not None):
            self._changed(old, item)

    def _unindex(self, place: Place, item: Manifest) -> None:
        key = self._index(item)
        if key is not None and key in self._by:
            self._by[key].pop(place, None)
            if not self._by[key]:
                del self._by[key]


def _place(item: Manifest) -> Place:
    meta = item["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _version(item: Manifest) -> str:
    return str(item["metadata"].get("resourceVersion", ""))
