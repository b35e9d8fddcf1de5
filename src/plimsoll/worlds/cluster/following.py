"""Keeps a copy of some objects of a cluster true: lists, watches, and lists again when lost.

What is known stays known while the API server is away: only an answer replaces it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn

from plimsoll.errors import PlimsollError
from plimsoll.telemetry.watch_metrics import WatchMetrics
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.objects.site import Manifest

_log = logging.getLogger(__name__)
_SETTLED = 10.0  # seconds; a watch that lived so long was no failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How soon to ask again after a failure.

    jitter   a number from 0 to 1, another one at each call, so that many do not ask at once
    first    seconds before the second try; doubles with each
    longest  seconds of the longest pause
    """

    jitter: Callable[[], float]
    first: float = 0.5
    longest: float = 30.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, 1 or more."""
        whole = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return whole * (0.5 + 0.5 * self.jitter())


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """Which objects.

    namespace  in which they are
    name       of the only one; empty: every one
    """

    api_version: str
    kind: str
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


class Following:
    """A copy of some objects that `run` keeps true.

    objects  by name, as the API server last told
    heard    whether it ever told
    """

    def __init__(
        self,
        kube: Kube,
        followed: Followed,
        *,
        pace: Pace,
        metrics: WatchMetrics,
        changed: Callable[[], None],
    ) -> None:
        self.objects: dict[str, Manifest] = {}
        self.heard = False
        self._kube = kube
        self._followed = followed
        self._pace = pace
        self._metrics = metrics
        self._changed = changed

    async def run(self) -> NoReturn:
        """Follow until cancelled, whatever the API server does."""
        failures = 0
        while True:
            since = time.monotonic()
            try:
                await self._follow()
            except PlimsollError as error:
                self._failed(error.code, str(error))
            except Exception as error:  # noqa: BLE001 -- logged, and counted as a failure
                # Traffic goes on with what is known, whatever went wrong here.
                self._failed("fault", f"{type(error).__name__}: {error}")
                _log.exception("a fault in following %s", self._followed)
            failures = 1 if time.monotonic() - since >= _SETTLED else failures + 1
            await asyncio.sleep(self._pace.pause(failures))

    async def _follow(self) -> None:
        """List, then watch until the watch ends. Raises what the API server says."""
        followed = self._followed
        version = await (self._one() if followed.name else self._all())
        self.heard = True
        self._metrics.listed(str(followed), time.time())
        self._changed()
        events = self._kube.watch(
            followed.api_version,
            followed.kind,
            namespace=followed.namespace,
            fields=f"metadata.name={followed.name}" if followed.name else "",
            resource_version=version,
        )
        async with aclosing(events):
            async for event in events:
                self._metrics.told(str(followed), time.time())
                self._take(event.type, event.object)

    async def _all(self) -> str:
        followed = self._followed
        listed = await self._kube.list(
            followed.api_version, followed.kind, namespace=followed.namespace
        )
        self.objects = {item["metadata"]["name"]: item for item in listed.items}
        return listed.resource_version

    async def _one(self) -> str:
        """As `_all`, with no more than the right to read the one object."""
        followed = self._followed
        found = await self._kube.get(
            followed.api_version, followed.kind, followed.name, followed.namespace
        )
        self.objects = {} if found is None else {followed.name: found}
        # Without a version the watch begins with the object as it is, once it is there.
        return "" if found is None else str(found["metadata"].get("resourceVersion", ""))

    def _take(self, kind: str, changed: Manifest) -> None:
        name = changed["metadata"]["name"]
        if self._followed.name not in ("", name):
            return
        if kind == "DELETED":
            self.objects.pop(name, None)
        else:
            self.objects[name] = changed
        self._changed()

    def _failed(self, code: str, message: str) -> None:
        self._metrics.failed(str(self._followed), code)
        _log.warning(
            "%s cannot be followed: %s", self._followed, message, extra={"fields": {"code": code}}
        )
