"""From the plan of a fleet to the fleet that is simulated."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import ceil, inf, log

from plimsoll.cli.offered import Planned, offered
from plimsoll.cli.simulate_policies import Scaled, scaled, unit_of
from plimsoll.engines import ENGINES
from plimsoll.errors import InputError
from plimsoll.facts.kubernetes import spots
from plimsoll.fleet import Fleet, Model
from plimsoll.plan.placements import placement
from plimsoll.plan.search import Candidate, Choice, FleetPlan
from plimsoll.plan.search.alone import nodes_needed
from plimsoll.policy.requests.types import QueueLimits, Served
from plimsoll.policy.scale import Limits
from plimsoll.units import duration
from plimsoll.worlds.virtual.calibration.deployed import limits_of, times_of
from plimsoll.worlds.virtual.durations import Constant
from plimsoll.worlds.virtual.setup import (
    Hardware,
    ModelSetup,
    Objectives,
    Phases,
    WorldSetup,
    Zone,
)
from plimsoll.worlds.virtual.workloads.types import BLOCK_TOKENS

_MONTH_HOURS = 730.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wished:
    """What the command line says of a simulation.

    model       that is asked; None: the only one
    policy      that scales it, see simulate_policies
    cold_start  seconds until a new replica answers; None: as the plan predicts
    min, max    replicas, where they are not to be the fleet file's
    """

    model: str | None = None
    policy: str = "fleet"
    cold_start: float | None = None
    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A fleet as it is simulated, with what a reader needs to know of it.

    model    that is asked
    choice   what the plan runs it on
    setup    for the simulator
    scaled   how it is scaled
    limits   replicas at least and at most
    priced   whether its nodes have a price
    notes    what is assumed, or not simulated
    """

    model: Model
    choice: Choice
    setup: WorldSetup
    scaled: Scaled
    limits: Limits
    priced: bool
    notes: tuple[str, ...]

    @property
    def portion(self) -> float:
        """Share of a whole accelerator that one device of a replica is."""
        return self.choice.chosen.ground.portion

    @property
    def one(self) -> ModelSetup:
        """The setup of the model."""
        return self.setup.models[0]


def simulated(fleet: Fleet, plan: FleetPlan, wished: Wished) -> Simulated:
    """The fleet as it is simulated.

    Raises InputError for a model that is not there or cannot be simulated, and for a policy that
    is not known.
    """
    choice = _choice(plan, wished.model)
    model = next(each for each in fleet.models if each.name == choice.model)
    candidate = choice.chosen
    _check(model, candidate)
    limits, held = _limits(model, choice, wished)
    objectives = Objectives(
        ttft=inf if model.objectives.ttft is None else model.objectives.ttft,
        tpot=inf if model.objectives.tpot is None else model.objectives.tpot,
    )
    phases = _phases(candidate, wished.cold_start)
    unit = unit_of(choice, objectives)
    how = scaled(wished.policy, model, unit, limits, phases.expected(new_node=True))
    planned = min(candidate.replicas, limits.max)
    setup = ModelSetup(
        served=_served(fleet, model, choice),
        times=times_of(candidate.deployment),
        engine=limits_of(candidate.deployment, hash_tokens=BLOCK_TOKENS),
        limits=limits,
        scaling=how.policy,
        ready=limits.min if how.policy is None else max(limits.min, planned),
        hardware=_hardware(choice),
        phases=phases,
        patience=fleet.gateway.queue.wait,
        drain=fleet.gateway.max_stream,
        objectives=objectives,
    )
    queue = fleet.gateway.queue
    return Simulated(
        model=model,
        choice=choice,
        setup=WorldSetup(
            models=(setup,),
            queue=QueueLimits(requests=queue.requests, bytes=queue.bytes),
            weights={each.name: each.weight for each in fleet.tenants if each.weight != 1},
            priorities={each.name: each.priority for each in fleet.tenants if each.priority},
            look=how.look,
        ),
        scaled=how,
        limits=limits,
        priced=candidate.ground.price.dollars is not None,
        notes=(*held, *_notes(model, candidate)),
    )


def _choice(plan: FleetPlan, name: str | None) -> Choice:
    names = [choice.model for choice in plan.choices]
    known = f"the plan has: {', '.join(names)}"
    if not names:
        raise InputError(
            "no model of the fleet runs on an accelerator, and only those are simulated",
            hint="plan for a cloud with `--cloud`, or take a model with weights for a GPU",
            code="simulate.model",
        )
    if name is None:
        if len(names) > 1:
            raise InputError(
                f"the fleet has {len(names)} models, and the trace does not say which it asks",
                hint=f"name one with `--model`; {known}",
                code="simulate.model",
            )
        return plan.choices[0]
    if name not in names:
        raise InputError(f"no model `{name}` to simulate", hint=known, code="simulate.model")
    return plan.choice(name)


def _check(model: Model, candidate: Candidate) -> None:
    """Raise InputError for what no simulated engine does."""
    why = None
    if model.task == "embedding":
        why = "an embedding model is not simulated: its engine writes no answers"
    elif candidate.deployment.split.data > 1:
        why = "data parallel ranks of one replica are not simulated"
    if why is not None:
        raise InputError(
            why,
            where=f"model {model.name}",
            hint="name another with `--model`, or another split in `parallelism`",
            code="simulate.unlike",
        )


