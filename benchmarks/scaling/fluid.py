"""A fleet of equal replicas under traffic, second by second: work that comes, work that is done.

A queueing simulation by small steps rather than by requests, so that two weeks take seconds.
README.md says what it leaves out and what that means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil

from benchmarks.scaling.demand import Demand
from benchmarks.scaling.replica import Replica
from benchmarks.scaling.spot import Loss, Spot, drawn
from plimsoll.policy.scale.types import Arrived, Notice, Observed, Queued, Signals

WARM = 900
"""Seconds before the traffic, the same backwards, that are played and not counted: a policy that
has seen nothing would be measured by its first look."""

Decide = Callable[[Signals], int]
"""A policy with its memory: the replicas wanted after a look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all policies meet alike.

    cold_start  seconds from a decision to a replica that answers
    drain       seconds that a replica still costs after it was told to stop
    first       replicas that are ready at the beginning
    spot        how many are spot replicas and how they are lost; None: all are on demand
    """

    cold_start: float
    drain: float
    first: int
    spot: Spot | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it.

    attainment  share of the work, and so of the requests, within both objectives
    serving, loading, draining  replica-seconds
    spot_paid   replica-seconds of all these that were spot
    lost        spot replicas taken away
    turns       changes of direction: up after down, or down after up
    seconds     simulated
    wanted      the answers, look by look
    """

    attainment: float
    serving: float
    loading: float
    draining: float
    spot_paid: float
    lost: int
    turns: int
    seconds: int
    wanted: Sequence[int]

    @property
    def paid(self) -> float:
        """Replica-seconds in all."""
        return self.serving + self.loading + self.draining

    @property
    def turns_per_hour(self) -> float:
        """Changes of direction an hour."""
        return self.turns / (self.seconds / 3600)


@dataclass(slots=True)
class Fleet:
    """Replicas, queue and bill at one moment. Work in replica-seconds, times in seconds.

    ready     on demand and spot replicas that answer
    loading   when each that loads is ready and whether it is spot, in order
    leaving   when spot replicas with a notice go, and how many
    queue     work that waits
    missed    work that could not be done within the objective
    full      replica-seconds with a queue
    """

    setting: Setting
    unit: Replica
    ready: list[int]
    loading: list[tuple[int, int]] = field(default_factory=list)
    leaving: list[tuple[int, int]] = field(default_factory=list)
    queue: float = 0.0
    missed: float = 0.0
    full: float = 0.0
    serving: float = 0.0
    waiting: float = 0.0
    draining: float = 0.0
    spot_paid: float = 0.0
    lost: int = 0
    turns: int = 0
    direction: int = 0

    @property
    def answering(self) -> int:
        """Replicas that answer."""
        return self.ready[0] + self.ready[1]

    @property
    def live(self) -> int:
        """Replicas that answer or load, without those that will go."""
        return self.answering + len(self.loading) - sum(count for _, count in self.leaving)

    def spot(self) -> int:
        """Spot replicas that answer or load, without those that will go."""
        loads = sum(kind for _, kind in self.loading)
        return self.ready[1] + loads - sum(count for _, count in self.leaving)

    def scale(self, wanted: int, now: int) -> None:
        """Start or stop what is missing or spare; the latest to load stops first."""
        step = wanted - self.live
        if not step:
            return
        self.turns += self.direction == (-1 if step > 0 else 1)
        self.direction = 1 if step > 0 else -1
        cold = max(1, ceil(self.setting.cold_start))
        share = self.setting.spot.share if self.setting.spot else 0.0
        for _ in range(step):
            cheap = self.spot() + 1 <= share * (self.live + 1) + 1e-9
            self.loading.append((now + cold, int(cheap)))
        for _ in range(-step):
            if self.loading:
                self.loading.pop()
                continue
            kept = self.ready[1] - sum(count for _, count in self.leaving)
            cheap = kept > 0 and (self.spot() > share * (self.live - 1) or self.ready[0] == 0)
            self.ready[int(cheap)] -= 1
            self.draining += self.setting.drain
            self.spot_paid += self.setting.drain * cheap

    def lose(self, loss: Loss, share: float) -> None:
        """A notice: some of the spot replicas will go."""
        staying = self.ready[1] - sum(count for _, count in self.leaving)
        count = min(staying, loss.count(staying))
        if count and self.setting.spot:
            self.leaving.append((loss.at + self.setting.spot.notice, count))

    def pass_by(self, now: int, share: float) -> None:
        """What becomes ready, and what goes, by a time. Half of what runs there begins anew."""
        while self.loading and self.loading[0][0] <= now:
            self.ready[self.loading.pop(0)[1]] += 1
        while self.leaving and self.leaving[0][0] <= now:
            count = min(self.leaving.pop(0)[1], self.ready[1])
            self.ready[1] -= count
            self.lost += count
            self.queue += 0.5 * count * self.unit.flying(share) / self.unit.rate

    def forget(self) -> None:
        """Count from here."""
        self.missed = self.serving = self.waiting = self.draining = self.spot_paid = 0.0
        self.lost = self.turns = 0

    def next_change(self, end: int) -> int:
        """The next time at which something becomes ready or goes, or the end."""
        times = [end]
        if self.loading:
            times.append(self.loading[0][0])
        if self.leaving:
            times.append(self.leaving[0][0])
        return min(times)

    def serve(self, work: Sequence[float], begin: int, end: int) -> float:
        """Do the work of some seconds with what is ready; the work that was done.

        What would wait longer than the slack is turned away at once: the queue is bounded by
        what can still be served in time.
        """
        able = float(self.answering)
        bound = able * self.unit.slack
        queue = before = self.queue
        missed = came = 0.0
        full = 0
        for amount in work[begin:end]:
            came += amount
            queue += amount - able
            if queue <= 0.0:
                queue = 0.0
            else:
                full += 1
                if queue > bound:
                    missed += queue - bound
                    queue = bound
        self.queue = queue
        self.missed += missed
        self.full += full * able
        self.serving += able * (end - begin)
        self.waiting += len(self.loading) * (end - begin)
        if self.setting.spot:
            loads = sum(kind for _, kind in self.loading)
            self.spot_paid += (self.ready[1] + loads) * (end - begin)
        return came + before - queue - missed


