"""KEDA with Kubernetes' HorizontalPodAutoscaler: a threshold on a sum, as they really apply it.

Source: Kubernetes' documentation of horizontal pod autoscaling (external metric, AverageValue;
default behaviour) and KEDA's of ScaledObjects, as they stand in 2026.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil

import msgspec

from plimsoll.policy.scale.types import Answer, Limits, Signals
from plimsoll.policy.scale.window import Peak, Span, added, highest, mean

SYNC = 15.0
"""Seconds between two looks of the HPA."""

TOLERANCE = 0.1
"""Share by which the metric may be off its target without any change."""

DOWN_WINDOW = 300.0
"""Seconds of which the highest recommendation holds on the way down."""

UP_PERIOD, UP_PERCENT, UP_PODS = 15.0, 100.0, 4
"""In so many seconds as many replicas more as there were, or this many if that is more."""

RATE_OVER = 60.0
"""Seconds over which a request rate is usually taken."""


class Metric(StrEnum):
    """What the threshold is of, per replica."""

    REQUESTS = "requests"  # waiting and running, at this moment
    RATE = "rate"  # arriving a second, over a minute


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What KEDA and the HPA remember.

    synced       when the HPA last looked; None before it did
    polled       when KEDA last looked whether there is any load
    active       when there last was load; None before there was
    recommended  of the last window
    raised       replicas added, and when, within the last period
    arrivals     requests of the last minute
    wanted       the last answer
    """

    synced: float | None = None
    polled: float | None = None
    active: float | None = None
    recommended: tuple[Peak, ...] = ()
    raised: tuple[Peak, ...] = ()
    arrivals: tuple[Span, ...] = ()
    wanted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keda:
    """A ScaledObject.

    threshold   of the metric per replica (AverageValue)
    limits      replicas
    metric      what is counted
    activation  the metric must be above this to leave 0, and is load while it is
    cooldown    seconds without load before 0
    polling     seconds between two looks at whether there is load
    """

    threshold: float
    limits: Limits
    metric: Metric = Metric.REQUESTS
    activation: float = 0.0
    cooldown: float = 300.0
    polling: float = 30.0
    memory_type: type[Memory] = field(default=Memory, init=False, repr=False)

    def decide(self, signals: Signals, memory: Memory) -> Answer[Memory]:
        """See Policy. Without figures nothing is changed, as the HPA does on an error."""
        now = signals.now
        if signals.blind:
            held = self.limits.hold(signals.live, live=signals.live, at=now)
            return Answer(
                replicas=held,
                reasons=("no metric; nothing changes",),
                memory=memory,
            )
        arrived = signals.arrived
        memory = msgspec.structs.replace(
            memory,
            arrivals=added(memory.arrivals, now, arrived.seconds, arrived.requests, RATE_OVER),
        )
        total = (
            mean(memory.arrivals, now, RATE_OVER)
            if self.metric is Metric.RATE
            else signals.queued.requests + signals.in_flight
        )
        memory = self._polled(memory, total, now)
        if signals.live == 0 or self._idle(memory, now):
            return self._zero_or_one(signals, memory, total)
        if memory.synced is not None and now - memory.synced < SYNC - 1e-6:
            held = self.limits.hold(memory.wanted or signals.live, live=signals.live, at=now)
            return Answer(replicas=held, reasons=("between two looks",), memory=memory)
        return self._synced(signals, memory, total)

    def _polled(self, memory: Memory, total: float, now: float) -> Memory:
        if memory.polled is not None and now - memory.polled < self.polling - 1e-6:
            return memory
        active = now if total > self.activation or memory.active is None else memory.active
        return msgspec.structs.replace(memory, polled=now, active=active)

    def _idle(self, memory: Memory, now: float) -> bool:
        last = memory.active
        return self.limits.least(now) == 0 and last is not None and now - last >= self.cooldown

    def _zero_or_one(self, signals: Signals, memory: Memory, total: float) -> Answer[Memory]:
        woken = memory.polled == signals.now and total > self.activation
        wanted = self.limits.hold(1 if woken else 0, live=signals.live, at=signals.now)
        reason = f"{total:g} is above the activation" if woken else f"idle for {self.cooldown:g} s"
        return Answer(
            replicas=wanted,
            reasons=(reason,),
            memory=msgspec.structs.replace(memory, wanted=wanted, recommended=()),
        )

    def _synced(self, signals: Signals, memory: Memory, total: float) -> Answer[Memory]:
        now, live = signals.now, signals.live
        ratio = total / (self.threshold * live)
        near = abs(1.0 - ratio) <= TOLERANCE
        desired = live if near else ceil(total / self.threshold - 1e-9)
        least = max(1, self.limits.least(now))
        desired = min(max(desired, least), self.limits.max)
        recommended = highest(memory.recommended, now, desired, DOWN_WINDOW)
        wanted = desired if desired >= live else min(live, int(recommended[0].value))
        raised = tuple(rise for rise in memory.raised if now - rise.at < UP_PERIOD - 1e-6)
        if wanted > live:
            before = live - int(sum(rise.value for rise in raised))
            most = max(ceil(before * (1 + UP_PERCENT / 100)), before + UP_PODS)
            wanted = max(live, min(wanted, most))
            raised = (*raised, Peak(now, wanted - live))
        wanted = self.limits.hold(wanted, live=live, at=now)
        reasons = [f"{total:.4g} at {self.threshold:.4g} per replica"]
        if near:
            reasons.append("within the tolerance of 10 %")
        elif wanted > desired:
            reasons.append(f"{wanted} recommended within the last {DOWN_WINDOW:.0f} s")
        return Answer(
            replicas=wanted,
            reasons=tuple(reasons),
            memory=msgspec.structs.replace(
                memory, synced=now, recommended=recommended, raised=raised, wanted=wanted
            ),
        )
