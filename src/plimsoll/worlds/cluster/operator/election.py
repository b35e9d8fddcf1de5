"""Which of several operators acts: the holder of one Lease, and only while it surely holds it.

Times of other machines are never compared with ours: a Lease counts as abandoned when *we* have
not seen it change for its whole duration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plimsoll.errors import PlimsollError
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.errors import Conflict
from plimsoll.worlds.cluster.operator.conditions import written_micro_time

API, KIND = "coordination.k8s.io/v1", "Lease"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a Lease is held; the defaults are those of Kubernetes' own components.

    duration  seconds after which others may take a Lease that did not change
    deadline  seconds after a renewal was begun in which its holder still acts; less than
              `duration`, so that the old holder stops before a new one begins
    retry     seconds between two looks, and between two renewals
    """

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0


class Election:
    """One candidate for one Lease.

    name, namespace  of the Lease
    identity         who we are; no two candidates alike
    clock            seconds, never set back
    wall             seconds since 1970, for people who read the Lease
    failure          why the API did not answer the last look; None where it did
    answered         whether it did
    """

    def __init__(
        self,
        kube: Kube,
        *,
        name: str,
        namespace: str,
        identity: str,
        terms: Terms,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._terms = terms
        self._clock = clock
        self._wall = wall
        self._until = float("-inf")
        self._seen: tuple[str, float] | None = None  # resource version, when we first saw it
        self.failure: PlimsollError | None = None
        self.answered = False

    @property
    def left(self) -> float:
        """Seconds for which we may act; 0 or less: not at all."""
        return self._until - self._clock()

    async def acquired(self) -> None:
        """Wait until the Lease is ours. API failures are waited out; the last is in `failure`."""
        while not await self._attempt():  # noqa: ASYNC110 -- another machine gives it up
            await asyncio.sleep(self._terms.retry)

    async def lost(self) -> None:
        """Renew until the Lease is not ours any more."""
        while self.left > 0:
            await asyncio.sleep(min(self._terms.retry, self.left))
            try:
                async with asyncio.timeout(max(self.left, 0)):
                    await self._attempt()
            except TimeoutError:
                continue

    async def release(self) -> None:
        """Give the Lease back, so that another need not wait for it to run out."""
        if self.left <= 0:
            return
        try:
            lease = await self._kube.get(API, KIND, self._name, self._namespace)
            if lease and (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                await self._write(lease, holder="")
        except PlimsollError as error:
            self.failure = error  # it runs out by itself
        finally:
            self._until = float("-inf")

    async def _attempt(self) -> bool:
        began = self._clock()
        try:
            held = await self._take()
        except Conflict:
            held = False  # somebody was faster
        except PlimsollError as error:
            self.failure, self.answered = error, False
            return self.left > 0
        self.failure, self.answered = None, True
        self._until = began + self._terms.deadline if held else float("-inf")
        return held

    async def _take(self) -> bool:
        lease = await self._kube.get(API, KIND, self._name, self._namespace)
        if lease is None:
            await self._kube.create(self._lease({}, holder=self._identity))
            return True
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity) and not self._abandoned(lease):
            return False
        await self._write(lease, holder=self._identity)
        return True

    def _abandoned(self, lease: dict[str, Any]) -> bool:
        version = lease["metadata"]["resourceVersion"]
        now = self._clock()
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        duration = (lease.get("spec") or {}).get("leaseDurationSeconds") or self._terms.duration
        return now - self._seen[1] >= max(duration, self._terms.duration)

    async def _write(self, lease: dict[str, Any], *, holder: str) -> None:
        """Raises Conflict where somebody else wrote since `lease` was read."""
        await self._kube.update(self._lease(lease, holder=holder))

    def _lease(self, old: dict[str, Any], *, holder: str) -> dict[str, Any]:
        spec = dict(old.get("spec") or {})
        now = written_micro_time(self._wall())
        if holder and spec.get("holderIdentity") != holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (spec.get("leaseTransitions") or 0) + 1 if old else 0
        spec["holderIdentity"] = holder
        spec["renewTime"] = now
        spec["leaseDurationSeconds"] = max(1, round(self._terms.duration)) if holder else 1
        return {
            "apiVersion": API,
            "kind": KIND,
            "metadata": old.get("metadata") or {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }
