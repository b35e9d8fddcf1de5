"""The number of replicas of each model, decided anew at every look, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.errors import InputError
from plimsoll.fleet.suggest import did_you_mean
from plimsoll.policy.scale.types import Answer, Signals
from plimsoll.scaler.models import ModelKey, Scaled

STALE_SECONDS = 15.0
"""Figures older than this may be of a time with less load: they raise a number, never lower it."""


class UnknownModelError(InputError):
    """KEDA asks for a model that no fleet has here."""

    default_code = "scaler.unknown-model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was decided at the last look.

    replicas  wanted, those that load included
    reasons   the deciding one first
    current   replicas that were ready or loading then; None after a restart, before the first look
    at        when, seconds of the signals' clock
    memory    of the policy
    """

    replicas: int
    reasons: tuple[str, ...]
    current: int | None
    at: float
    memory: Any


class Decisions:
    """The last decision of every model. All in one thread: the event loop's.

    changed  called after each look with the model, and whether its number changed
    """

    def __init__(self, changed: Callable[[ModelKey, bool], None] = lambda *_: None) -> None:
        self._changed = changed
        self._models: dict[ModelKey, Scaled] = {}
        self._decided: dict[ModelKey, Decided] = {}
        self._waiting: dict[ModelKey, list[asyncio.Future[None]]] = {}

    @property
    def models(self) -> Mapping[ModelKey, Scaled]:
        """The models that are scaled here."""
        return self._models

    def offer(self, models: Mapping[ModelKey, Scaled]) -> None:
        """These models, and no others, are scaled here from now on.

        What was decided for a model stays; a policy of another kind begins with a memory of its
        own.
        """
        self._models = dict(models)
        for key in [key for key in self._decided if key not in models]:
            del self._decided[key]
        for key in list(self._waiting):
            if key not in models:
                self._wake(key)

    def recall(self, key: ModelKey, decided: Decided) -> None:
        """A decision from before a restart, of a model that is offered."""
        self._decided.setdefault(key, decided)
        self._wake(key)

    def look(self, key: ModelKey, signals: Signals) -> Decided:
        """Decide. Raises UnknownModelError for a model that is not offered."""
        scaled = self._scaled(key)
        last = self._decided.get(key)
        memory = last.memory if last is not None else None
        if not isinstance(memory, scaled.policy.memory_type):
            memory = scaled.policy.memory_type()
        answer = scaled.policy.decide(signals, memory)
        decided = _safe(answer, signals, last, scaled.max)
        self._decided[key] = decided
        if last is None or last.replicas != decided.replicas:
            self._wake(key)
            self._changed(key, True)
        else:
            self._changed(key, False)
        return decided

    def of(self, key: ModelKey) -> Decided | None:
        """The last decision; None before the first. Raises UnknownModelError."""
        self._scaled(key)
        return self._decided.get(key)

    async def change(self, key: ModelKey) -> None:
        """Wait until the number changes, becomes known, or the model is offered no more."""
        self._scaled(key)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(future)
        try:
            await future
        finally:
            if not future.done() or future.cancelled():
                self._forget(key, future)

    def _forget(self, key: ModelKey, future: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(key, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(key, None)

    def _wake(self, key: ModelKey) -> None:
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(None)

    def _scaled(self, key: ModelKey) -> Scaled:
        found = self._models.get(key)
        if found is None:
            raise self._unknown(key)
        return found

    def _unknown(self, key: ModelKey) -> UnknownModelError:
        fleets = sorted({(each.namespace, each.fleet) for each in self._models})
        if (key.namespace, key.fleet) not in fleets:
            names = tuple(f"{namespace}/{fleet}" for namespace, fleet in fleets)
            wanted = f"{key.namespace}/{key.fleet}"
            return UnknownModelError(
                f"no fleet `{key.fleet}` of namespace `{key.namespace}` is scaled here",
                where=str(key),
                hint=did_you_mean(wanted, names)
                or "see `fleet` and `fleetNamespace` of the trigger, and `plimsoll status`",
            )
        models = tuple(
            sorted(
                each.model
                for each in self._models
                if (each.namespace, each.fleet) == (key.namespace, key.fleet)
            )
        )
        return UnknownModelError(
            f"fleet `{key.fleet}` scales no model `{key.model}` here",
            where=str(key),
            hint=did_you_mean(key.model, models)
            or "see `model` of the trigger, and whether the model has `scaling.policy: plimsoll`",
        )


def _safe(answer: Answer[Any], signals: Signals, last: Decided | None, most: int | None) -> Decided:
    """The policy's answer, but nothing is taken away on figures that are not there or old."""
    replicas, reasons = answer.replicas, answer.reasons
    unseen = signals.blind or signals.age > STALE_SECONDS
    if unseen:
        kept = max(replicas, signals.live if last is None else last.replicas)
        kept = kept if most is None else min(kept, max(most, replicas))
        if kept > replicas:
            why = "no figures" if signals.blind else f"figures {signals.age:.0f} s old"
            reasons = (f"{why}: {kept} kept", *reasons)
        replicas = kept
    return Decided(
        replicas=replicas,
        reasons=tuple(reasons),
        current=signals.ready + len(signals.loading),
        at=signals.now,
        memory=answer.memory,
    )
