"""Plans, each made once for the same wish, one after the other, while everything else goes on.

Planning takes a fifth of a second a model, so a pass that needs a plan does not wait for it: it
asks, and is looked at again when the plan is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from plimsoll.errors import DoesNotFit, InputError, PlimsollError
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from plimsoll.worlds.cluster.operator.reading import FleetKey
from plimsoll.worlds.cluster.operator.sites import Planned

Plan = Callable[[Effective], Awaitable[Planned]]
"""Plans one Fleet, away from the event loop. Raises InputError, DoesNotFit, SourceError."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What planning came to.

    until  when an error is forgotten, on the clock
    """

    digest: str
    planned: Planned | None = None
    error: PlimsollError | None = None
    until: float = float("inf")


class Plans:
    """The last plan of every Fleet.

    made      told of every Fleet whose plan, or refusal, is there
    patience  seconds for which an error that lies in the Fleet is not tried again
    """

    def __init__(
        self,
        plan: Plan,
        *,
        made: Callable[[Effective], None],
        metrics: OperatorMetrics,
        clock: Callable[[], float],
        patience: float = 600.0,
    ) -> None:
        self._plan = plan
        self._told = made
        self._metrics = metrics
        self._clock = clock
        self._patience = patience
        self._kept: dict[FleetKey, _Kept] = {}
        self._asked: dict[FleetKey, Effective] = {}
        self._wake = asyncio.Event()
        self._working = False

    @property
    def busy(self) -> bool:
        """Whether a plan is asked for that is not there yet."""
        return self._working or bool(self._asked)

    def known(self, effective: Effective) -> Planned | None:
        """The plan of exactly this wish, where it was made."""
        kept = self._kept.get(effective.key)
        return kept.planned if kept is not None and kept.digest == effective.planning else None

    def of(self, effective: Effective) -> Planned | None:
        """The plan of a Fleet; None: it is asked for now. Raises as `Plan` does."""
        kept = self._kept.get(effective.key)
        if kept is not None and kept.digest == effective.planning and self._clock() < kept.until:
            if kept.error is None:
                return kept.planned
            if not is_final(kept.error):
                del self._kept[effective.key]  # told once, then tried again
            raise kept.error
        self._asked[effective.key] = effective
        self._wake.set()
        return None

    def forget(self, key: FleetKey) -> None:
        """The Fleet is gone."""
        self._kept.pop(key, None)
        self._asked.pop(key, None)

    async def run(self) -> None:
        """Make what is asked for, until cancelled."""
        while True:
            while not self._asked:
                self._wake.clear()
                await self._wake.wait()
            key = next(iter(self._asked))
            effective = self._asked.pop(key)
            self._working = True
            try:
                self._kept[key] = await self._made(effective)
                self._told(effective)
            finally:
                self._working = False

    async def _made(self, effective: Effective) -> _Kept:
        try:
            planned = await self._plan(effective)
        except PlimsollError as error:
            final = is_final(error)
            self._metrics.plans.labels("refused" if final else "failed").inc()
            until = self._clock() + self._patience
            return _Kept(digest=effective.planning, error=error, until=until)
        self._metrics.plans.labels("made").inc()
        return _Kept(digest=effective.planning, planned=planned)


def is_final(error: PlimsollError) -> bool:
    """Whether trying again does not help before the Fleet changes."""
    return isinstance(error, InputError | DoesNotFit)