def _limits(model: Model, choice: Choice, wished: Wished) -> tuple[Limits, tuple[str, ...]]:
    """Replicas at least and at most, and what holds them lower than the fleet file says."""
    scaling, candidate = model.scaling, choice.chosen
    least = scaling.min if wished.min is None else wished.min
    most = scaling.max if wished.max is None else wished.max
    if most < max(1, least):
        raise InputError(
            f"at most {most} replicas is fewer than at least {least}, or none at all",
            hint="give `--max` the larger number",
            code="simulate.limits",
        )
    room = room_for(candidate)
    notes: tuple[str, ...] = ()
    if wished.max is None and room < most:
        notes = (f"{candidate.ground.name} has room for {room} replicas, fewer than {most}",)
        most = room
    return Limits(min=min(least, most), max=most), notes


def room_for(candidate: Candidate) -> int:
    """Replicas that the nodes of a candidate's ground hold when nothing else runs there."""
    ground, split = candidate.ground, candidate.deployment.split
    if ground.portion < 1:
        return max(1, int(ground.most_nodes * ground.per_node / ground.portion / split.devices))
    fit, step = 0, max(1, ground.most_nodes * ground.per_node // split.devices)
    while step:
        if nodes_needed(ground, split, fit + step) <= ground.most_nodes:
            fit += step
        step //= 2
    return max(1, fit)


def _phases(candidate: Candidate, cold_start: float | None) -> Phases:
    if cold_start is not None:
        return Phases(engine=Constant(seconds=cold_start))
    start = candidate.cold_start
    return Phases(
        node=Constant(seconds=start.node),
        image=Constant(seconds=start.image),
        weights=Constant(seconds=start.weights),
        engine=Constant(seconds=start.engine),
    )


def _hardware(choice: Choice) -> Hardware:
    """What replicas run on; prices are per device of a replica, their share of a node included.

    A model that is alone on its nodes pays for whole ones; others pay for what they take.
    """
    candidate = choice.chosen
    ground, devices = candidate.ground, candidate.devices
    whole = choice.alone and ground.portion == 1
    per_node = max(1, ground.per_node // devices) if whole else 1
    if whole:
        split = candidate.deployment.split
        part = nodes_needed(ground, split, per_node) / (per_node * devices)
    else:
        part = ground.portion / ground.per_node
    price = ground.price
    share = price.spot_share if price.on_demand is not None and ground.spot is not None else 0.0
    on_demand = price.on_demand if share and price.on_demand is not None else price.dollars
    return Hardware(
        gpus=devices,
        per_node=per_node,
        price=(on_demand or 0.0) * part,
        spot=(ground.spot or 0.0) * part,
        share=share,
        zones=(_zone(candidate),),
    )


def _zone(candidate: Candidate) -> Zone:
    """One zone, whose nodes are lost each by itself, as often as the cloud publishes."""
    ground = candidate.ground
    known = spots().get(ground.provider)
    lost = _lost_in_a_month(ground.interruption)
    return Zone(
        name=ground.name,
        losses=-log(1.0 - lost) / _MONTH_HOURS,
        notice=known.for_pods if known is not None else 0.0,
    )


def _lost_in_a_month(published: str) -> float:
    """Share of spot nodes, the upper end of a range such as `10-15%`, `<5%` or `>20%`."""
    numbers = re.findall(r"\d+", published)
    return int(numbers[-1]) / 100 if numbers else 0.0


def _served(fleet: Fleet, model: Model, choice: Choice) -> Served:
    place = placement(model, choice)
    (served,) = offered(
        fleet,
        {
            model.name: Planned(
                task=place.task,
                context=place.context,
                adapters=place.adapters,
                engine=ENGINES.get(place.engine),
                kv_tokens=place.kv_tokens,
                prefill_rate=place.prefill_rate,
            )
        },
    )
    return replace(served, fallbacks=())


def _notes(model: Model, candidate: Candidate) -> tuple[str, ...]:
    """What the simulation leaves out of what the fleet file says."""
    scaling, ground = model.scaling, candidate.ground
    left = [
        ("`schedules`: a trace does not tell the time of day", bool(scaling.schedules)),
        ("`warm`", bool(scaling.warm)),
        ("speculative decoding", model.draft is not None),
        ("`adapters`", bool(model.adapters)),
        ("`cache`: answers that the gateway keeps", model.cache.responses is not None),
        ("`fallbacks`", bool(model.fallbacks)),
    ]
    notes = [f"not simulated: {what}" for what, there in left if there]
    if ground.price.dollars is None:
        notes.append(f"no price of {ground.name} is known, so nothing costs anything")
    if ground.price.spot_share and not ground.interruption:
        notes.append(f"how often spot nodes of {ground.name} are lost is not known: none is")
    return tuple(notes)


def cold_start_words(simulated: Simulated) -> str:
    """How long a new replica takes, in words."""
    return duration(simulated.one.phases.expected(new_node=True))


def whole_nodes(simulated: Simulated, replicas: int) -> int:
    """Nodes that so many replicas take."""
    candidate = simulated.choice.chosen
    if candidate.ground.portion < 1:
        devices = replicas * candidate.devices * candidate.ground.portion
        return ceil(devices / candidate.ground.per_node)
    return nodes_needed(candidate.ground, candidate.deployment.split, replicas)
