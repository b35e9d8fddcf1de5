"""The cheapest choice for all models together: who takes which configuration, on which nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from plimsoll.fleet import Fleet, Model
from plimsoll.plan.search.alone import alone
from plimsoll.plan.search.types import Candidate, Ground, NodesOf
from plimsoll.plan.share.choose import choose
from plimsoll.plan.share.geometry import mig_geometry
from plimsoll.plan.share.types import Alternative, Assignment, Offer, Service
from plimsoll.plan.share.waste import Waste, waste

KEPT = 6  # candidates of a model on one ground that take part in the joint choice
LONGEST = 6.0  # seconds of the solver; a fleet whose proof takes longer gets its bound told
DEVICE = 1.0  # dollars per accelerator-hour where a price is missing: fewest devices are sought


class Joint(msgspec.Struct, frozen=True, kw_only=True):
    """The joint choice.

    chosen      the candidate of each model, in the order given
    assignment  who sits where
    priced      whether dollars are real, not a stand-in for missing prices
    waste       what an accelerator for each replica would take; None where nothing is shared
    """

    chosen: tuple[Candidate, ...]
    assignment: Assignment
    priced: bool
    waste: Waste | None = None


def choose_together(
    fleet: Fleet,
    models: Sequence[Model],
    candidates: Mapping[str, Sequence[Candidate]],
    grounds: Sequence[Ground],
) -> Joint:
    """The assignment of all models with the fewest dollars.

    candidates  of each model by its name, the best first; none may be empty

    Raises DoesNotFit where the pools have too few nodes for all of them.
    """
    used = [g for g in grounds if any(_on(c, g) for many in candidates.values() for c in many)]
    priced = all(ground.price.dollars is not None for ground in used)
    if len(models) == 1 and models[0].placement.sharing == "none":
        name = models[0].name
        every = sorted(candidates[name], key=_size)
        candidate, counted = alone(
            name, every, [_dollars(one.ground, priced=priced) for one in every]
        )
        return Joint(chosen=(candidate,), assignment=counted, priced=priced)
    offers = [_offer(ground, priced=priced) for ground in used]
    kept = {model.name: _kept(candidates[model.name]) for model in models}
    services = [_service(fleet, model, kept[model.name]) for model in models]
    assignment = choose(services, offers, seconds=LONGEST)
    chosen = tuple(kept[model.name][int(assignment.choice[model.name])] for model in models)
    shared = any(model.placement.sharing != "none" for model in models)
    return Joint(
        chosen=chosen,
        assignment=assignment,
        priced=priced,
        waste=waste(services, offers, assignment) if shared else None,
    )


def _size(candidate: Candidate) -> int:
    return candidate.devices * candidate.replicas


def _dollars(ground: Ground, *, priced: bool) -> float:
    """US dollars per node and hour, or a stand-in where prices are missing."""
    dollars = ground.price.dollars
    return dollars if priced and dollars is not None else DEVICE * ground.per_node


def _on(candidate: Candidate, ground: Ground) -> bool:
    return candidate.ground.name == ground.name


def _kept(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Per ground and profile the few that take the fewest devices; the order stays."""
    seen: Counter[tuple[str, str]] = Counter()
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=_size):
        key = (candidate.ground.name, candidate.deployment.device.profile)
        if seen[key] < KEPT:
            seen[key] += 1
            kept.append(candidate)
    return tuple(kept)


def _service(fleet: Fleet, model: Model, candidates: Sequence[Candidate]) -> Service:
    return Service(
        name=model.name,
        alternatives=tuple(
            _alternative(model, candidate, index) for index, candidate in enumerate(candidates)
        ),
        tenant=tenant_of(fleet, model.name),
        strict=model.placement.isolation == "strict",
        sharing=model.placement.sharing,
    )


def tenant_of(fleet: Fleet, model: str) -> str:
    """Whose a model is: its one tenant, else its own; a model that several use is nobody else's."""
    owners = [tenant.name for tenant in fleet.tenants if model in tenant.models]
    return owners[0] if len(owners) == 1 else f"model {model}"


def _alternative(model: Model, candidate: Candidate, index: int) -> Alternative:
    deployment = candidate.deployment
    turns = model.placement.sharing in ("timeSlicing", "mps", "dra")
    shared = turns and candidate.devices == 1 and not deployment.device.profile
    return Alternative(
        id=str(index),
        accelerator=deployment.device.accelerator,
        offers=(candidate.ground.name,),
        sharing=model.placement.sharing if shared or deployment.device.profile else "none",
        profile=deployment.device.profile,
        devices=candidate.devices,
        nodes=deployment.split.pipeline if candidate.devices > candidate.ground.per_node else 1,
        replicas=candidate.replicas,
        share=candidate.ground.portion if shared else 1.0,
        memory=deployment.device.memory if shared else 0,
    )


def _offer(ground: Ground, *, priced: bool) -> Offer:
    whole = ground.device
    return Offer(
        name=ground.name,
        accelerator=whole.accelerator,
        price=_dollars(ground, priced=priced),
        per_node=ground.per_node,
        limit=ground.most_nodes,
        sharing=frozenset({"none", *ground.sharing}),  # type: ignore[arg-type]  # checked words
        memory=whole.memory,
        geometry=mig_geometry(whole.accelerator),
        layout=ground.profiles,
        single=ground.single,
        slots=ground.shares,
    )


def _in_words(profiles: Iterable[str]) -> str:
    """`2 x 1g.20gb + 3g.40gb`."""
    counts = sorted(Counter(profiles).items())
    return " + ".join(f"{count} x {name}" if count > 1 else name for name, count in counts)


def nodes_of(assignment: Assignment, grounds: Sequence[Ground]) -> tuple[NodesOf, ...]:
    """What is rented, ground by ground."""
    by_name = {ground.name: ground for ground in grounds}
    rented = []
    for name, nodes in assignment.nodes.items():
        here = [gpu for gpu in assignment.gpus if gpu.offer == name]
        layouts = Counter(
            _in_words(piece.profile for piece in gpu.layout) for gpu in here if gpu.layout
        )
        rented.append(
            NodesOf(
                ground=by_name[name],
                nodes=nodes,
                devices=sum(bool(gpu.seats) for gpu in here),
                layouts=dict(sorted(layouts.items())),
            )
        )
    return tuple(rented)
