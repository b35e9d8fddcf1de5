"""The scaler of the simulated world: it looks, asks the policy, and starts and stops replicas.

It sees what a scaler sees: figures that are some seconds old, beside replicas as they are.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from plimsoll.policy.scale.types import Arrived, Notice, Observed, Queued, Signals
from plimsoll.policy.snapshot import ReplicaState
from plimsoll.worlds.virtual.members import Member, Model
from plimsoll.worlds.virtual.setup import WorldSetup
from plimsoll.worlds.virtual.supply import Supply
from plimsoll.worlds.virtual.traffic import Traffic


class Scaler:
    """See the module's docstring; one for each model.

    reasons  of the last answer
    """

    def __init__(self, setup: WorldSetup, model: Model, traffic: Traffic, supply: Supply) -> None:
        self._setup = setup
        self._model = model
        self._traffic = traffic
        self._supply = supply
        self._policy = model.setup.scaling
        self._memory: Any = self._policy.memory_type() if self._policy is not None else None
        self._figures: deque[Signals] = deque()
        self._looked = 0.0
        self._direction = 0
        self.reasons: tuple[str, ...] = ()

    def look(self, now: float) -> None:
        """Look, decide, act."""
        model = self._model
        policy = self._policy
        if policy is None:
            wanted = model.setup.limits.least(now)
        else:
            self._figures.append(self._figures_now(now))
            answer = policy.decide(self._signals(now), self._memory)
            self._memory = answer.memory
            self.reasons = answer.reasons
            wanted = answer.replicas
        self._count_turn(wanted)
        model.wanted = wanted
        self._act(wanted, now)

    # What it sees.

    def _figures_now(self, now: float) -> Signals:
        """The figures as they are; the policy sees them later."""
        model, dispatcher = self._model, self._traffic.dispatcher
        share = 1.0 - model.cached / model.placed if model.placed else 1.0
        model.placed = model.cached = 0
        requests, tokens = model.arrived, model.asked
        model.arrived = model.asked = 0
        seconds, self._looked = now - self._looked, now
        queued = dispatcher.queued(model.name)
        full, model.full = model.full, (0.0, 0, 0)
        return Signals(
            now=now,
            arrived=Arrived(
                seconds=seconds,
                requests=requests,
                prompt_tokens=tokens * share,
                output_tokens=requests * model.output,
            ),
            queued=Queued(
                requests=queued,
                prompt_tokens=model.tokens * share,
                output_tokens=queued * model.output,
            ),
            in_flight=dispatcher.in_flight_of(model.name),
            observed=Observed(seconds=full[0], prompt_tokens=full[1], output_tokens=full[2])
            if full[0] > 0.0
            else None,
        )

    def _signals(self, now: float) -> Signals:
        """What the policy sees: figures that are old, replicas as they are."""
        seen: Signals | None = None
        while self._figures and self._figures[0].now <= now - self._setup.age:
            seen = self._figures.popleft() if seen is None else _both(seen, self._figures.popleft())
        members = self._model.members
        going: dict[float, int] = {}
        ready = 0
        for member in members:
            until = member.node.until
            if until is not None:
                going[until] = going.get(until, 0) + 1
            ready += member.state is ReplicaState.READY or until is not None
        loading = [m.expected for m in members if m.state is ReplicaState.STARTING]
        live = (ReplicaState.STARTING, ReplicaState.READY)
        return msgspec.structs.replace(
            seen if seen is not None else Signals(now=now, blind=True),
            now=now,
            ready=ready,
            loading=tuple(max(now, at) for at in loading),
            spot=sum(1 for m in members if m.node.spot and m.state in live),
            notices=tuple(Notice(at=at, count=count) for at, count in sorted(going.items())),
            age=now - seen.now if seen is not None else 0.0,
        )

    # What it does.

    def _count_turn(self, wanted: int) -> None:
        change = wanted - self._model.wanted
        direction = (change > 0) - (change < 0)
        if direction:
            self._model.tally.turns += direction == -self._direction
            self._direction = direction

    def _act(self, wanted: int, now: float) -> None:
        """Start what lacks; of what is too much, stop those that load first, then the youngest."""
        states = (ReplicaState.STARTING, ReplicaState.READY)
        live = [each for each in self._model.members if each.state in states]
        for _ in range(wanted - len(live)):
            self._supply.start(self._model, now)
        if wanted < len(live):
            live.sort(key=_least_useful)
            for member in live[: len(live) - wanted]:
                self._supply.stop(member, now)


def _least_useful(member: Member) -> tuple[bool, float, int]:
    """The order in which replicas are stopped: the oldest has the warmest cache."""
    return (member.state is ReplicaState.READY, -member.since, -member.slot)


def _both(first: Signals, then: Signals) -> Signals:
    """Two looks that are seen as one: what arrived adds up, the rest is the later one's."""
    a, b = first.arrived, then.arrived
    arrived = Arrived(
        seconds=a.seconds + b.seconds,
        requests=a.requests + b.requests,
        prompt_tokens=a.prompt_tokens + b.prompt_tokens,
        output_tokens=a.output_tokens + b.output_tokens,
    )
    return msgspec.structs.replace(then, arrived=arrived)
