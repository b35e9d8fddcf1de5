"""What `decide` is asked about a Fleet in a cluster, and the number of replicas that follows. Pure.

The same function as on one machine; here its wish is a number that a controller carries out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from plimsoll.fleet import Fleet
from plimsoll.plan.types import Plan
from plimsoll.policy.decide import decide
from plimsoll.policy.snapshot import Memory, ModelMemory, ModelSeen, ReplicaSeen, Seen
from plimsoll.worlds.cluster.objects.site import Workload
from plimsoll.worlds.cluster.operator.demand import Look, Wanted

_SOON = 1.0  # seconds; no look at a Fleet follows another sooner, unless something happens


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What follows from one look.

    memory  what to remember, with the wanted number of every model that we scale
    after   seconds after which time alone may change the answer; None: it cannot
    """

    memory: Memory
    after: float | None


def outlook(
    fleet: Fleet,
    servers: Mapping[str, Workload],
    replicas: Mapping[str, tuple[ReplicaSeen, ...]],
    look: Look,
    memory: Memory,
    *,
    now: float,
) -> Outlook:
    """Decide on the models whose replicas the operator sets.

    servers   the workload that serves a model, by the model's name; one may serve several
    replicas  of every such workload, by the name of the model that it is named after
    look      what the gateway says; where it is blind, nothing is scaled down

    Models that others scale are not remembered.
    """
    ours = [
        server
        for name, server in servers.items()
        if server.driver == "operator" and server.model.name == name
    ]
    plan = Plan(placements=tuple(workload.place for workload in ours))
    seen = Seen(
        now=now,
        models=tuple(
            _seen(
                server.model.name,
                replicas.get(server.model.name, ()),
                [look.models.get(name, Wanted()) for name, one in servers.items() if one is server],
            )
            for server in ours
        ),
    )
    _, after = decide(fleet, plan, seen, memory)
    if look.blind:
        models = {
            workload.model.name: _held(
                workload,
                after.models[workload.model.name],
                memory.models.get(workload.model.name, ModelMemory()),
            )
            for workload in ours
        }
        after = Memory(models=models)
    return Outlook(memory=after, after=_next_look(after, ours, now))


def _seen(model: str, replicas: tuple[ReplicaSeen, ...], wanted: Sequence[Wanted]) -> ModelSeen:
    """One server with what is wanted of all the models in it."""
    return ModelSeen(
        name=model,
        replicas=replicas,
        queued=sum(one.queued for one in wanted),
        in_flight=sum(one.in_flight for one in wanted),
        last_used=max((one.last_used for one in wanted if one.last_used is not None), default=None),
    )


def _held(workload: Workload, after: ModelMemory, before: ModelMemory) -> ModelMemory:
    """Not fewer than before: there may be requests that nobody told of."""
    blind = workload.model.scaling.when_blind
    wanted = max(after.wanted, before.wanted) if blind is None else blind
    if wanted == after.wanted:
        return replace(after, low_since=None, low_peak=0)
    return replace(
        after,
        wanted=wanted,
        low_since=None,
        low_peak=0,
        reason=f"{after.reason}; kept at {wanted}: the gateway does not say what is asked for",
    )


def _next_look(memory: Memory, ours: Sequence[Workload], now: float) -> float | None:
    """Seconds until a wait ends."""
    ends = []
    for workload in ours:
        model = memory.models[workload.model.name]
        scaling = workload.model.scaling
        if model.retry_at is not None and model.retry_at > now:
            ends.append(model.retry_at - now)
        if model.low_since is not None:
            waited = now - model.low_since
            ends += [w - waited for w in (scaling.stabilization, scaling.cooldown) if w > waited]
    return max(_SOON, min(ends)) if ends else None
