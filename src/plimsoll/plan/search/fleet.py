"""The plan of a whole fleet: every model searched, then all placed together, at least cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf

import msgspec

from plimsoll.facts.api_prices import comparable
from plimsoll.facts.network import Network
from plimsoll.facts.parameters import active_parameters, parameters
from plimsoll.fleet import Fleet, Model
from plimsoll.fleet.fields import Table
from plimsoll.plan.cost import ApiOffer, Comparison, Cost, Request, compare, cost
from plimsoll.plan.search.alone import dollars_for
from plimsoll.plan.search.candidates import Wish, by_cost, check_context, demand_of, find
from plimsoll.plan.search.grounds import allowed
from plimsoll.plan.search.joint import Joint, choose_together, nodes_of
from plimsoll.plan.search.refuse import refusal
from plimsoll.plan.search.types import Candidate, Choice, Demand, FleetPlan, Found, Ground
from plimsoll.plan.vram import ledger


def plan_fleet(
    fleet: Fleet,
    networks: Mapping[str, Network],
    grounds: Sequence[Ground],
    *,
    told: Callable[[str], None] = lambda _model: None,
) -> FleetPlan:
    """The plan of every model that `networks` has, in the fleet's order.

    networks  by model name; models that are not in it are left out (they need no accelerator)
    grounds   where replicas may run
    told      called with each model's name before it is searched, for a progress display

    Raises NothingFits (a DoesNotFit) for a model without any configuration, DoesNotFit where all
    together need more nodes than there are.
    """
    models = [model for model in fleet.models if model.name in networks]
    found: dict[str, Found] = {}
    alike: dict[tuple[Model, Network], Found] = {}
    for model in models:
        told(model.name)
        key = (_wish(model), networks[model.name])
        if key not in alike:
            alike[key] = search(model, networks[model.name], grounds, alone=len(models) == 1)
        found[model.name] = alike[key]
    joint = choose_together(
        fleet, models, {name: one.candidates for name, one in found.items()}, grounds
    )
    choices = tuple(
        _choice(model, candidate, found[model.name], alone=len(models) == 1)
        for model, candidate in zip(models, joint.chosen, strict=True)
    )
    return FleetPlan(
        choices=choices,
        nodes=nodes_of(joint.assignment, grounds),
        dollars=joint.assignment.dollars if joint.priced else None,
        proven=joint.assignment.proven,
        bound=joint.assignment.bound if joint.priced else None,
        waste=joint.waste,
        notes=(
            *_notes(joint, grounds),
            *_bounds(models, choices),
            *(unplanned(model.name) for model in fleet.models if model.name not in networks),
        ),
    )


def _wish(model: Model) -> Model:
    """A model without what no configuration depends on: models that are alike are searched once."""
    return msgspec.structs.replace(
        model,
        name="",
        aliases=(),
        weight=None,
        tier=None,
        namespace=None,
        sha256=None,
        credentials=None,
        labels=Table(),
        fallbacks=(),
    )


def unplanned(model: str) -> str:
    """The note on a model that this plan leaves out."""
    return f"{model}: runs on processors with the embedded engine, not planned here"


def search(
    model: Model, network: Network, grounds: Sequence[Ground], *, alone: bool = False
) -> Found:
    """Every configuration of one model.

    alone  whether no other model can share its nodes: whole nodes are reckoned then

    Raises NothingFits where there is none, InputError for a context that contradicts the model or
    its traffic.
    """
    check_context(model, network)
    wish = Wish(model=model, network=network, demand=demand_of(model), alone=alone)
    here = list(allowed(model, grounds))
    found = find(wish, here)
    if not found.candidates:
        raise refusal(wish, here, found)
    return found


def _choice(model: Model, chosen: Candidate, found: Found, *, alone: bool) -> Choice:
    candidates = found.candidates
    return Choice(
        model=model.name,
        chosen=chosen,
        found=found,
        cheapest=min(candidates, key=by_cost),
        fastest=min(candidates, key=_slowness),
        smallest=min(candidates, key=_smallness),
        ledger=ledger(chosen.deployment),
        cost=_cost(chosen, found.demand),
        comparisons=_comparisons(chosen, found, alone=alone),
        alone=alone,
    )


def _slowness(candidate: Candidate) -> tuple[float, float, float]:
    per_token = candidate.tpot.value if candidate.tpot else inf
    first = candidate.ttft.value if candidate.ttft else inf
    return (per_token, first, by_cost(candidate)[0])


def _smallness(candidate: Candidate) -> tuple[float, float]:
    held = candidate.devices * candidate.replicas * candidate.deployment.device.nominal
    return (held, by_cost(candidate)[0])


def _cost(chosen: Candidate, demand: Demand) -> Cost | None:
    if chosen.dollars is None:
        return None
    tokens = demand.prompt + demand.output
    price = chosen.ground.price
    on_demand = None
    if price.on_demand is not None and price.dollars:
        on_demand = chosen.dollars * price.on_demand / price.dollars
    return cost(
        chosen.dollars,
        tokens_per_second=demand.rate * tokens,
        capacity_tokens_per_second=chosen.capacity * chosen.replicas * tokens,
        on_demand=on_demand,
    )


def _comparisons(chosen: Candidate, found: Found, *, alone: bool) -> tuple[Comparison, ...]:
    """The model's cost beside what APIs ask for it, or for a model of its size."""
    if chosen.dollars is None:
        return ()
    demand, network = found.demand, found.network
    request = Request(prompt=demand.prompt, output=demand.output, shared=demand.shared)

    def dollars(replicas: int) -> float:
        split = chosen.deployment.split
        return dollars_for(chosen.ground, split, replicas, alone=alone) or 0.0

    own = comparable(network.name, 0.0)  # without a size only the very same model is found
    return tuple(
        compare(
            ApiOffer(
                provider=row.provider,
                model=row.model,
                input=row.input,
                cached=row.cached_input,
                output=row.output,
                same=row in own,
                source=f"{row.source} ({row.date})",
            ),
            request,
            requests_per_second=demand.rate,
            capacity=chosen.capacity,
            dollars_for=dollars,
        )
        for row in comparable(network.name, active_parameters(network), parameters(network))
    )


def _bounds(models: Sequence[Model], choices: Sequence[Choice]) -> Iterator[str]:
    """Where the fleet file allows fewer replicas than its own traffic needs."""
    for model, choice in zip(models, choices, strict=True):
        chosen, most = choice.chosen, model.scaling.max
        if chosen.most > most:
            yield (
                f"{model.name}: {chosen.most} replicas are needed at the peak, "
                f"{chosen.replicas} on average, and `scaling.max` is {most}"
            )


def _notes(joint: Joint, grounds: Sequence[Ground]) -> tuple[str, ...]:
    notes = [f"{ground.name}: {ground.price.missing}" for ground in grounds if ground.price.missing]
    used = {name for name, nodes in joint.assignment.nodes.items() if nodes}
    notes.extend(
        f"{ground.name}: of its spot nodes, {ground.interruption} were taken back in a month"
        for ground in grounds
        if ground.name in used and ground.price.spot_share and ground.interruption
    )
    if not joint.priced:
        notes.append("a price is missing, so the fewest accelerators were sought, not dollars")
    if joint.priced and not joint.assignment.proven:
        notes.append(f"within {joint.assignment.gap:.1%} of the least possible, not proven least")
    return tuple(notes)
