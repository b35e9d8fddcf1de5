"""A fleet under a workload, simulated: gateway, engines, nodes, scaler, and what it all costs.

Nothing here reads a clock or a file; the same setup, workload and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from random import Random

import msgspec

from plimsoll.errors import InputError
from plimsoll.policy.requests.types import Served
from plimsoll.policy.routing.choice import router_for
from plimsoll.policy.routing.protocol import Router
from plimsoll.policy.snapshot import ReplicaState
from plimsoll.worlds.virtual.agenda import Agenda
from plimsoll.worlds.virtual.engine.replica import Replica
from plimsoll.worlds.virtual.members import Member, Model
from plimsoll.worlds.virtual.scaling import Scaler
from plimsoll.worlds.virtual.setup import WorldSetup
from plimsoll.worlds.virtual.supply import MakeEngine, Supply
from plimsoll.worlds.virtual.tally import Figures, Minute, Spent, figures
from plimsoll.worlds.virtual.traffic import Traffic
from plimsoll.worlds.virtual.workloads.types import Arrival

_MINUTE = 60.0
_TICK = 1.0


class ModelOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one model.

    arrived, ended, broken  requests: that came, whose answer was whole, whose answer broke off
    refused       by reason
    attained      share of those that came which held both objectives; `ttft_`, `tpot_`: held one
    ttft, tpot, e2e  seconds of those that ended
    prompt, cached, output  tokens of those that ended
    hit_rate      cached over prompt
    spent         GPU seconds by cause, and dollars
    starts, lost  replicas that became ready, and that were taken away
    turns         changes of direction of the number of replicas
    cold_start    seconds of every phase, of those that became ready
    """

    name: str
    arrived: int
    ended: int
    broken: int
    refused: dict[str, int]
    attained: float
    ttft_attained: float
    tpot_attained: float
    ttft: Figures
    tpot: Figures
    e2e: Figures
    prompt: int
    cached: int
    output: int
    hit_rate: float
    spent: Spent
    starts: int
    lost: int
    turns: int
    cold_start: dict[str, Figures]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a simulation.

    seconds  from its beginning to the end of the last request, or of the last minute begun
    models   one by one
    """

    seconds: float
    models: tuple[ModelOutcome, ...]


class World:
    """See the module's docstring.

    setup   of it
    seed    of everything that happens by chance
    minute  called with every minute of every model when it is over
    router  makes the router of a model, as the gateway's does
    engine  makes the engine of a replica
    """

    def __init__(
        self,
        setup: WorldSetup,
        *,
        seed: int = 0,
        minute: Callable[[Minute], None] | None = None,
        router: Callable[[Served], Router] = router_for,
        engine: MakeEngine = Replica,
    ) -> None:
        self._setup = setup
        self._row = minute
        models = [Model(each, number) for number, each in enumerate(setup.models)]
        self._models = {model.name: model for model in models}
        members: list[Member | None] = []
        self._members = members
        self._agenda = Agenda()
        self.traffic = Traffic(setup, self._models, members, self._wake, router)
        self._supply = Supply(self._agenda, Random(seed), members, self.traffic, engine)
        self._scalers = {
            model.name: Scaler(setup, model, self.traffic, self._supply) for model in models
        }
        self._woken: set[str] = set()
        self._minute = 0.0
        self._begin(models)

    def _begin(self, models: list[Model]) -> None:
        setup, agenda = self._setup, self._agenda
        for model in models:
            for _ in range(model.setup.ready):
                self._supply.start(model, 0.0, at_once=True)
            model.wanted = model.setup.ready
            self.traffic.ready(model, 0.0)
        self._supply.outages(models, 0.0)
        agenda.every(setup.scrape, self._scrape, first=setup.scrape)
        agenda.every(_TICK, self.traffic.tick, first=_TICK)
        for scaler in self._scalers.values():
            agenda.every(setup.look, scaler.look, first=0.0)
        agenda.every(_MINUTE, self._minute_over, first=_MINUTE)

    def run(self, arrivals: Iterable[Arrival]) -> Outcome:
        """Let the workload arrive, and all of its requests end."""
        arrive = self.traffic.arrive
        agenda = self._agenda
        now = 0.0
        for arrival in arrivals:
            at = arrival.at
            if at < now:
                raise InputError(
                    f"an arrival at {at:g} s comes after one at {now:g} s",
                    hint="sort the workload by time",
                )
            now = at
            if agenda.next <= at:
                self._until(at)
            else:
                self.traffic.until(at)
            arrive(arrival)
        return self._end(now)

    def _until(self, now: float) -> None:
        agenda, traffic = self._agenda, self.traffic
        while agenda.next <= now:
            traffic.until(agenda.next)
            agenda.do()
        traffic.until(now)

    def _end(self, now: float) -> Outcome:
        traffic, agenda = self.traffic, self._agenda
        while traffic.open:
            now = min(traffic.next, agenda.next)
            if now == inf:
                break
            self._until(now)
        for model in self._models.values():
            self._supply.pay_all(model, now, last=True)
            self._over(model)
        return Outcome(
            seconds=now, models=tuple(_outcome(model) for model in self._models.values())
        )

    # What happens again and again.

    def _wake(self, model: Model, now: float) -> None:
        """Somebody waits and there is no replica: the scaler looks soon."""
        if model.name not in self._woken:
            self._woken.add(model.name)

            def look(at: float) -> None:
                self._woken.discard(model.name)
                if not model.members:
                    self._scalers[model.name].look(at)

            self._agenda.at(now + self._setup.wake, look)

    def _scrape(self, now: float) -> None:
        self.traffic.look(now)
        for model in self._models.values():
            _measure(model, self.traffic, self._setup.scrape)

    def _minute_over(self, now: float) -> None:
        for model in self._models.values():
            self._supply.pay_all(model, now)
            self._over(model)
        self._minute = now

    def _over(self, model: Model) -> None:
        states = [member.state for member in model.members]
        row = model.tally.minute(
            self._minute,
            model.name,
            queued=self.traffic.dispatcher.queued(model.name),
            in_flight=self.traffic.dispatcher.in_flight_of(model.name),
            replicas=(
                states.count(ReplicaState.READY),
                states.count(ReplicaState.STARTING),
                states.count(ReplicaState.DRAINING),
                model.wanted,
            ),
        )
        if self._row is not None:
            self._row(row)


def simulate(
    setup: WorldSetup,
    arrivals: Iterable[Arrival],
    *,
    seed: int = 0,
    minute: Callable[[Minute], None] | None = None,
) -> Outcome:
    """What becomes of a fleet under a workload."""
    return World(setup, seed=seed, minute=minute).run(arrivals)


def _measure(model: Model, traffic: Traffic, seconds: float) -> None:
    """What replicas did that had no room from one look at their metrics to the next."""
    full, read, wrote = model.full
    for place in traffic.dispatcher.places(model.name):
        member = traffic.member(place)
        engine = member.engine
        none_left = place.in_flight >= place.limit
        if none_left and member.full:
            full += seconds
            read += engine.read - member.read
            wrote += engine.wrote - member.wrote
        member.full, member.read, member.wrote = none_left, engine.read, engine.wrote
    model.full = (full, read, wrote)


def _outcome(model: Model) -> ModelOutcome:
    tally = model.tally
    came = max(1, tally.arrived)
    return ModelOutcome(
        name=model.name,
        arrived=tally.arrived,
        ended=tally.ended,
        broken=tally.broken,
        refused=dict(sorted(tally.refused.items())),
        attained=tally.attained / came,
        ttft_attained=tally.held_ttft / came,
        tpot_attained=tally.held_tpot / came,
        ttft=figures(tally.ttft),
        tpot=figures(tally.tpot),
        e2e=figures(tally.e2e),
        prompt=tally.prompt,
        cached=tally.cached,
        output=tally.output,
        hit_rate=tally.cached / max(1, tally.prompt),
        spent=tally.spent,
        starts=tally.starts,
        lost=tally.lost,
        turns=tally.turns,
        cold_start={phase: figures(took) for phase, took in sorted(tally.phases.items())},
    )
