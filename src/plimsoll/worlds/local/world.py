"""The local world: replicas are child processes of this one. See `LocalWorld`."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from plimsoll.engines.protocol import Counts, Engine, Setting
from plimsoll.errors import PlimsollError
from plimsoll.policy.snapshot import Action, ReplicaSeen, ReplicaState, StartReplica, StopReplica
from plimsoll.worlds.local.child import need_program
from plimsoll.worlds.local.cold_start import ColdStart, ColdStarts
from plimsoll.worlds.local.logs import new_run
from plimsoll.worlds.local.replica import LocalModel, Patience, Replica, Surroundings


class LocalWorld:
    """Replicas as processes on this machine; an async context manager.

    It does as told and nothing of its own: a replica that died stays `failed` until it is
    cleared, starting another is for `decide` to say. Leaving the context stops everything:
    streams get `drain_seconds`, then processes are killed; nothing is left behind.

    models         what can be started, by name
    engines        the adapters, by the name that a placement uses
    state          folder for `logs/` and `cold-starts.jsonl`; made when missing
    in_flight      requests that the gateway has at the replica of this name
    changed        called after each change of what `observe` says, in the event loop
    drain_seconds  how long a replica may take to finish its streams
    patience       how often replicas are looked at, and how long they are waited for
    """

    def __init__(
        self,
        *,
        models: Mapping[str, LocalModel],
        engines: Mapping[str, Engine],
        state: Path,
        in_flight: Callable[[str], int],
        changed: Callable[[], None],
        drain_seconds: float,
        patience: Patience | None = None,
    ) -> None:
        self._models = models
        self._engines = engines
        self._logs = state / "logs"
        self._drain_seconds = drain_seconds
        self._cold_starts = ColdStarts(state / "cold-starts.jsonl")
        self._around = Surroundings(
            in_flight=in_flight,
            changed=changed,
            cold_started=self._cold_starts.add,
            patience=patience or Patience(),
        )
        self._replicas: dict[str, Replica] = {}
        self._refused: dict[str, tuple[str, ReplicaSeen]] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._open = False

    async def __aenter__(self) -> Self:
        """Raises MissingExtra before anything is started when an engine is not installed."""
        for local in self._models.values():
            if engine := self._engines.get(local.placement.engine):
                setting = Setting(weights=str(local.weights), host="127.0.0.1", port=0)
                command = engine.command(local.placement, setting)
                need_program(command.argv[0])
        self._logs.mkdir(parents=True, exist_ok=True)
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open = False
        lives = tuple(self._lives.values())
        for replica in self._replicas.values():
            replica.stop(drain_seconds=self._drain_seconds)
        try:
            if lives:
                await asyncio.wait(lives)
        finally:
            for life in lives:  # all have ended, unless we were cancelled ourselves
                life.cancel()
            ends = await asyncio.gather(*lives, return_exceptions=True)
            self._replicas.clear()
            self._refused.clear()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def now(self) -> float:
        """The world's clock: seconds, never set back; `since` is on the same clock."""
        return time.monotonic()

    def observe(self) -> Mapping[str, tuple[ReplicaSeen, ...]]:
        """Every replica as it is now, by model; a model without replicas has an empty tuple."""
        seen: dict[str, list[ReplicaSeen]] = {model: [] for model in self._models}
        for replica in self._replicas.values():
            seen[replica.model].append(replica.seen())
        for model, refused in self._refused.values():
            seen.setdefault(model, []).append(refused)
        return {model: tuple(replicas) for model, replicas in seen.items()}

    async def apply(self, actions: Iterable[Action]) -> None:
        """Begin what is asked for, and return; `observe` shows how it goes.

        A stop of a replica that is stopping or gone is no error. A start that cannot be made
        yields a failed replica with the reason. After the context has ended nothing is started.
        """
        for action in actions:
            match action:
                case StartReplica(model=model):
                    self._start(model)
                case StopReplica(replica=name):
                    self._stop(name)

    def cold_starts(self) -> tuple[ColdStart, ...]:
        """The measured starts of this world, oldest first."""
        return self._cold_starts.all()

    def counts(self, replica: str) -> Counts | None:
        """What the replica's engine said of itself within the last seconds, or None."""
        known = self._replicas.get(replica)
        return known.counts if known else None

    def log_path(self, replica: str) -> Path:
        """The log of a replica's current or last run; older runs lie beside it."""
        return self._logs / f"{quote(replica, safe='')}.log"

    def _start(self, model: str) -> None:
        if not self._open:
            return
        name = self._free_name(model)
        try:
            replica = self._prepared(name, model)
        except (PlimsollError, OSError) as error:
            self._refused[name] = (model, self._refusal(name, str(error)))
            self._around.changed()
            return
        self._replicas[name] = replica
        self._lives[name] = asyncio.create_task(self._live(replica), name=f"replica {name}")
        self._around.changed()

    def _prepared(self, name: str, model: str) -> Replica:
        if model not in self._models:
            raise PlimsollError(f"no model `{model}` in this world", code="world.unknown-model")
        local = self._models[model]
        if local.placement.engine not in self._engines:
            raise PlimsollError(
                f"no engine `{local.placement.engine}` in this world", code="world.unknown-engine"
            )
        return Replica(
            name=name,
            model=local,
            engine=self._engines[local.placement.engine],
            log=new_run(self._logs, quote(name, safe="")),
            around=self._around,
        )

    async def _live(self, replica: Replica) -> None:
        await replica.run()
        self._lives.pop(replica.name, None)
        if replica.seen().state is not ReplicaState.FAILED:
            self._forget(replica.name)

    def _stop(self, name: str) -> None:
        replica = self._replicas.get(name)
        if name in self._refused or (replica and name not in self._lives):
            self._forget(name)
        elif replica:
            replica.stop(drain_seconds=self._drain_seconds)

    def _forget(self, name: str) -> None:
        self._replicas.pop(name, None)
        self._refused.pop(name, None)
        self._around.changed()

    def _free_name(self, model: str) -> str:
        """The lowest number that no replica has, and at which the gateway has no request left."""
        for number in itertools.count():
            name = f"{model}-{number}"
            taken = name in self._replicas or name in self._refused
            if not taken and self._around.in_flight(name) == 0:
                return name
        raise AssertionError("unreachable")

    def _refusal(self, name: str, reason: str) -> ReplicaSeen:
        return ReplicaSeen(
            name=name, state=ReplicaState.FAILED, since=time.monotonic(), reason=reason
        )
