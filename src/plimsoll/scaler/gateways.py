"""Looks at models from the metrics of the gateways in front of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from plimsoll.errors import PlimsollError
from plimsoll.policy.scale.types import Signals
from plimsoll.scaler.decisions import Decisions
from plimsoll.scaler.gateway_demand import FleetDemand
from plimsoll.scaler.gateway_pages import Counts, Page
from plimsoll.scaler.models import ModelKey
from plimsoll.scaler.turns import Turns

_log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[str]]
"""The page of metrics of the gateway at an address. Raises PlimsollError where there is none."""
FleetName = tuple[str, str]
"""Namespace and name of a fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often.

    look   seconds between two looks at a model
    quick  seconds between two questions to the gateways of a fleet that has a model without any
           replica wanted: whoever waits for one is heard within it
    wait   seconds that one round waits for slow gateways; their answers count when they come
    """

    look: float = 5.0
    quick: float = 0.25
    wait: float = 0.2


class Gateways:
    """A source of looks: asks every gateway of every fleet, and merges what they say.

    decisions  whose models are looked at
    addresses  the gateways of a fleet now; raises PlimsollError where that cannot be told, in
               which case the ones before count as silent
    fetch      asks one
    clock      seconds since 1970
    """

    def __init__(
        self,
        decisions: Decisions,
        *,
        addresses: Callable[[FleetName], Awaitable[Sequence[str]]],
        fetch: Fetch,
        clock: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self._decisions = decisions
        self._addresses = addresses
        self._fetch = fetch
        self._clock = clock
        self._pace = pace or Pace()
        self._fleets: dict[FleetName, FleetDemand] = {}
        self._asked: dict[tuple[FleetName, str], asyncio.Task[Mapping[str, Counts]]] = {}
        self._silent: set[str] = set()
        self._reading = asyncio.Lock()

    async def looks(self) -> AsyncIterator[tuple[ModelKey, Signals]]:
        """See Source."""
        due = 0.0
        try:
            while True:
                began = time.monotonic()
                everything = began >= due
                fleets = self._offered()
                asked = {name for name, keys in fleets.items() if everything or self._sleeps(keys)}
                await self._ask(asked)
                for name in asked:
                    for key in fleets[name]:
                        if everything or self._woken(key):
                            look = self._look(key)
                            if look is not None:
                                yield key, look
                if everything:
                    due = began + self._pace.look
                step = self._pace.quick if any(map(self._sleeps, fleets.values())) else due - began
                await asyncio.sleep(max(0.0, min(due, began + step) - time.monotonic()))
        finally:
            for task in self._asked.values():
                task.cancel()

    def _offered(self) -> Mapping[FleetName, list[ModelKey]]:
        fleets: dict[FleetName, list[ModelKey]] = {}
        for key, scaled in self._decisions.models.items():
            name = (key.namespace, key.fleet)
            fleets.setdefault(name, []).append(key)
            self._fleets.setdefault(name, FleetDemand()).offer(
                key.model,
                prompt_tokens=scaled.prompt_tokens,
                output_tokens=scaled.output_tokens,
            )
        for gone in self._fleets.keys() - fleets.keys():
            del self._fleets[gone]
        for name, keys in fleets.items():
            self._fleets[name].keep(key.model for key in keys)
        return fleets

    def _sleeps(self, keys: Iterable[ModelKey]) -> bool:
        """Whether any of these models has no replica."""
        return any(not self._wanted(key) for key in keys)

    def _woken(self, key: ModelKey) -> bool:
        fleet = self._fleets[key.namespace, key.fleet]
        return not self._wanted(key) and fleet.waits(key.model)

    def _wanted(self, key: ModelKey) -> int | None:
        if key not in self._decisions.models:
            return None
        decided = self._decisions.of(key)
        return None if decided is None else decided.replicas

    def _look(self, key: ModelKey) -> Signals | None:
        fleet = self._fleets.get((key.namespace, key.fleet))
        scaled = self._decisions.models.get(key)
        if fleet is None or scaled is None or not fleet.known:
            return None  # nothing was ever heard: a number would be made up
        return fleet.look(
            key.model, self._clock(), wanted=self._wanted(key), cold_start=scaled.cold_start
        )

    async def _ask(self, names: Iterable[FleetName]) -> None:
        """Ask the gateways of these fleets that are not being asked, and take what has come."""
        await asyncio.gather(*(self._begin(name) for name in names))
        if self._asked:
            await asyncio.wait(self._asked.values(), timeout=self._pace.wait)
        for (name, address), task in list(self._asked.items()):
            if task.done():
                del self._asked[name, address]
                self._take(name, address, task)

    async def _begin(self, name: FleetName) -> None:
        try:
            async with asyncio.timeout(self._pace.wait):
                addresses = await self._addresses(name)
        except (PlimsollError, TimeoutError) as error:
            self._say(f"{name[0]}/{name[1]}", f"its gateways cannot be listed: {error}")
            return
        fleet = self._fleets[name]
        fleet.listed(addresses, self._clock())
        for address in addresses:
            if (name, address) not in self._asked:
                self._asked[name, address] = asyncio.ensure_future(self._counts(address))

    async def _counts(self, address: str) -> Mapping[str, Counts]:
        page, turns = Page(await self._fetch(address)), Turns()
        async with self._reading:  # one page after the other, or each would lengthen the turns
            for _ in page.parts():
                await turns.pause()
        return page.counts

    def _take(
        self, name: FleetName, address: str, task: asyncio.Task[Mapping[str, Counts]]
    ) -> None:
        fleet = self._fleets.get(name)
        try:
            said = task.result()
        except PlimsollError as error:
            self._say(address, f"does not tell its metrics: {error}")
            return
        self._silent.discard(address)
        if fleet is not None:
            fleet.heard(address, said, self._clock())

    def _say(self, what: str, why: str) -> None:
        """Once, not at every look."""
        if what not in self._silent:
            self._silent.add(what)
            _log.warning("%s %s", what, why)
