"""One model in the state machine: its replicas, who waits for one and who holds one.

`place` and `release` are the only functions that count a ticket at a replica and count it no
longer; `Line.add` and `Line.remove` are those for the queue.
"""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.policy.requests.health import Health, HealthPolicy, Record
from plimsoll.policy.requests.pace import Pace
from plimsoll.policy.requests.queue import Line
from plimsoll.policy.requests.shares import ANSWER, CACHED, Flow, Wait
from plimsoll.policy.requests.types import Place, QueueLimits, Served, Ticket, Upstream
from plimsoll.policy.retry import Failure
from plimsoll.policy.routing.protocol import Router


class Claim:
    """What a ticket was counted with where it holds a place, so that the same is taken back.

    model    that counts it
    router   that placed it
    record   of its place's health
    flow     its tenant's
    prefill  prompt tokens counted as not read yet
    context  tokens counted when it took the place
    tokens   of its answer at that time
    charged  charge for its prompt
    answer   tokens, of the answer in all, that are charged
    paid     what is charged, over the weight of the tenant
    """

    __slots__ = (
        "answer", "charged", "context", "flow", "model", "paid", "prefill", "record", "router",
        "tokens",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 -- made once per request, where names cost
        self,
        model: Model,
        router: Router,
        record: Record,
        flow: Flow,
        prefill: int,
        context: int,
        tokens: int,
        charged: float,
        answer: float,
        paid: float,
    ) -> None:
        self.model = model
        self.router = router
        self.record = record
        self.flow = flow
        self.prefill = prefill
        self.context = context
        self.tokens = tokens
        self.charged = charged
        self.answer = answer
        self.paid = paid


class Waiting:
    """Where a ticket waits.

    model  that it waits for
    wait   in its line
    """

    __slots__ = ("model", "wait")

    def __init__(self, model: Model, wait: Wait) -> None:
        self.model = model
        self.wait = wait


