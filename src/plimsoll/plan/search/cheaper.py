"""What would cost less than the chosen configuration, and what one gives up for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import msgspec

from plimsoll.facts.network import Network
from plimsoll.fleet import Model
from plimsoll.plan.search.candidates import Wish, find
from plimsoll.plan.search.formats import FOUR_BITS
from plimsoll.plan.search.grounds import allowed
from plimsoll.plan.search.types import Candidate, Choice, Demand, Found, Ground

MOST = 3  # alternatives that are named
RELAXED = (1.5, 2.0, 4.0)  # times as long as asked for


class Cheaper(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that costs less than the chosen one.

    candidate  the configuration
    dollars    US dollars per hour; for a spot price, of the same replicas
    gives_up   what it lacks, in words
    """

    candidate: Candidate
    dollars: float
    gives_up: str


def cheaper(choice: Choice, model: Model, grounds: Sequence[Ground]) -> tuple[Cheaper, ...]:
    """At most three ways to pay less, the cheapest of each kind, the largest saving first.

    Looks at longer latencies, four-bit weights, pools that the model does not name, and spot
    prices. Empty where nothing is cheaper, or a price is missing.
    """
    paid = choice.chosen.dollars
    if paid is None:
        return ()
    found: list[Cheaper] = []
    for one in _ways(choice, model, grounds):
        kinds = {held.gives_up.split(":")[0] for held in found}
        if one.dollars < paid * 0.999 and one.gives_up.split(":")[0] not in kinds:
            found.append(one)
    found.sort(key=lambda one: one.dollars)
    return tuple(found[:MOST])


def _ways(choice: Choice, model: Model, grounds: Sequence[Ground]) -> Iterator[Cheaper]:
    here = allowed(model, grounds)
    network, demand, alone = choice.found.network, choice.found.demand, choice.alone
    paid = choice.chosen.dollars or inf
    if model.quantization == "auto":
        for name in FOUR_BITS:
            said = _with(model, quantization=name)
            yield from _best(
                _find(said, network, demand, here, alone=alone), "four bits: {needs}; {quality}"
            )
    for factor in RELAXED:
        slower = _slower(demand, factor)
        if slower == demand:
            break
        words = f"latency: {factor:g} times as long as the objectives"
        relaxed = list(_best(_find(model, network, slower, here, alone=alone), words))
        yield from relaxed
        if relaxed and relaxed[0].dollars < paid * 0.999:
            break
    price = choice.chosen.ground.price
    known = choice.chosen.ground.spot
    if known is not None and price.dollars and known < price.dollars:
        yield Cheaper(
            candidate=choice.chosen,
            dollars=paid * known / price.dollars,
            gives_up="spot: nodes may be taken away at short notice",
        )
    if model.placement.pools:
        others = [ground for ground in grounds if ground.name not in model.placement.pools]
        free = _with_pools(model)
        yield from _best(
            _find(free, network, demand, allowed(free, others), alone=alone),
            "pools: one that `placement.pools` does not name",
        )


def _find(
    model: Model, network: Network, demand: Demand, grounds: Sequence[Ground], *, alone: bool
) -> Found:
    return find(Wish(model=model, network=network, demand=demand, alone=alone), grounds)


def _with(model: Model, **said: object) -> Model:
    return msgspec.structs.replace(model, **said)


def _with_pools(model: Model) -> Model:
    return _with(model, placement=msgspec.structs.replace(model.placement, pools=()))


def _best(found: Found, words: str) -> Iterator[Cheaper]:
    for candidate in found.candidates[:1]:
        if candidate.dollars is not None:
            said = words.format(needs=candidate.needs, quality=candidate.quality)
            yield Cheaper(candidate=candidate, dollars=candidate.dollars, gives_up=said)


def _slower(demand: Demand, factor: float) -> Demand:
    def times(seconds: float | None) -> float | None:
        return None if seconds is None else seconds * factor

    return msgspec.structs.replace(
        demand,
        ttft=times(demand.ttft),
        tpot=times(demand.tpot),
        end_to_end=times(demand.end_to_end),
    )
