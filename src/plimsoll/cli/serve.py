"""One local run: gateway and world, kept together by `decide`, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from plimsoll.cli.gateway_limits import gateway_settings
from plimsoll.cli.offered import Planned, offered
from plimsoll.cli.prepare import Prepared
from plimsoll.cli.running import (
    ColdStartSeen,
    RunningFile,
    RunningFleet,
    RunningModel,
    RunningReplica,
)
from plimsoll.cli.signals import on_signals
from plimsoll.engines import ENGINES
from plimsoll.gateway import Board, Gateway, Served, Upstream
from plimsoll.gateway.access import Access
from plimsoll.policy.decide import decide
from plimsoll.policy.snapshot import Memory, ModelSeen, ReplicaSeen, ReplicaState, Seen
from plimsoll.telemetry.metrics import GatewayMetrics
from plimsoll.worlds.local import LocalModel, LocalWorld

TICK_SECONDS = 0.5
SETTLE_SECONDS = 0.02  # a burst of changes is looked at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen; port 0 lets the system choose."""

    host: str
    port: int


class LocalRun:
    """A fleet that is up on this machine; `serve` runs it from start to stop."""

    def __init__(
        self,
        prepared: Prepared,
        *,
        address: Address,
        state: Path,
        drain_seconds: float,
        show: Callable[[RunningFleet], None],
        file: RunningFile,
        access: Access,
    ) -> None:
        self._prepared = prepared
        self._address = address
        self._drain_seconds = drain_seconds
        self._show = show
        self._file = file
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._memory = Memory()
        self._url = ""
        self._started = time.time()
        self._board = Board(served_models(prepared), wake=lambda _model: self._changed.set())
        self._gateway = Gateway(
            board=self._board,
            settings=gateway_settings(prepared.fleet),
            metrics=GatewayMetrics(),
            access=access,
        )
        self._world = LocalWorld(
            models={
                place.model: LocalModel(placement=place, weights=prepared.weights[place.model])
                for place in prepared.plan.placements
            },
            engines=ENGINES,
            state=state,
            in_flight=self._board.in_flight,
            changed=self._changed.set,
            drain_seconds=drain_seconds,
        )

    async def serve(self, ready: Callable[[str], None]) -> int:
        """Serve until SIGINT or SIGTERM, then drain. Returns how many streams were cut.

        Raises PortTaken before any replica is started.
        """
        with on_signals(self._on_signal):
            async with self._world, self._listening():
                ready(self._url)
                await self._keep_true()
                self._publish("draining", self._world.observe())
                return await self._drain()

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        host, port = await self._gateway.start(self._address.host, self._address.port)
        self._url = f"http://{_spoken(host)}:{port}"
        try:
            yield
        finally:
            await self._gateway.close()

    async def _keep_true(self) -> None:
        while not self._stopping.is_set():
            self._changed.clear()
            replicas = self._world.observe()
            self._tell_gateway(replicas)
            seen = self._seen(replicas)
            plan, fleet = self._prepared.plan, self._prepared.fleet
            actions, self._memory = decide(fleet, plan, seen, self._memory)
            # Shown before it is acted on, so that a failure is seen before it is cleared away.
            self._publish("up", replicas)
            if actions:
                await self._world.apply(actions)
                self._tell_gateway(self._world.observe())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), TICK_SECONDS)
            await asyncio.sleep(SETTLE_SECONDS)

    async def _drain(self) -> int:
        """Finish streams within the drain time; a second signal cuts them now."""
        draining = asyncio.create_task(self._gateway.drain(self._drain_seconds))
        hurried = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
            return await draining if draining.done() else await self._gateway.drain(0.0)
        finally:
            for task in (draining, hurried):
                task.cancel()
            await asyncio.gather(draining, hurried, return_exceptions=True)

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()
        self._changed.set()

    def _seen(self, replicas: Mapping[str, tuple[ReplicaSeen, ...]]) -> Seen:
        demand = self._board.demand()
        return Seen(
            now=self._world.now(),
            models=tuple(
                ModelSeen(
                    name=place.model,
                    replicas=replicas.get(place.model, ()),
                    queued=demand[place.model].queued,
                    in_flight=demand[place.model].in_flight,
                    last_used=demand[place.model].last_used,
                )
                for place in self._prepared.plan.placements
            ),
        )

    def _tell_gateway(self, replicas: Mapping[str, tuple[ReplicaSeen, ...]]) -> None:
        for place in self._prepared.plan.placements:
            upstreams = []
            for replica in replicas.get(place.model, ()):
                if replica.state is ReplicaState.READY and replica.address:
                    host, _, port = replica.address.rpartition(":")
                    upstreams.append(
                        Upstream(
                            replica=replica.name, host=host, port=int(port), capacity=place.parallel
                        )
                    )
            self._board.update(place.model, tuple(upstreams))

    def _publish(self, state: str, replicas: Mapping[str, tuple[ReplicaSeen, ...]]) -> None:
        fleet = self._running(state, replicas)
        self._file.write(fleet)
        self._show(fleet)

    def _running(self, state: str, replicas: Mapping[str, tuple[ReplicaSeen, ...]]) -> RunningFleet:
        now = self._world.now()
        demand = self._board.demand()
        models = []
        for place in self._prepared.plan.placements:
            memory = self._memory.models.get(place.model)
            models.append(
                RunningModel(
                    name=place.model,
                    engine=place.engine,
                    wanted=memory.wanted if memory else 0,
                    queued=demand[place.model].queued,
                    in_flight=demand[place.model].in_flight,
                    reason=memory.reason if memory else "",
                    replicas=tuple(
                        RunningReplica(
                            name=r.name,
                            state=r.state.value,
                            seconds=round(now - r.since),
                            in_flight=self._board.in_flight(r.name),
                            address=r.address,
                            reason=r.reason,
                        )
                        for r in replicas.get(place.model, ())
                    ),
                )
            )
        return RunningFleet(
            pid=os.getpid(),
            started=self._started,
            fleet=self._prepared.fleet.name,
            url=self._url,
            state=state,
            models=tuple(models),
            cold_starts=tuple(
                ColdStartSeen(replica=start.replica, phases=dict(start.phases))
                for start in self._world.cold_starts()[-8:]
            ),
        )


def served_models(prepared: Prepared) -> tuple[Served, ...]:
    """What the gateway offers: the fleet's models as they were planned."""
    return offered(
        prepared.fleet,
        {
            place.model: Planned(
                task=place.task,
                context=place.context,
                adapters=place.adapters,
                engine=ENGINES[place.engine],
                kv_tokens=place.kv_tokens,
                prefill_rate=place.prefill_rate,
            )
            for place in prepared.plan.placements
        },
    )


def _spoken(host: str) -> str:
    """The host as a client on this machine would write it in a URL."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 -- compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
