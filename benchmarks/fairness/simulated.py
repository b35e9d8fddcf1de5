"""Tenants and replicas in imagined time, through the state machine of requests alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from plimsoll.policy.requests.dispatcher import Dispatcher
from plimsoll.policy.requests.types import (
    Do,
    Instructions,
    QueueLimits,
    Served,
    Ticket,
    Upstream,
)

READS = 4000.0
"""Tokens of a prompt that a slot reads per second."""
WRITES = 50.0
"""Tokens of an answer that a slot writes per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one tenant asks.

    weight   its share
    rate     requests that come per second, whether or not earlier ones are answered; or 0
    callers  that ask again as soon as they are answered
    prompt   tokens, from and to
    answer   tokens, from and to
    """

    weight: int = 1
    rate: float = 0.0
    callers: int = 0
    prompt: tuple[int, int] = (50, 200)
    answer: tuple[int, int] = (20, 120)


@dataclass(slots=True, kw_only=True)
class Got:
    """What one tenant got.

    tokens   of answers
    seconds  from asking to the end of the answer, each
    """

    tokens: int = 0
    seconds: list[float] = field(default_factory=list)

    def p(self, percent: float) -> float:
        """A percentile of the seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Simulation:
    """One model on replicas of some slots, and tenants who ask; see `run`."""

    def __init__(self, loads: dict[str, Load], *, replicas: Sequence[int], seed: int) -> None:
        self._loads = loads
        self._random = {name: random.Random(f"{seed} {name}") for name in loads}
        self._events: list[tuple[float, int, str, Ticket | None]] = []
        self._numbers = count()
        self._arrived: dict[int, float] = {}
        self._answers: dict[int, int] = {}
        self.got = {name: Got() for name in loads}
        self._machine = Dispatcher(QueueLimits(requests=100_000, bytes=1 << 40))
        self._machine.offer([Served(name="m", task="chat", context=4096)], 0.0)
        upstreams = tuple(
            Upstream(replica=f"m-{number}", host="", port=number, capacity=slots)
            for number, slots in enumerate(replicas)
        )
        self._machine.replicas({"m": upstreams}, 0.0)

    def run(self, seconds: float, *, since: float = 0.0) -> dict[str, Got]:
        """What each tenant gets until then; what ended before `since` is not counted."""
        for name, load in self._loads.items():
            for _ in range(load.callers):
                self._at(0.0, name)
            if load.rate:
                self._at(self._random[name].expovariate(load.rate), name)
        now = 0.0
        while self._events and now < seconds:
            now, _, name, ticket = heappop(self._events)
            if ticket is None:
                self._ask(name, now)
            else:
                self._end(name, ticket, now, counted=now >= since)
        return self.got

    def _at(self, when: float, name: str, ticket: Ticket | None = None) -> None:
        heappush(self._events, (when, next(self._numbers), name, ticket))

    def _ask(self, name: str, now: float) -> None:
        load, rng = self._loads[name], self._random[name]
        ticket = Ticket(
            name,
            "m",
            deadline=now + 1e9,
            tenant=name,
            weight=load.weight,
            prompt=rng.randint(*load.prompt),
            size=1000,
        )
        self._arrived[id(ticket)] = now
        self._answers[id(ticket)] = rng.randint(*load.answer)
        self._do(self._machine.arrive(ticket, now), now)
        if load.rate:
            self._at(now + rng.expovariate(load.rate), name)

    def _do(self, instructions: Instructions, now: float) -> None:
        for each in instructions:
            assert each.do is Do.START, each
            ticket = each.ticket
            takes = ticket.prompt / READS + self._answers[id(ticket)] / WRITES
            self._at(now + takes, str(ticket.owner), ticket)

    def _end(self, name: str, ticket: Ticket, now: float, *, counted: bool) -> None:
        tokens = self._answers.pop(id(ticket))
        arrived = self._arrived.pop(id(ticket))
        self._machine.began(ticket, now)
        self._machine.chunk(ticket, tokens)
        if counted:
            self.got[name].tokens += tokens
            self.got[name].seconds.append(now - arrived)
        self._do(self._machine.end(ticket, now), now)
        if self._loads[name].callers:
            self._ask(name, now)


def simulate(
    loads: dict[str, Load], *, replicas: Sequence[int], seconds: float, seed: int = 0
) -> dict[str, Got]:
    """What each tenant gets; the first tenth of the time is not counted."""
    simulation = Simulation(loads, replicas=replicas, seed=seed)
    return simulation.run(seconds, since=seconds / 10)
