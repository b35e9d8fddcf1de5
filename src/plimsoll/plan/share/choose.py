"""The cheapest way to run all services together, whole nodes paid, proven by the solver's bound."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from plimsoll.errors import DoesNotFit, Failed
from plimsoll.plan.share.buckets import Bucket, Way, legal_ways
from plimsoll.plan.share.program import Joint, add_turns_cut, joint_program, loosened
from plimsoll.plan.share.pruning import pruned
from plimsoll.plan.share.seating import seated, turns_of
from plimsoll.plan.share.solver import Solution, solve
from plimsoll.plan.share.types import Assignment, Offer, Service

_MOST_ROUNDS = 200  # of cuts about replicas that do not fit together in turns


def choose(
    services: Sequence[Service],
    offers: Sequence[Offer],
    *,
    seconds: float = 60.0,
    gap: float = 0.0,
) -> Assignment:
    """One alternative per service, layouts and whole nodes, for the fewest dollars per hour.

    seconds  after which the solver stops with the best it has (`bound` then says how good it is)
    gap      part of the dollars by which the answer may be above the cheapest

    Raises InputError for an offer or names that contradict themselves, DoesNotFit with the reason
    where a service may run nowhere or all together need more nodes than there are, MissingExtra
    without HiGHS.
    """
    ways = pruned(legal_ways(services, offers), offers)
    joint = joint_program(ways, offers)
    bound = 0.0
    exact = True
    for _ in range(_MOST_ROUNDS):
        solution = solve(joint.program, seconds=seconds, gap=gap)
        if services and not solution.values:
            raise _too_little(joint, offers, solution)
        bound = solution.bound if exact else bound
        taken = _taken(joint, solution)
        cut, proven = _cut(joint, taken, solution, offers)
        exact = exact and proven
        if not cut:
            chosen = {
                way.service.name: way.alternative.id
                for way, column in zip(ways, joint.chosen, strict=True)
                if solution.values[column] > 0.5
            }
            choice = {service.name: chosen[service.name] for service in services}
            return _assignment(choice, taken, offers, bound)
    raise Failed(
        "replicas that take turns were not arranged within 200 rounds",
        hint="use fewer different shares",
        code="share.rounds",
    )


def _taken(joint: Joint, solution: Solution) -> dict[Bucket, list[tuple[Way, int]]]:
    return {
        bucket: held
        for bucket, loads in joint.loads.items()
        if (
            held := [
                (load.way, count) for load in loads if (count := load.replicas(solution.values))
            ]
        )
    }


def _cut(
    joint: Joint,
    taken: dict[Bucket, list[tuple[Way, int]]],
    solution: Solution,
    offers: Sequence[Offer],
) -> tuple[bool, bool]:
    """Whether a cut was added, and whether each is proven to cut off nothing that is possible."""
    by_name = {offer.name: offer for offer in offers}
    added, proven = False, True
    for bucket, column in joint.turns.items():
        held = taken.get(bucket, [])
        if not held:
            continue
        turns = turns_of(held, by_name[bucket.offer])
        there = round(solution.values[column])
        if len(turns.gpus) > there:
            needed = turns.bound if turns.bound > there else len(turns.gpus)
            proven = proven and turns.bound > there
            add_turns_cut(joint, bucket, held, needed)
            added = True
    return added, proven


def _assignment(
    choice: dict[str, str],
    taken: dict[Bucket, list[tuple[Way, int]]],
    offers: Sequence[Offer],
    bound: float,
) -> Assignment:
    gpus = seated(taken, offers)
    nodes: dict[str, int] = {}
    for gpu in gpus:
        nodes[gpu.offer] = gpu.node + 1
    dollars = fsum(offer.price * nodes.get(offer.name, 0) for offer in offers)
    over = [offer.name for offer in offers if nodes.get(offer.name, 0) > offer.limit]
    assert not over, f"more nodes than allowed of {over}"
    return Assignment(
        choice=choice, nodes=nodes, gpus=gpus, dollars=dollars, bound=min(bound, dollars)
    )


def _too_little(joint: Joint, offers: Sequence[Offer], solution: Solution) -> DoesNotFit | Failed:
    """Which nodes are missing: the fewest more with which there would be an answer."""
    if not solution.finished:
        return Failed(
            "no assignment was found in the time given",
            hint="give it more time, or fewer alternatives",
            code="share.time",
        )
    program, more = loosened(joint)
    answer = solve(program)
    names = {offer.name: offer for offer in offers}
    missing = [
        f"{round(answer.values[column])} more of `{name}` (there are {names[name].limit})"
        for name, column in more.items()
        if answer.values and answer.values[column] > 0.5
    ]
    return DoesNotFit(
        f"the services together need at least {round(answer.cost)} more nodes than there are",
        hint=f"it fits with {' and '.join(missing)}" if missing else None,
        code="share.too-few-nodes",
    )
