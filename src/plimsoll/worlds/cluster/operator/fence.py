"""Every write of the operator passes here: none happens once another operator may have begun."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar

from plimsoll.errors import Failed, PlimsollError
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.objects.site import MANAGER, Manifest
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from plimsoll.worlds.cluster.reference import Key

T = TypeVar("T")


class NotLeading(Failed):
    """Another operator acts, or may soon; nothing was written."""

    default_code = "operator.not-leading"


class Fenced:
    """The API, as far as the operator writes to it.

    left  seconds for which we may surely write; infinite without leader election. A write that
          is not answered by then is given up, so that none can arrive much later.
    """

    def __init__(self, kube: Kube, *, left: Callable[[], float], metrics: OperatorMetrics) -> None:
        self._kube = kube
        self._left = left
        self._metrics = metrics

    async def get(self, key: Key) -> Manifest | None:
        """The object, or None where there is none."""
        return await self._counted(
            self._kube.get(key.api_version, key.kind, key.name, key.namespace or None)
        )

    async def list(
        self, api_version: str, kind: str, *, namespace: str | None = None, labels: str = ""
    ) -> tuple[Manifest, ...]:
        """Every object of a kind that the selector takes; `namespace` None: in every one."""
        found = await self._counted(
            self._kube.list(api_version, kind, namespace=namespace, labels=labels)
        )
        return found.items

    async def apply(self, manifest: Manifest, *, manager: str = MANAGER) -> Manifest:
        """Make or change an object; fields that others changed are ours again."""
        return await self._write(
            "apply", lambda: self._kube.apply(manifest, manager=manager, force=True)
        )

    async def update(self, manifest: Manifest) -> Manifest:
        """Replace an object of the same version. Raises Conflict."""
        return await self._write("update", lambda: self._kube.update(manifest))

    async def scale(self, key: Key, replicas: int) -> Manifest:
        """Set the replicas of a workload."""
        return await self._write(
            "scale",
            lambda: self._kube.scale(
                key.api_version, key.kind, key.name, key.namespace or None, replicas
            ),
        )

    async def delete(self, key: Key, *, uid: str | None) -> bool:
        """Delete an object; whether there was one. Raises Conflict where it is another one."""
        return await self._write(
            "delete",
            lambda: self._kube.delete(
                key.api_version, key.kind, key.name, key.namespace or None, uid=uid
            ),
        )

    async def patch_status(self, fleet: Manifest, status: Mapping[str, Any]) -> Manifest:
        """Write the status of a Fleet."""
        meta = fleet["metadata"]
        return await self._write(
            "patch_status",
            lambda: self._kube.patch_status(
                fleet["apiVersion"], fleet["kind"], meta["name"], meta["namespace"], status
            ),
        )

    async def event(
        self,
        regarding: Manifest,
        reason: str,
        note: str,
        kind: Literal["Normal", "Warning"],
    ) -> None:
        """Record an event about a Fleet."""
        await self._write("event", lambda: self._kube.event(regarding, reason, note, kind))

    async def _write(self, verb: str, call: Callable[[], Awaitable[T]]) -> T:
        left = self._left()
        if left <= 0:
            raise NotLeading("this operator does not lead any more")
        try:
            async with asyncio.timeout(None if left == float("inf") else left):
                found = await self._counted(call())
        except TimeoutError as error:
            raise NotLeading("this operator's lease ran out during a write") from error
        self._metrics.writes.labels(verb).inc()
        return found

    async def _counted(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except PlimsollError as error:
            self._metrics.api_errors.labels(error.code).inc()
            raise
