"""The scaling policies that a fleet can be simulated with, set as the plan would set them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plimsoll.errors import InputError
from plimsoll.fleet import Model
from plimsoll.plan.search import Choice
from plimsoll.plan.search.sizing import FULLEST
from plimsoll.plan.speed.load import LoadedLatency, under_load
from plimsoll.policy.scale import (
    Capacity,
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
)
from plimsoll.worlds.virtual.setup import Objectives

USUAL_SHARE = 70.0
"""Percent of a replica's planned load at which thresholds are set where nobody says another."""

_SLACK = 1.0  # seconds that a request may wait where no time to the first token is asked for
_WAITING = 10  # times a replica's batch that M/M/1 lets wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """How a model is scaled in a simulation.

    name    of the policy as it was asked for
    words   what it is, for people
    policy  None: the number of replicas stays as it is
    look    seconds between two looks
    """

    name: str
    words: str
    policy: Policy[Any] | None
    look: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One replica as the plan reckons it at its planned load.

    rate        requests/s
    prompt      uncached tokens of a prompt
    output      tokens of an answer
    at          what a request sees at a share of `rate`, 0 to 1
    objectives  that it is to hold
    batch       requests at once at most
    """

    rate: float
    prompt: float
    output: float
    at: Callable[[float], LoadedLatency]
    objectives: Objectives
    batch: int

    @property
    def capacity(self) -> Capacity:
        """As a policy is told: the two kinds of tokens share a replica's time in halves."""
        full = self.at(1.0)
        wait = self.objectives.ttft - full.ttft.p99.value
        return Capacity(
            prompt_tokens=2 * self.rate * self.prompt,
            output_tokens=2 * self.rate * self.output,
            concurrent=full.concurrency,
            slack=max(0.0, wait) if wait < float("inf") else _SLACK,
        )


def unit_of(choice: Choice, objectives: Objectives) -> Unit:
    """The replica that was chosen for a model, at the traffic that its fleet file names."""
    candidate, demand = choice.chosen, choice.found.demand
    rate = candidate.capacity * FULLEST

    def at(share: float) -> LoadedLatency:
        return under_load(
            candidate.deployment, rate * share, demand.prompt, demand.output, demand.shared
        )

    return Unit(
        rate=rate,
        prompt=max(1.0, demand.prompt - demand.shared),
        output=demand.output,
        at=at,
        objectives=objectives,
        batch=candidate.deployment.sequences,
    )


def scaled(asked: str, model: Model, unit: Unit, limits: Limits, cold_start: float) -> Scaled:
    """The policy of that name for a model.

    asked       `fleet`: the model's own; else a name of POLICIES, perhaps with `:PERCENT`
    cold_start  seconds until a new replica answers

    Raises InputError for a name that is not known, and where the model's own policy reads what is
    not simulated.
    """
    if asked == "fleet":
        return _own(model, unit, limits, cold_start)
    name, _, percent = asked.partition(":")
    make = POLICIES.get(name)
    if make is None:
        raise InputError(
            f"no scaling policy `{name}`",
            hint=f"take one of: fleet, {', '.join(POLICIES)}",
            code="simulate.policy",
        )
    return make(asked, _share(asked, name, percent), unit, limits, cold_start)


def _own(model: Model, unit: Unit, limits: Limits, cold_start: float) -> Scaled:
    scaling = model.scaling
    if scaling.policy == "plimsoll":
        return _predictive("fleet", 0.0, unit, limits, cold_start)
    if scaling.policy == "concurrency":
        target = scaling.target or float(unit.batch)
        policy = Keda(threshold=target, limits=limits, cooldown=scaling.cooldown)
        return Scaled(name="fleet", words=f"concurrency at {target:g} a replica", policy=policy)
    raise InputError(
        f"`policy: {scaling.policy}` scales on what the engines themselves tell, which is not "
        "simulated",
        where=f"model {model.name}: scaling.policy",
        hint="name another with `--policy`, such as `predictive` or `keda`",
        code="simulate.policy",
    )


