"""The cheapest nodes for one model that shares with nobody: counted, no solver needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil

from plimsoll.plan.deployment import Split
from plimsoll.plan.search.types import Candidate, Ground
from plimsoll.plan.share.types import Assignment, Gpu, Seat


def nodes_needed(ground: Ground, split: Split, replicas: int) -> int:
    """Nodes that replicas on whole accelerators take; a pipeline stage lies inside one node."""
    stage = split.tensor * split.data
    return ceil(replicas * split.pipeline / (ground.per_node // stage))


def nodes_for(candidate: Candidate) -> int:
    """Nodes that a candidate's replicas take."""
    return nodes_needed(candidate.ground, candidate.deployment.split, candidate.replicas)


def dollars_for(ground: Ground, split: Split, replicas: int, *, alone: bool) -> float | None:
    """US dollars per hour of replicas: of their whole nodes, or of their share of nodes.

    alone  whether nobody else pays for the nodes. None where a price is missing
    """
    if ground.price.dollars is None or ground.per_device is None:
        return None
    if alone and ground.portion == 1:
        return nodes_needed(ground, split, replicas) * ground.price.dollars
    return ground.per_device * split.devices * replicas


def _stage(candidate: Candidate) -> int:
    """Accelerators of one pipeline stage of one replica."""
    return candidate.devices // candidate.deployment.split.pipeline


def alone(
    model: str, candidates: Sequence[Candidate], prices: Sequence[float]
) -> tuple[Candidate, Assignment]:
    """The candidate whose whole nodes cost the least, and who sits where.

    candidates  at least one; none needs more nodes than there are
    prices      US dollars per node and hour of each candidate's ground, in the same order

    Every candidate is counted, so the answer is the least, and its own bound.
    """
    totals = [
        nodes_for(candidate) * price for candidate, price in zip(candidates, prices, strict=True)
    ]
    best = min(range(len(candidates)), key=lambda index: (totals[index], index))
    chosen = candidates[best]
    return chosen, Assignment(
        choice={model: str(best)},
        nodes={chosen.ground.name: nodes_for(chosen)},
        gpus=tuple(_gpus(model, chosen)),
        dollars=totals[best],
        bound=totals[best],
    )


def _gpus(model: str, candidate: Candidate) -> Iterator[Gpu]:
    per_node, stage = candidate.ground.per_node, _stage(candidate)
    whole = per_node // stage
    stages = candidate.replicas * candidate.deployment.split.pipeline
    for node in range(nodes_for(candidate)):
        for index in range(per_node):
            number = node * whole + index // stage
            taken = index // stage < whole and number < stages
            replica = number // candidate.deployment.split.pipeline
            seats = (Seat(service=model, replica=replica),) if taken else ()
            yield Gpu(offer=candidate.ground.name, node=node, index=index, seats=seats)
