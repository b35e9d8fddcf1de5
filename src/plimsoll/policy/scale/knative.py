"""Knative's pod autoscaler (KPA): a stable window, and a short one for panic.

Source: the rules of knative/serving, pkg/autoscaler/scaling/autoscaler.go, and its defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor

import msgspec

from plimsoll.policy.scale.types import Answer, Limits, Signals
from plimsoll.policy.scale.window import Span, added, mean


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the KPA remembers.

    at        when it last looked; None before the first look
    stable    requests at once, over the stable window
    panic     the same, over the panic window
    panicked  when it last saw reason to panic; None while calm
    most      replicas of this panic, never less while it lasts
    idle      since when nothing was asked; None while something is
    """

    at: float | None = None
    stable: tuple[Span, ...] = ()
    panic: tuple[Span, ...] = ()
    panicked: float | None = None
    most: int = 0
    idle: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Knative:
    """A revision's autoscaler, scaling on concurrency.

    target           requests at once per replica
    limits           replicas
    stable_window    seconds
    panic_share      of the stable window that the panic window has
    panic_threshold  times the replicas that are ready, above which it panics
    most_up          times the replicas that are ready, the most of one answer
    most_down        the ready replicas divided by this, the least of one answer
    grace            seconds that the last replica stays after the window was empty
    """

    target: float
    limits: Limits
    stable_window: float = 60.0
    panic_share: float = 0.1
    panic_threshold: float = 2.0
    most_up: float = 1000.0
    most_down: float = 2.0
    grace: float = 30.0
    memory_type: type[Memory] = field(default=Memory, init=False, repr=False)

    def decide(self, signals: Signals, memory: Memory) -> Answer[Memory]:
        """See Policy. Without figures nothing is changed."""
        now = signals.now
        if signals.blind:
            held = self.limits.hold(signals.live, live=signals.live, at=now)
            return Answer(replicas=held, reasons=("no figures; nothing changes",), memory=memory)
        memory = self._counted(signals, memory)
        ready = max(1.0, float(signals.ready))
        stable = self._bounded(mean(memory.stable, now, self.stable_window), ready)
        short = self.stable_window * self.panic_share
        panic = self._bounded(mean(memory.panic, now, short), ready)
        wanted, memory, reason = self._calm_or_panic(now, stable, panic, ready, memory)
        if wanted == 0 and memory.idle is not None:
            empty = now - memory.idle >= self.stable_window + self.grace
            wanted = 0 if empty else min(1, signals.live)
        held = self.limits.hold(wanted, live=signals.live, at=now)
        return Answer(replicas=held, reasons=(reason,), memory=memory)

    def _counted(self, signals: Signals, memory: Memory) -> Memory:
        now = signals.now
        asked = signals.queued.requests + signals.in_flight
        seconds = 1.0 if memory.at is None else now - memory.at
        short = self.stable_window * self.panic_share
        idle = None if asked > 0 else (now if memory.idle is None else memory.idle)
        return msgspec.structs.replace(
            memory,
            at=now,
            stable=added(memory.stable, now, seconds, asked * seconds, self.stable_window),
            panic=added(memory.panic, now, seconds, asked * seconds, short),
            idle=idle,
        )

    def _bounded(self, asked: float, ready: float) -> tuple[int, float]:
        """Replicas for so many requests at once, within the rates of change; and before them."""
        plain = ceil(asked / self.target - 1e-9)
        bounded = min(max(plain, floor(ready / self.most_down)), ceil(self.most_up * ready))
        return bounded, plain

    def _calm_or_panic(
        self,
        now: float,
        stable: tuple[int, float],
        panic: tuple[int, float],
        ready: float,
        memory: Memory,
    ) -> tuple[int, Memory, str]:
        over = panic[1] / ready >= self.panic_threshold
        panicked, most = memory.panicked, memory.most
        if over:
            most = 0 if panicked is None else most
            panicked = now
        elif panicked is not None and now - panicked > self.stable_window:
            panicked, most = None, 0
        if panicked is None:
            memory = msgspec.structs.replace(memory, panicked=None, most=0)
            text = f"{stable[1]:.0f} for the last {self.stable_window:g} s"
            return stable[0], memory, text
        most = max(most, panic[0], stable[0])
        memory = msgspec.structs.replace(memory, panicked=panicked, most=most)
        return most, memory, f"panic: {panic[1]:.0f} for the last seconds, {ready:.0f} ready"
