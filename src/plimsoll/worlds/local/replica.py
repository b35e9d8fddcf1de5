"""The life of one replica: start, ready, drain, end; every way it can fail has a reason."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll.engines.protocol import Command, Counts, Engine, Setting
from plimsoll.errors import EngineError, FormatError
from plimsoll.plan.types import Placement
from plimsoll.policy.snapshot import ReplicaSeen, ReplicaState
from plimsoll.worlds.local.child import Child, running
from plimsoll.worlds.local.cold_start import ColdStart
from plimsoll.worlds.local.logs import RunLog
from plimsoll.worlds.local.probe import get

_OK = 200
_ANY_PORT = 0  # the system chooses; the process says which


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a replica is looked at, and how long it is waited for; all in seconds.

    poll           between two looks at health or idleness
    scrape         between two readings of its metrics
    answer         for one answer
    silence        without any answer to health, until a ready replica counts as hung
    start          for a start, beside the time that reading the weights takes
    bytes_per_second  slowest reading of weights that is waited for
    """

    poll: float = 0.03
    scrape: float = 1.0
    answer: float = 5.0
    silence: float = 30.0
    start: float = 60.0
    bytes_per_second: float = 20e6

    def whole_start(self, weights: Path) -> float:
        """Seconds that a start may take with these weights."""
        files = weights.rglob("*") if weights.is_dir() else (weights,)
        size = sum(file.stat().st_size for file in files if file.is_file())
        return self.start + size / self.bytes_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """One model on this machine.

    placement  how each of its replicas runs
    weights    the fetched file or folder
    """

    placement: Placement
    weights: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a replica needs of the world that it lives in.

    in_flight     requests that the gateway has at the replica of this name
    changed       called after each change of what `seen` says
    cold_started  called once for each start that became ready; returns what went wrong in
                  recording it, or nothing
    patience      see there
    """

    in_flight: Callable[[str], int]
    changed: Callable[[], None]
    cold_started: Callable[[ColdStart], str]
    patience: Patience


class Replica:
    """One engine process from its start to its end; `run` is its life, and is run once.

    name    unique in the world
    model   the model's name
    counts  the last reading of its own metrics; None before the first, or when it is stale
    """

    def __init__(
        self,
        *,
        name: str,
        model: LocalModel,
        engine: Engine,
        log: Path,
        around: Surroundings,
    ) -> None:
        self.name = name
        self.model = model.placement.model
        self.counts: Counts | None = None
        self._weights = model.weights.absolute()
        self._command: Command = engine.command(
            model.placement,
            Setting(weights=str(self._weights), host="127.0.0.1", port=_ANY_PORT),
        )
        self._engine = engine
        self._log = log
        self._around = around
        self._stopping = asyncio.Event()
        self._drain_until = float("inf")
        self._seen = ReplicaSeen(
            name=name, state=ReplicaState.STARTING, since=time.monotonic(), reason="starting"
        )

    def seen(self) -> ReplicaSeen:
        """What the world shows of it."""
        return self._seen

    def stop(self, *, drain_seconds: float) -> None:
        """Ask it to finish its streams and end; asked again, the earlier end counts."""
        self._drain_until = min(self._drain_until, time.monotonic() + drain_seconds)
        self._stopping.set()
        if self._seen.state is ReplicaState.READY:
            self._drain()

    async def run(self) -> None:
        """Live until stopped, or failed: `seen` says which. Cancelled, it ends at once."""
        try:
            with RunLog(self._log) as log:
                async with running(self._command.argv, env=self._command.env, log=log) as child:
                    if await self._unless_stopped(child, self._start(child)):
                        await self._unless_stopped(child, self._serve())
                        await self._end(child)
        except (EngineError, FormatError, OSError) as error:
            self._become(ReplicaState.FAILED, str(error) or type(error).__name__)
        except Exception as error:
            self._become(ReplicaState.FAILED, f"a fault of ours: {error!r}")
            raise

    async def _unless_stopped(self, child: Child, work: Coroutine[Any, Any, None]) -> bool:
        """Work until it is done (True) or a stop is asked for (False).

        Raises what the work raises, and EngineError when the process ends meanwhile.
        """
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        exiting = asyncio.create_task(child.exited())
        tasks = {working, stopping, exiting}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and working.exception() is None:
                return True  # also when a stop came in the same moment: it has streams to finish
            if stopping.done():
                return False
            if exiting.done():
                ready = self._seen.state is ReplicaState.READY
                raise EngineError(child.ending(started=ready), code="engine.died")
            await working
            return True
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, child: Child) -> None:
        limit = self._around.patience.whole_start(self._weights)
        marks = [self._seen.since]
        started = time.time()
        try:
            async with asyncio.timeout(limit):
                address = ""
                while not address:
                    address = await self._next_step(child, marks)
                await self._healthy(address)
        except TimeoutError as error:
            raise EngineError(
                f"not ready after {limit:.0f} s", hint=f"see {self._log}", code="engine.slow-start"
            ) from error
        marks.append(time.monotonic())
        spans = [later - earlier for earlier, later in itertools.pairwise(marks)]
        problem = self._around.cold_started(
            ColdStart(
                model=self.model,
                replica=self.name,
                started=started,
                phases=dict(zip(("spawn", "load", "ready"), spans, strict=True)),
            )
        )
        self._become(ReplicaState.READY, problem, address=address)

    async def _next_step(self, child: Child, marks: list[float]) -> str:
        """Follow what the process says; the address once it listens, until then empty."""
        step, _, address = (await child.word()).partition(" ")
        if not step:  # it says no more: it is about to end
            await child.exited()
            raise EngineError(child.ending(started=False), code="engine.died")
        marks.append(time.monotonic())
        if not address:
            self._become(ReplicaState.STARTING, "loading the weights")
        return address

    async def _healthy(self, address: str) -> None:
        """Wait for readiness. Raises EngineError when health says neither ready nor loading."""
        patience, probe = self._around.patience, self._command.ready
        status: int | None = None
        while status is None or status in probe.loading:
            await asyncio.sleep(0.0 if status is None else patience.poll)
            status = (await get(address, probe.path, seconds=patience.answer)).status
        if status not in probe.ok:
            raise EngineError(f"{probe.path} answered {status}", code="engine.unhealthy")

    async def _serve(self) -> None:
        """Look at health and metrics until cancelled. Raises EngineError when it is hung."""
        patience = self._around.patience
        answered = time.monotonic()
        while True:
            # An engine that tells its metrics is alive: its health need not be asked as well.
            if await self._scrape() or await self._answers():
                answered = time.monotonic()
            elif time.monotonic() - answered > patience.silence:
                raise EngineError(
                    f"no answer to {self._command.ready.path} for {patience.silence:.0f} s",
                    hint=f"see {self._log}",
                    code="engine.silent",
                )
            await asyncio.sleep(patience.scrape)

    async def _answers(self) -> bool:
        try:
            await get(self._address, self._command.ready.path, seconds=self._around.patience.answer)
        except EngineError:
            return False
        return True

    async def _scrape(self) -> bool:
        """Read its metrics; whether it told them. Raises FormatError when they are not those of
        this engine.
        """
        if self._command.metrics is None:
            return False
        try:
            answer = await get(
                self._address, self._command.metrics, seconds=self._around.patience.answer
            )
        except EngineError:
            self.counts = None
            return False
        self.counts = self._engine.counts(answer.text) if answer.status == _OK else None
        return self.counts is not None

    async def _end(self, child: Child) -> None:
        """Wait for the streams, then for the process; the context around it kills what is left."""
        self._drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._loop_time(self._drain_until)):
                await self._idle(child)
        drain = self._command.drain
        child.signal(drain.signal)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain.grace_seconds):
                await child.exited()

    async def _idle(self, child: Child) -> None:
        """Return when neither gateway nor engine has work of this replica, or it has died."""
        gone = asyncio.create_task(child.exited())
        idle_looks = 0  # two in a row: a slot is free a moment before its last words are sent
        try:
            while not gone.done() and idle_looks < 2:
                idle_looks = idle_looks + 1 if await self._is_idle() else 0
                await asyncio.wait({gone}, timeout=self._around.patience.poll)
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _is_idle(self) -> bool:
        if self._around.in_flight(self.name) > 0:
            return False
        await self._scrape()
        return self.counts is None or self.counts.running + self.counts.waiting == 0

    def _drain(self) -> None:
        if self._seen.state is not ReplicaState.DRAINING:
            self._become(ReplicaState.DRAINING, "finishes its streams")

    @property
    def _address(self) -> str:
        assert self._seen.address is not None
        return self._seen.address

    @staticmethod
    def _loop_time(monotonic: float) -> float:
        return asyncio.get_running_loop().time() + monotonic - time.monotonic()

    def _become(self, state: ReplicaState, reason: str, *, address: str | None = None) -> None:
        self._seen = ReplicaSeen(
            name=self.name,
            state=state,
            since=self._seen.since if state is self._seen.state else time.monotonic(),
            address=address or self._seen.address,
            reason=reason,
        )
        self._around.changed()
