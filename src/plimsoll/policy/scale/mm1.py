"""A queueing model with a service rate that depends on the batch, as llm-d's variant autoscaler.

Source of the model: llm-d-incubation/workload-variant-autoscaler, docs/design and
pkg/analyzer/queueanalyzer.go. It knows no cold start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, exp, log

import msgspec

from plimsoll.policy.scale.types import Answer, Limits, Signals
from plimsoll.policy.scale.window import Peak, Span, added, highest, mean

INTERVAL = 60.0
"""Seconds between two reckonings, and over which the arrivals are taken."""

DOWN_WINDOW = 300.0
"""Seconds of which the highest answer holds on the way down: its answers go through an HPA."""

_HALVINGS = 30
_LEAST_RATE = 1e-6  # requests/s; less is none
_LONGEST = 1e6  # tokens


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Times of one replica, linear in its batch, and what it should keep.

    step_base, step_each      seconds per output token: base, and for each request of the batch
    prompt_base, prompt_each  seconds for a prompt: base, and for each token times each request
    batch                     requests at once, at most
    queue                     requests that may wait, at most
    ttft, tpot                objectives, seconds
    """

    step_base: float
    step_each: float
    prompt_base: float
    prompt_each: float
    batch: int
    queue: int
    ttft: float
    tpot: float


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Arrivals and lengths of the last interval, and the highest answers of the last window."""

    at: float | None = None
    requests: tuple[Span, ...] = ()
    prompts: tuple[Span, ...] = ()
    outputs: tuple[Span, ...] = ()
    recommended: tuple[Peak, ...] = ()
    wanted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mm1:
    """The rule.

    service  of one replica
    limits   replicas
    """

    service: Service
    limits: Limits
    memory_type: type[Memory] = field(default=Memory, init=False, repr=False)

    def decide(self, signals: Signals, memory: Memory) -> Answer[Memory]:
        """See Policy. Without figures nothing is changed."""
        now, live, arrived = signals.now, signals.live, signals.arrived
        if signals.blind:
            held = self.limits.hold(live, live=live, at=now)
            return Answer(replicas=held, reasons=("no figures; nothing changes",), memory=memory)
        kept = {
            name: added(spans, now, arrived.seconds, count, INTERVAL)
            for name, spans, count in (
                ("requests", memory.requests, arrived.requests),
                ("prompts", memory.prompts, arrived.prompt_tokens),
                ("outputs", memory.outputs, arrived.output_tokens),
            )
        }
        memory = msgspec.structs.replace(memory, **kept)
        if memory.at is not None and now - memory.at < INTERVAL - 1e-6:
            wanted = self.limits.hold(memory.wanted, live=live, at=now)
            return Answer(replicas=wanted, reasons=("between two looks",), memory=memory)
        rate = mean(memory.requests, now, INTERVAL)
        needed, reason = 0, "no requests"
        if rate > _LEAST_RATE:
            prompt = mean(memory.prompts, now, INTERVAL) / rate
            output = mean(memory.outputs, now, INTERVAL) / rate
            able = highest_rate(
                self.service, round(min(prompt, _LONGEST)), max(1, round(min(output, _LONGEST)))
            )
            needed = ceil(rate / able - 1e-9) if able > 0 else self.limits.max
            reason = f"{rate:.3g} requests/s at {able:.3g} per replica"
        recommended = highest(memory.recommended, now, needed, DOWN_WINDOW)
        wanted = needed if needed >= live else min(live, int(recommended[0].value))
        wanted = self.limits.hold(wanted, live=live, at=now)
        memory = msgspec.structs.replace(memory, at=now, recommended=recommended, wanted=wanted)
        return Answer(replicas=wanted, reasons=(reason,), memory=memory)


@lru_cache(maxsize=4096)
def highest_rate(service: Service, prompt: int, output: int) -> float:
    """Requests/s at which the mean wait and prompt, and the time per token, keep the objectives.

    0 where one request alone does not.
    """
    rates = [
        n / (_prompt(service, prompt, n) + (output - 1) * _step(service, n))
        for n in range(1, service.batch + 1)
    ]
    low, high = 0.0, rates[-1] * (1 - 1e-3)
    if not _keeps(service, prompt, rates, min(rates[0], high) * 1e-3):
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _keeps(service, prompt, rates, middle):
            low = middle
        else:
            high = middle
    return low


def _keeps(service: Service, prompt: int, rates: list[float], rate: float) -> bool:
    """Stationary state of the birth-death chain: mean waiting time and batch at an arrival rate."""
    logs = [0.0]
    for n in range(1, service.batch + service.queue + 1):
        logs.append(logs[-1] + log(rate / rates[min(n, service.batch) - 1]))
    top = max(logs)
    shares = [exp(value - top) for value in logs]
    whole = sum(shares)
    served = rate * (1 - shares[-1] / whole)
    batch = sum(min(n, service.batch) * share for n, share in enumerate(shares)) / whole
    waiting = sum(max(0, n - service.batch) * share for n, share in enumerate(shares)) / whole
    ttft = waiting / served + _prompt(service, prompt, batch)
    return ttft <= service.ttft and _step(service, batch) <= service.tpot


def _step(service: Service, batch: float) -> float:
    return service.step_base + service.step_each * batch


def _prompt(service: Service, prompt: float, batch: float) -> float:
    return service.prompt_base + service.prompt_each * prompt * batch