class Model:
    """The replicas of one model and the tickets for it.

    served     the model
    router     chooses among its replicas
    line       who waits
    health     which replicas get no new work
    pace       how fast tickets end and replicas come
    places     its ready replicas
    withdrawn  whether it is no longer offered: what runs goes on, nothing new begins
    in_flight  tickets that hold a place, also at replicas that are leaving
    last_used  when a ticket last came or ended
    """

    def __init__(
        self,
        served: Served,
        limits: QueueLimits,
        health: HealthPolicy,
        router: Callable[[Served], Router],
    ) -> None:
        self.served = served
        self.router = router(served)
        self.line = Line(limits)
        self.health = Health(health)
        self.pace = Pace()
        self.places: tuple[Place, ...] = ()
        self.withdrawn = False
        self.in_flight = 0
        self.last_used: float | None = None
        self._by_replica: dict[str, Place] = {}
        self._leaving: list[Place] = []

    def describe(self, served: Served, router: Callable[[Served], Router], now: float) -> None:
        """Take another description of the same model."""
        before, self.served = self.served, served
        self.withdrawn = False
        if _routing(before) != _routing(served):
            self.router = router(served)
            for place in (*self.places, *self._leaving):
                place.routing = None
            self.router.replace(self.places, now)

    def in_flight_at(self, replica: str) -> int:
        """Tickets that hold a place at one replica, also when it is leaving."""
        place = self._by_replica.get(replica)
        here = 0 if place is None else place.in_flight
        for place in self._leaving:
            if place.upstream.replica == replica:
                here += place.in_flight
        return here

    def place(self, ticket: Ticket, now: float) -> bool:
        """Give the ticket a place if any has room."""
        router = self.router
        place = router.choose(ticket, now)
        if place is None:
            return False
        tokens = ticket.tokens
        context = ticket.prompt + tokens
        cached = min(ticket.cached, context)
        prefill = context - cached
        record = self.health.records[place]
        flow = self.line.flow(ticket)
        shares = flow.shares
        if flow.counter > shares.level:
            shares.level = flow.counter
        elif not flow.queued:  # it comes while nobody waits
            flow.counter = shares.level
        answer = flow.expected
        if 0 < ticket.answer < answer:
            answer = float(ticket.answer)
        charged = prefill + CACHED * cached
        paid = (charged + ANSWER * answer) / flow.weight
        flow.counter += paid
        flow.in_flight += 1
        place.in_flight += 1
        place.prefill += prefill
        place.context += context
        self.in_flight += 1
        ticket.line = Claim(
            self, router, record, flow, prefill, context, tokens, charged, tokens + answer, paid
        )
        ticket.place = place
        ticket.began = False
        router.placed(ticket, now)
        if record.proving:
            self.health.took(record, ticket, now)
            router.changed(place)
        return True

    def began(self, ticket: Ticket, claim: Claim, now: float) -> None:
        """The answer has begun: the prompt is read."""
        place = ticket.place
        assert place is not None
        ticket.began = True
        place.prefill -= claim.prefill
        claim.prefill = 0
        if claim.router is self.router:
            claim.router.began(ticket, now)
        if claim.record.probe is ticket:
            self.health.proved(claim.record, answers=True)
            self.router.changed(place)

    def overrun(self, claim: Claim, tokens: int) -> None:
        """The answer has more tokens than were charged: charge twice as many."""
        more = tokens - claim.tokens
        claim.answer = float(tokens + more)
        self._settle(claim, claim.charged + ANSWER * 2 * more)

    def release(self, ticket: Ticket, claim: Claim, now: float, *, failed: bool = False) -> None:
        """Take the place back. A try that failed before it began costs the tenant nothing."""
        place = ticket.place
        assert place is not None
        delivered = ticket.tokens - claim.tokens
        place.in_flight -= 1
        place.prefill -= claim.prefill
        place.context -= claim.context + delivered
        self.in_flight -= 1
        flow = claim.flow
        flow.in_flight -= 1
        prompt = 0.0 if failed and not ticket.began else claim.charged
        self._settle(claim, prompt + ANSWER * delivered)
        if claim.router is self.router:
            claim.router.left(ticket, now)
        else:
            self.router.changed(place)
        ticket.place = None
        ticket.line = None
        self.last_used = now
        if claim.record.probe is ticket:
            self.health.proved(claim.record, answers=False)
            self.router.changed(place)
        if self._leaving and not place.in_flight:
            self._leaving = [each for each in self._leaving if each.in_flight]

    def _settle(self, claim: Claim, tokens: float) -> None:
        flow = claim.flow
        paid = tokens / flow.weight
        flow.shares.charge(flow, paid - claim.paid)
        claim.paid = paid

    def failed(self, claim: Claim, failure: Failure, now: float) -> None:
        """A try failed at a replica that has been released."""
        for place in self.health.failed(claim.record, failure, now):
            self.router.changed(place)

    def replace(self, upstreams: tuple[Upstream, ...], now: float) -> None:
        """Take these as the ready replicas; the ones that stay keep their counts."""
        known = {place.upstream: place for place in self.places}
        revived = {place.upstream: place for place in self._leaving}
        latest = {upstream: upstream for upstream in upstreams}
        self.places = tuple(
            known.get(upstream) or revived.get(upstream) or Place(upstream) for upstream in latest
        )
        self._by_replica = {place.upstream.replica: place for place in self.places}
        for place in self.places:
            place.describe(latest[place.upstream])
        stay = set(self.places)
        gone = [place for place in (*known.values(), *self._leaving) if place not in stay]
        self._leaving = [place for place in gone if place.in_flight]
        self.health.replace(self.places)
        self.router.replace(self.places, now)
        if self.places:
            self.pace.came(now)

    def told(self, replica: str, requests: int | None, own: int, kv_usage: float | None) -> bool:
        """A replica says how many requests it has; False where it is none of the ready ones."""
        place = self._by_replica.get(replica)
        if place is None:
            return False
        place.told(requests, own, kv_usage)
        self.router.changed(place)
        return True

    def tick(self, now: float) -> None:
        """Let time pass: replicas may get new work again."""
        for place in self.health.tick(now):
            self.router.changed(place)

    def hopeless(self, now: float, until: float) -> bool:
        """Whether no replica will be ready by then, as far as was seen."""
        if self.places:
            return False
        left = self.pace.start_left(now)
        return left is not None and now + left > until

    def retry_after(self, ticket: Ticket, now: float) -> float:
        """Seconds after which the ticket's request may be worth sending again; 0.0: no word."""
        return self.pace.retry_after(
            now,
            before=self.line.before(ticket),
            ready=bool(self.places),
            hold=self.served.hold,
        )


def _routing(served: Served) -> tuple[object, ...]:
    """What a router is made from."""
    return (served.affinity, served.affinity_ttl, served.prefill_rate, served.kv_tokens)
