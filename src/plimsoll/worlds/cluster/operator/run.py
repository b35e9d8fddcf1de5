"""The operator: it waits for its Lease, acts as long as it holds it, and gives it back."""

from __future__ import annotations

import asyncio
import contextlib

from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.operator.election import Election
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from plimsoll.worlds.cluster.operator.parts import Parts, Settings
from plimsoll.worlds.cluster.operator.term import Term

_RELEASE = 5.0  # seconds; a pod that ends has some tens


class Operator:
    """One operator; `run` until cancelled, `once` until everything was looked at.

    metrics  its numbers
    leading  whether it acts
    synced   whether it has seen everything since it began to act
    """

    def __init__(
        self, kube: Kube, settings: Settings, parts: Parts, metrics: OperatorMetrics
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._parts = parts
        self.metrics = metrics
        self.leading = False
        self.synced = False
        self._election = Election(
            kube,
            name=settings.lease,
            namespace=settings.namespace,
            identity=settings.identity,
            terms=settings.terms,
            clock=parts.clock,
            wall=parts.now,
        )

    @property
    def ready(self) -> bool:
        """Whether it acts on all that there is, or stands by and could."""
        return self.synced if self.leading else self._election.answered

    async def run(self) -> None:
        """Act whenever elected, until cancelled; then give the Lease back."""
        try:
            while True:
                await self._elected()
                await self._act(once=False)
        finally:
            await self._resign()

    async def once(self) -> tuple[str, ...]:
        """Look at every Fleet once it is elected. Returns what could not be done."""
        try:
            await self._elected()
            return await self._act(once=True)
        finally:
            await self._resign()

    async def _elected(self) -> None:
        if self._settings.elect:
            await self._election.acquired()

    async def _resign(self) -> None:
        self._set_leading(False)
        if self._settings.elect:
            # Bounded: whoever stops us waits, and the Lease runs out by itself.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RELEASE):
                    await self._election.release()

    async def _act(self, *, once: bool) -> tuple[str, ...]:
        """Act until the Lease is lost, or, with `once`, until everything was looked at."""
        self._set_leading(True)
        term = Term(self._kube, self._settings, self._parts, self.metrics, left=self._left)
        tasks = [asyncio.create_task(term.run(once=once, synced=self._set_synced))]
        if self._settings.elect:
            tasks.append(asyncio.create_task(self._election.lost()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            return term.failures
        finally:
            self._set_leading(False)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _left(self) -> float:
        return self._election.left if self._settings.elect else float("inf")

    def _set_leading(self, leading: bool) -> None:
        self.leading = leading
        self.synced = self.synced and leading
        self.metrics.leader.set(int(leading))

    def _set_synced(self) -> None:
        self.synced = True
