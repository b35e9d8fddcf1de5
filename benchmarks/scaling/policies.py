"""The policies that are measured, with the settings that each would be given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.scaling.demand import Demand
from benchmarks.scaling.fluid import Outcome, Setting, run
from benchmarks.scaling.replica import TPOT, TTFT, Replica
from plimsoll.policy.scale import (
    ColdStart,
    Keda,
    Knative,
    Limits,
    Metric,
    Mm1,
    Policy,
    Predictive,
    QueueDrain,
    Service,
    Signals,
)

LOOK = 10
"""Seconds between two looks of our policy and of those that say nothing of it."""

HPA_LOOK = 15
"""Seconds between two looks of the HPA."""

KPA_LOOK = 2
"""Seconds between two looks of the KPA."""

MOST = 100_000
"""Replicas: nobody is held by a limit here."""

LIMITS = Limits(min=1, max=MOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A policy and how often it looks.

    name    for people
    policy  with its settings
    look    seconds between two looks
    """

    name: str
    policy: Policy[Any]
    look: int


def ours(unit: Replica, cold_start: float) -> Run:
    """The predictive policy."""
    policy = Predictive(
        capacity=unit.capacity, limits=LIMITS, cold_start=ColdStart(p50=cold_start, p90=cold_start)
    )
    return Run(name="predictive", policy=policy, look=LOOK)


def keda(unit: Replica, share: float, metric: Metric) -> Run:
    """KEDA at a share of a replica's capacity: of its rate, or of the requests it then holds."""
    threshold = unit.rate * share if metric is Metric.RATE else unit.flying(share)
    if metric is Metric.REQUESTS and share > 1.0:
        threshold = unit.seats * share
    policy = Keda(threshold=threshold, limits=LIMITS, metric=metric)
    return Run(name=f"keda {metric} {share:.0%}", policy=policy, look=HPA_LOOK)


def others(unit: Replica) -> list[Run]:
    """The other rules, as they come: their own defaults where they have any."""
    low, high = unit.flying(0.25), unit.seats
    slope = (unit.step_full - unit.step_low) / (high - low)
    service = Service(
        step_base=unit.step_low - slope * low,
        step_each=slope,
        prompt_base=unit.first * 0.5,
        prompt_each=unit.first * 0.5 / (unit.prompt * high),
        batch=max(1, round(high)),
        queue=10 * max(1, round(high)),
        ttft=TTFT,
        tpot=TPOT,
    )
    return [
        Run(
            name="knative 70 %",
            policy=Knative(target=unit.seats * 0.7, limits=LIMITS),
            look=KPA_LOOK,
        ),
        Run(
            name="queue drain",
            policy=QueueDrain(capacity=unit.capacity, limits=LIMITS),
            look=HPA_LOOK,
        ),
        Run(name="mm1", policy=Mm1(service=service, limits=LIMITS), look=HPA_LOOK),
    ]


def played(
    which: Run,
    demand: Demand,
    unit: Replica,
    setting: Setting,
    watch: Callable[[int], None] | None = None,
) -> Outcome:
    """Let it scale the fleet under the traffic."""
    memory: Any = which.policy.memory_type()

    def decide(signals: Signals) -> int:
        nonlocal memory
        answer = which.policy.decide(signals, memory)
        memory = answer.memory
        return answer.replicas

    return run(demand, unit, decide, look=which.look, setting=setting, watch=watch)


def best_keda(
    demand: Demand, unit: Replica, setting: Setting, attainment: float, metric: Metric
) -> tuple[Run, Outcome]:
    """The highest threshold, found in hindsight, that still attains as much."""
    low, high = 0.05, 1.3
    found = None
    for _ in range(6):
        share = (low + high) / 2
        tried = keda(unit, share, metric)
        outcome = played(tried, demand, unit, setting)
        if outcome.attainment >= attainment:
            low, found = share, (tried, outcome)
        else:
            high = share
    if found is None:
        tried = keda(unit, low, metric)
        found = (tried, played(tried, demand, unit, setting))
    return found
