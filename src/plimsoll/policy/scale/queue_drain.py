"""Enough replicas for what runs, and so many more that the queue is gone in a given time."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

import msgspec

from plimsoll.policy.scale.types import Answer, Capacity, Limits, Signals
from plimsoll.policy.scale.window import Peak, highest


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The highest numbers of the last window."""

    recommended: tuple[Peak, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDrain:
    """The rule.

    capacity  of one replica
    limits    replicas
    drain     seconds in which what waits shall be done
    full      share of a replica's places that may be taken
    window    seconds for which fewer must have been enough before the number goes down
    """

    capacity: Capacity
    limits: Limits
    drain: float = 30.0
    full: float = 0.8
    window: float = 300.0
    memory_type: type[Memory] = field(default=Memory, init=False, repr=False)

    def decide(self, signals: Signals, memory: Memory) -> Answer[Memory]:
        """See Policy. Without figures nothing is changed."""
        now, live = signals.now, signals.live
        if signals.blind:
            held = self.limits.hold(live, live=live, at=now)
            return Answer(replicas=held, reasons=("no figures; nothing changes",), memory=memory)
        queued = signals.queued
        running = signals.in_flight / (self.capacity.concurrent * self.full)
        work = self.capacity.replicas(queued.prompt_tokens, queued.output_tokens)
        drain = work / self.drain
        needed = ceil(running + drain - 1e-9)
        if needed == 0 and queued.requests > 0:
            needed = 1
        recommended = highest(memory.recommended, now, needed, self.window)
        wanted = needed if needed >= live else min(live, int(recommended[0].value))
        reasons = (
            f"{running:.1f} for {signals.in_flight:.0f} that run",
            f"{drain:.1f} to be through with {queued.requests:.0f} that wait in {self.drain:g} s",
        )
        return Answer(
            replicas=self.limits.hold(wanted, live=live, at=now),
            reasons=reasons,
            memory=Memory(recommended=recommended),
        )
