"""What to do next: one look at a world in, actions and memory out. Pure.

The local loop, the operator and the simulator all call `decide`; it acts on the level that
it sees, so a missed event costs nothing and a repeated look repeats no action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from plimsoll.fleet import Fleet
from plimsoll.plan.types import Placement, Plan
from plimsoll.policy.scale import Bounds, LowWater, wanted_replicas
from plimsoll.policy.snapshot import (
    Action,
    Memory,
    ModelMemory,
    ModelSeen,
    ReplicaSeen,
    ReplicaState,
    Seen,
    StartReplica,
    StopReplica,
)

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0
STEADY_SECONDS = 10.0  # a replica that stayed ready this long ends a row of failures

LIVE = (ReplicaState.STARTING, ReplicaState.READY)
HOLDS_MEMORY = (*LIVE, ReplicaState.DRAINING)


def decide(
    fleet: Fleet, plan: Plan, seen: Seen, memory: Memory
) -> tuple[tuple[Action, ...], Memory]:
    """The actions that bring the world closer to the plan, and what to remember.

    Models that the world shows and the plan does not are drained away.
    """
    by_name = {model.name: model for model in seen.models}
    free = _free_bytes(plan, seen)
    actions: list[Action] = []
    remembered: dict[str, ModelMemory] = {}
    # Models below their minimum come first, so that demand elsewhere cannot starve them.
    order = sorted(plan.placements, key=lambda place: not _below_minimum(fleet, place, by_name))
    for place in order:
        model = by_name.get(place.model) or ModelSeen(name=place.model)
        before = memory.models.get(place.model) or ModelMemory()
        steps, after, free = _decide_model(
            model=model,
            place=place,
            bounds=bounds_of(fleet, place),
            memory=before,
            now=seen.now,
            free=free,
        )
        actions.extend(steps)
        remembered[place.model] = after
    planned = {place.model for place in plan.placements}
    for model in seen.models:
        if model.name not in planned:
            actions.extend(_stop(model.name, model.replicas, "the fleet no longer has this model"))
    return tuple(actions), Memory(models=remembered)


def bounds_of(fleet: Fleet, place: Placement) -> Bounds:
    """The scaling bounds of a placement's model.

    The target is the replica's parallel slots, unless the fleet says how many requests a
    replica should carry; a target for `kvCache` is a share of memory, which says nothing here.
    """
    scaling = next(model.scaling for model in fleet.models if model.name == place.model)
    wished = None if scaling.policy == "kvCache" else scaling.target
    return Bounds(
        min=scaling.min,
        max=scaling.max,
        target=wished or place.parallel,
        cooldown=scaling.cooldown,
        stabilization=scaling.stabilization,
    )


def retry_delay(failures: int) -> float:
    """Seconds to wait before the next start after this many failures in a row."""
    return min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 20))


def _decide_model(
    *,
    model: ModelSeen,
    place: Placement,
    bounds: Bounds,
    memory: ModelMemory,
    now: float,
    free: int | None,
) -> tuple[list[Action], ModelMemory, int | None]:
    memory = _count_failures(model, memory, now)
    live = [replica for replica in model.replicas if replica.state in LIVE]
    want = wanted_replicas(
        queued=model.queued,
        in_flight=model.in_flight,
        idle_since=model.last_used,
        live=len(live),
        bounds=bounds,
        low=LowWater(since=memory.low_since, peak=memory.low_peak),
        now=now,
    )
    reason = want.reason
    actions: list[Action] = [
        StopReplica(model=model.name, replica=replica.name, reason=f"failed: {replica.reason}")
        for replica in model.replicas
        if replica.state is ReplicaState.FAILED
    ]
    if want.replicas < len(live):
        spare = _least_useful(live)[: len(live) - want.replicas]
        actions.extend(_stop(model.name, spare, reason))
    elif memory.retry_at is not None and now < memory.retry_at and want.replicas > len(live):
        reason = (
            f"{reason}; next start in {memory.retry_at - now:.1f} s after "
            f"{_times(memory.failures)} failed: {memory.last_error}"
        )
    else:
        for _ in range(want.replicas - len(live)):
            if free is not None and place.ledger.total > free:
                reason = f"{reason}; no memory for another replica"
                break
            actions.append(StartReplica(model=model.name, reason=reason))
            free = None if free is None else free - place.ledger.total
    memory = replace(
        memory,
        low_since=want.low.since,
        low_peak=want.low.peak,
        wanted=want.replicas,
        reason=reason,
    )
    return actions, memory, free


def _count_failures(model: ModelSeen, memory: ModelMemory, now: float) -> ModelMemory:
    """Count each failed replica once, and forget the row when one has stayed ready."""
    failed = [r for r in model.replicas if r.state is ReplicaState.FAILED]
    fresh = [r for r in failed if r.name not in memory.counted]
    if fresh:
        failures = memory.failures + 1  # replicas that fall together are one failure
        return replace(
            memory,
            failures=failures,
            counted=tuple(r.name for r in failed),
            retry_at=now + retry_delay(failures),
            last_error=fresh[-1].reason,
        )
    memory = replace(memory, counted=tuple(r.name for r in failed))
    steady = any(
        r.state is ReplicaState.READY and now - r.since >= STEADY_SECONDS for r in model.replicas
    )
    return replace(memory, failures=0, retry_at=None) if steady and memory.failures else memory


def _least_useful(live: list[ReplicaSeen]) -> list[ReplicaSeen]:
    """Those still loading first, then the youngest: the oldest has the warmest cache."""
    return sorted(live, key=lambda r: (r.state is ReplicaState.READY, -r.since, r.name))


def _stop(
    model: str, replicas: tuple[ReplicaSeen, ...] | list[ReplicaSeen], reason: str
) -> list[Action]:
    return [
        StopReplica(model=model, replica=replica.name, reason=reason)
        for replica in replicas
        if replica.state is not ReplicaState.DRAINING
    ]


def _below_minimum(fleet: Fleet, place: Placement, seen: Mapping[str, ModelSeen]) -> bool:
    model = seen.get(place.model)
    live = sum(1 for r in model.replicas if r.state in LIVE) if model else 0
    return live < bounds_of(fleet, place).min


def _free_bytes(plan: Plan, seen: Seen) -> int | None:
    if plan.budget is None:
        return None
    needs = {place.model: place.ledger.total for place in plan.placements}
    used = sum(
        needs.get(model.name, 0)
        for model in seen.models
        for replica in model.replicas
        if replica.state in HOLDS_MEMORY
    )
    return plan.budget - used


def _times(count: int) -> str:
    return "1 start" if count == 1 else f"{count} starts in a row"