def run(
    demand: Demand,
    unit: Replica,
    decide: Decide,
    *,
    look: int,
    setting: Setting,
    watch: Callable[[int], None] | None = None,
) -> Outcome:
    """Let a policy scale the fleet, one look every `look` seconds."""
    work, *counts = (
        [*each[:WARM][::-1].tolist(), *each.tolist()]
        for each in (demand.work, demand.requests, demand.prompt, demand.output)
    )
    sums = [[0.0, *accumulate(each)] for each in counts]
    total = len(work)
    warm = total - demand.seconds
    cheap = round(setting.first * setting.spot.share) if setting.spot else 0
    fleet = Fleet(setting=setting, unit=unit, ready=[setting.first - cheap, cheap])
    losses = drawn(setting.spot, total) if setting.spot else []
    answers: list[int] = []
    share = told = 0.0
    for begin in range(0, total, look):
        end = min(total, begin + look)
        if begin >= warm > begin - look:
            fleet.forget()
            told = 0.0
        while losses and losses[0].at < end:
            fleet.lose(losses.pop(0), share)
        fleet.pass_by(begin, share)
        since = max(0, begin - look)
        arrived = [each[begin] - each[since] for each in sums]
        signals = _signals(fleet, begin, begin - since, arrived, share=share, told=told)
        told, fleet.full = fleet.missed, 0.0
        wanted = decide(signals)
        fleet.scale(wanted, begin)
        answers.append(wanted)
        done = able = 0.0
        at = begin
        while at < end:
            upto = fleet.next_change(end)
            upto = max(at + 1, min(upto, end))
            done += fleet.serve(work, at, upto)
            able += fleet.answering * (upto - at)
            at = upto
            fleet.pass_by(at, share)
        share = done / able if able else 0.0
        if watch:
            watch(end)
    came = sum(work[warm:])
    return Outcome(
        attainment=1.0 - fleet.missed / came if came else 1.0,
        serving=fleet.serving,
        loading=fleet.waiting,
        draining=fleet.draining,
        spot_paid=fleet.spot_paid,
        lost=fleet.lost,
        turns=fleet.turns,
        seconds=demand.seconds,
        wanted=answers[ceil(warm / look) :],
    )


def _signals(
    fleet: Fleet, now: int, passed: int, arrived: Sequence[float], *, share: float, told: float
) -> Signals:
    unit = fleet.unit
    waiting = fleet.queue * unit.rate
    return Signals(
        now=float(now),
        arrived=Arrived(
            seconds=float(passed),
            requests=arrived[0],
            missed=(fleet.missed - told) * unit.rate,
            prompt_tokens=arrived[1],
            output_tokens=arrived[2],
        ),
        queued=Queued(
            requests=waiting,
            prompt_tokens=waiting * unit.prompt,
            output_tokens=waiting * unit.output,
        ),
        in_flight=fleet.answering * unit.flying(share),
        ready=fleet.answering,
        loading=tuple(float(at) for at, _ in fleet.loading),
        spot=fleet.spot(),
        notices=tuple(Notice(at=float(at), count=count) for at, count in fleet.leaving),
        observed=Observed(
            seconds=fleet.full,
            prompt_tokens=fleet.full * unit.rate * unit.prompt,
            output_tokens=fleet.full * unit.rate * unit.output,
        ),
    )
