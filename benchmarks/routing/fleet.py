"""Replicas in numbers behind the real dispatcher: what a router makes of a trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from time import perf_counter_ns

from benchmarks.routing.replica import Job, Replica, Speed
from benchmarks.routing.trace import Request
from plimsoll.policy.requests.dispatcher import Dispatcher
from plimsoll.policy.requests.types import (
    Do,
    Instructions,
    Place,
    QueueLimits,
    Served,
    Ticket,
    Upstream,
)
from plimsoll.policy.routing.protocol import Router

REPORTS = 5.0
"""Seconds between two reports of a replica's load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a trace.

    hits       share of blocks found in the cache
    imbalance  most prompt tokens that one replica had to read, over the average
    first      seconds to the first token, sorted
    between    average seconds between tokens of an answer, sorted
    decision   microseconds per choice, sorted
    """

    hits: float
    imbalance: float
    first: list[float]
    between: list[float]
    decision: list[float]


class _Timed:
    """A router whose choices are timed."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.took: list[float] = []
        self.room = router.room
        self.placed = router.placed
        self.began = router.began
        self.left = router.left
        self.replace = router.replace
        self.changed = router.changed
        self.explain = router.explain

    def choose(self, ticket: Ticket, now: float) -> Place | None:
        start = perf_counter_ns()
        place = self.router.choose(ticket, now)
        self.took.append((perf_counter_ns() - start) / 1000)
        return place


def run(
    requests: Sequence[Request],
    *,
    replicas: int,
    speed: Speed,
    router: Callable[[Served], Router],
) -> Outcome:
    """Send the requests of a trace at their times."""
    return _Run(requests, replicas, speed, router).outcome()


class _Run:
    def __init__(
        self,
        requests: Sequence[Request],
        replicas: int,
        speed: Speed,
        router: Callable[[Served], Router],
    ) -> None:
        served = Served(name="model", task="chat", context=1 << 20, kv_tokens=speed.blocks * 512)
        self._timed = _Timed(router(served))
        self._requests = requests
        self._names = [f"replica-{number}" for number in range(replicas)]
        self._number = {name: number for number, name in enumerate(self._names)}
        self._machine = Dispatcher(
            QueueLimits(requests=len(requests) + 1, bytes=1 << 60), router=lambda _: self._timed
        )
        self._machine.offer([served], 0.0)
        self._replicas = [Replica(speed, self._begun, self._ended) for _ in range(replicas)]
        self._events: list[tuple[float, int]] = []
        upstreams = tuple(
            Upstream(replica=name, host="", port=1, capacity=speed.running) for name in self._names
        )
        self._machine.replicas({"model": upstreams}, 0.0)
        self._first: list[float] = []
        self._between: list[float] = []
        self._total = sum(len(each.blocks) for each in requests)

    def _start(self, instructions: Instructions, now: float) -> None:
        for instruction in instructions:
            assert instruction.do is Do.START
            ticket = instruction.ticket
            assert ticket.place is not None
            assert isinstance(ticket.owner, Request)
            number = self._number[ticket.place.upstream.replica]
            replica = self._replicas[number]
            replica.arrive(Job(ticket.owner, ticket), now)
            assert replica.wake is not None
            heappush(self._events, (replica.wake, number))

    def _begun(self, job: Job, now: float) -> None:
        assert isinstance(job.owner, Ticket)
        self._machine.began(job.owner, now)
        self._first.append(now - job.request.at)

    def _ended(self, job: Job, now: float) -> None:
        ticket = job.owner
        assert isinstance(ticket, Ticket)
        self._machine.chunk(ticket, job.request.answer)
        if job.request.answer > 1:
            self._between.append((now - job.first) / (job.request.answer - 1))
        self._start(self._machine.end(ticket, now), now)

    def _report(self, now: float) -> None:
        for name, place, replica in zip(
            self._names, self._machine.places("model"), self._replicas, strict=True
        ):
            usage = replica.kv_usage
            self._start(
                self._machine.told("model", name, place.in_flight, place.in_flight, usage, now),
                now,
            )

    def outcome(self) -> Outcome:
        events, replicas = self._events, self._replicas
        heapify(events)
        report = REPORTS
        for index, request in enumerate(self._requests):
            self._until(request.at)
            while request.at >= report:
                self._report(report)
                report += REPORTS
            ticket = Ticket(
                request, "model", deadline=float("inf"), request_id=str(index),
                prompt=request.prompt, answer=request.answer, blocks=request.blocks,
            )  # fmt: skip
            self._start(self._machine.arrive(ticket, request.at), request.at)
        self._until(float("inf"))
        work = [replica.work for replica in replicas]
        return Outcome(
            hits=sum(replica.hits for replica in replicas) / max(1, self._total),
            imbalance=max(work) * len(work) / max(1, sum(work)),
            first=sorted(self._first),
            between=sorted(self._between),
            decision=sorted(self._timed.took),
        )

    def _until(self, now: float) -> None:
        events, replicas = self._events, self._replicas
        while events and events[0][0] <= now:
            at, number = heappop(events)
            replica = replicas[number]
            if replica.wake != at:
                continue  # something arrived meanwhile, and it has another time
            replica.advance(at)
            if replica.wake is not None:
                heappush(events, (replica.wake, number))