def _share(asked: str, name: str, percent: str) -> float:
    """The share after the colon, 0 to 1 and beyond."""
    if not percent and ":" not in asked:
        return USUAL_SHARE / 100
    if name not in _THRESHOLDS:
        raise InputError(
            f"`{name}` has no threshold",
            hint=f"write `{name}`; {', '.join(_THRESHOLDS)} take a percentage",
            code="simulate.policy",
        )
    try:
        share = float(percent.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not 0.01 <= share <= 10.0:
        raise InputError(
            f"the threshold of `{asked}` must be 1 to 1000 percent of a replica's planned load",
            hint=f"write it like `{name}:85`",
            code="simulate.policy",
        )
    return share


def _predictive(name: str, _: float, unit: Unit, limits: Limits, cold_start: float) -> Scaled:
    policy = Predictive(
        capacity=unit.capacity,
        limits=limits,
        cold_start=ColdStart(p50=cold_start, p90=cold_start),
    )
    return Scaled(name=name, words="predictive", policy=policy, look=10.0)


def _keda(name: str, share: float, unit: Unit, limits: Limits, _: float) -> Scaled:
    requests = unit.at(min(share, 1.0)).concurrency * max(share, 1.0)
    policy = Keda(threshold=requests, limits=limits)
    return Scaled(name=name, words=f"KEDA at {requests:.3g} requests a replica", policy=policy)


def _keda_rate(name: str, share: float, unit: Unit, limits: Limits, _: float) -> Scaled:
    rate = unit.rate * share
    policy = Keda(threshold=rate, limits=limits, metric=Metric.RATE)
    return Scaled(name=name, words=f"KEDA at {rate:.3g} requests/s a replica", policy=policy)


def _knative(name: str, share: float, unit: Unit, limits: Limits, _: float) -> Scaled:
    target = unit.at(1.0).concurrency * share
    policy = Knative(target=target, limits=limits)
    return Scaled(name=name, words=f"Knative at {target:.3g} at once", policy=policy, look=2.0)


def _queue_drain(name: str, _: float, unit: Unit, limits: Limits, __: float) -> Scaled:
    policy = QueueDrain(capacity=unit.capacity, limits=limits)
    return Scaled(name=name, words="queue drain", policy=policy)


def _mm1(name: str, _: float, unit: Unit, limits: Limits, __: float) -> Scaled:
    """Its times are linear in the batch: through a quarter and the whole of the planned load."""
    low, full = unit.at(0.25), unit.at(1.0)
    seats = max(full.concurrency - low.concurrency, 1e-3)
    slope = max(0.0, full.tpot.value - low.tpot.value) / seats
    first = full.ttft.mean.value / 2
    batch = max(1, round(full.concurrency))
    service = Service(
        step_base=max(1e-6, low.tpot.value - slope * low.concurrency),
        step_each=slope,
        prompt_base=first,
        prompt_each=first / (unit.prompt * full.concurrency),
        batch=batch,
        queue=_WAITING * batch,
        ttft=unit.objectives.ttft,
        tpot=unit.objectives.tpot,
    )
    return Scaled(name=name, words="M/M/1", policy=Mm1(service=service, limits=limits))


def _fixed(name: str, _: float, __: Unit, limits: Limits, ___: float) -> Scaled:
    return Scaled(name=name, words=f"always {limits.min}", policy=None)


POLICIES: dict[str, Callable[[str, float, Unit, Limits, float], Scaled]] = {
    "predictive": _predictive,
    "keda": _keda,
    "kedaRate": _keda_rate,
    "knative": _knative,
    "queueDrain": _queue_drain,
    "mm1": _mm1,
    "fixed": _fixed,
}
"""What `--policy` takes beside `fleet`."""

_THRESHOLDS = ("keda", "kedaRate", "knative")
