"""Everything that can happen to requests, in any order: nothing lost, nothing counted twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plimsoll.policy.requests.dispatcher import Dispatcher
from plimsoll.policy.requests.model import Model
from plimsoll.policy.requests.types import (
    Do,
    Instructions,
    Place,
    QueueLimits,
    Reason,
    Served,
    Ticket,
    Upstream,
)
from plimsoll.policy.retry import Failure

MODELS = ("a", "b", "c")
FALLBACKS = {"a": ("b", "c"), "b": ("c",), "c": ()}


@dataclass
class Seen:
    """What the test itself knows of a ticket: where it is, and what it must count for there."""

    ticket: Ticket
    state: str = "new"
    context: int = 0
    prefill: int = 0
    stale: Place | None = None  # where it is to be tried once more, also when that is leaving


def upstream(model: str, number: int, capacity: int = 2, gateways: int = 1) -> Upstream:
    return Upstream(
        replica=f"{model}-{number}", host="h", port=number, capacity=capacity, gateways=gateways
    )


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limits = QueueLimits(requests=6, bytes=1000)
        self.machine = Dispatcher(self.limits)
        self.seen: dict[Ticket, Seen] = {}
        self.places: set[Place] = set()
        self.offered = {name: self.served(name, "prefix") for name in MODELS}
        self.run(self.machine.offer(self.offered.values(), self.now))

    def served(self, name: str, affinity: str) -> Served:
        return Served(
            name=name, aliases=("shared",), task="chat", context=1000, affinity=affinity,
            fallbacks=FALLBACKS[name],
        )  # fmt: skip

    def run(self, instructions: Instructions) -> None:
        for instruction in instructions:
            seen = self.seen[instruction.ticket]
            ticket = seen.ticket
            if instruction.do is Do.WAKE:
                assert not self.machine.places(instruction.model)
                continue
            assert seen.state in {"new", "waiting", "failed"}
            if instruction.do is Do.REFUSE:
                assert ticket.over
                assert ticket.place is None
                assert instruction.reason is not None
                assert instruction.retry_after == 0 or 1 <= instruction.retry_after <= 60
                seen.state = "over"
                continue
            assert not ticket.over
            assert ticket.place is not None
            if ticket.place is not seen.stale:
                assert ticket.place in self.machine.places(ticket.model)
            seen.state = "running"
            seen.context = ticket.prompt + ticket.tokens
            seen.prefill = seen.context - ticket.cached
            self.places.add(ticket.place)
        for seen in self.seen.values():
            if seen.state in {"new", "failed"}:
                seen.state = "waiting"

    def of(self, *states: str) -> list[Seen]:
        return [seen for seen in self.seen.values() if seen.state in states]

    @rule(
        model=st.sampled_from(MODELS), tenant=st.sampled_from("xyz"), priority=st.integers(0, 2),
        weight=st.integers(1, 3), size=st.integers(0, 400), prompt=st.integers(0, 300),
        wait=st.sampled_from([0.0, 1.0, 20.0]), falls=st.booleans(), answer=st.integers(0, 50),
        blocks=st.lists(st.integers(1, 3), max_size=3),
    )  # fmt: skip
    def arrives(
        self, *, model: str, tenant: str, priority: int, weight: int, size: int, prompt: int,
        wait: float, falls: bool, answer: int, blocks: list[int],
    ) -> None:  # fmt: skip
        ticket = Ticket(
            None, model, deadline=self.now + wait, tenant=tenant, priority=priority,
            weight=weight, size=size, prompt=prompt, answer=answer, blocks=tuple(blocks),
            session=tenant, request_id=str(len(self.seen)),
            fallbacks=FALLBACKS[model] if falls else (),
        )  # fmt: skip
        self.seen[ticket] = Seen(ticket)
        self.run(self.machine.arrive(ticket, self.now))
        if self.seen[ticket].state == "waiting":
            line = self.machine._models[ticket.model].line
            assert line.queued <= max(self.limits.requests, line.ahead + 1)
            assert line.size <= self.limits.bytes or line.ahead

    @precondition(lambda self: self.of("running"))
    @rule(data=st.data(), tokens=st.integers(0, 400))
    def answers(self, data: st.DataObject, tokens: int) -> None:
        seen = data.draw(st.sampled_from(self.of("running")))
        self.machine.began(seen.ticket, self.now)
        seen.prefill = 0
        self.machine.chunk(seen.ticket, tokens)
        seen.context += tokens
        self.run(self.machine.tick(self.now))

    @precondition(lambda self: self.of("running"))
    @rule(data=st.data(), began=st.booleans())
    def ends(self, data: st.DataObject, began: bool) -> None:
        seen = data.draw(st.sampled_from(self.of("running")))
        if began:
            self.machine.began(seen.ticket, self.now)
        seen.state = "over"
        self.run(self.machine.end(seen.ticket, self.now))

    @precondition(lambda self: self.seen)
    @rule(data=st.data(), again=st.booleans())
    def is_cancelled(self, data: st.DataObject, again: bool) -> None:
        seen = data.draw(st.sampled_from(list(self.seen.values())))
        seen.state = "over"
        self.run(self.machine.cancel(seen.ticket, self.now))
        if again:
            assert not self.machine.cancel(seen.ticket, self.now)
            assert not self.machine.end(seen.ticket, self.now)
            self.machine.began(seen.ticket, self.now)
            self.machine.chunk(seen.ticket, 5)
            assert not self.fail(seen.ticket, Failure.LOST, 1, answering=False, resumable=False)

    def fail(
        self, ticket: Ticket, failure: Failure, sent: int, *, answering: bool, resumable: bool
    ) -> Instructions:
        return self.machine.failed(
            ticket, failure, self.now, sent=sent, answering=answering, resumable=resumable
        )

    @precondition(lambda self: self.of("running"))
    @rule(
        data=st.data(), failure=st.sampled_from(Failure), sent=st.integers(0, 4),
        answering=st.booleans(), resumable=st.booleans(), wait=st.sampled_from([0.0, 9.0]),
    )  # fmt: skip
    def fails(
        self, *, data: st.DataObject, failure: Failure, sent: int, answering: bool, resumable: bool,
        wait: float,
    ) -> None:  # fmt: skip
        seen = data.draw(st.sampled_from(self.of("running")))
        ticket = seen.ticket
        ticket.deadline = self.now + wait
        seen.state = "failed"
        seen.stale = ticket.place
        prefill = seen.prefill if failure is Failure.STALE else None
        self.run(self.fail(ticket, failure, sent, answering=answering, resumable=resumable))
        if prefill is not None and ticket.place is seen.stale:  # nothing was given back
            seen.prefill = prefill
        seen.stale = None

    @rule(changes=st.dictionaries(
        st.sampled_from(MODELS),
        st.lists(
            st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)),
            max_size=4, unique_by=lambda each: each[0],
        ),
    ))  # fmt: skip
    def replicas_change(self, changes: dict[str, list[tuple[int, int, int]]]) -> None:
        known = {
            name: tuple(upstream(name, *each) for each in found)
            for name, found in changes.items()
            if name in self.offered
        }
        self.run(self.machine.replicas(known, self.now))

    @rule(
        model=st.sampled_from(MODELS), number=st.integers(1, 5),
        requests=st.none() | st.integers(0, 9), own=st.integers(0, 3),
        usage=st.none() | st.floats(0, 1),
    )  # fmt: skip
    def a_replica_tells(
        self, model: str, number: int, requests: int | None, own: int, usage: float | None
    ) -> None:
        self.run(self.machine.told(model, f"{model}-{number}", requests, own, usage, self.now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.run(self.machine.tick(self.now))

    @rule(
        names=st.sets(st.sampled_from(MODELS)),
        affinity=st.sampled_from(["none", "prefix", "session"]),
    )
    def models_change(self, names: set[str], affinity: str) -> None:
        self.offered = {name: self.served(name, affinity) for name in sorted(names)}
        waiting = [seen for seen in self.of("waiting") if seen.ticket.model not in names]
        out = self.machine.offer(self.offered.values(), self.now)
        assert {each.ticket for each in out} == {seen.ticket for seen in waiting}
        assert all(each.reason is Reason.WITHDRAWN for each in out)
        self.run(out)

    @rule(requests=st.integers(0, 8), size=st.integers(0, 1500), tries=st.integers(1, 4))
    def limits_change(self, requests: int, size: int, tries: int) -> None:
        self.limits = QueueLimits(requests=requests, bytes=size)
        self.machine.limit(self.limits, tries=tries, suspect=0.5)

    def models(self) -> list[Model]:
        return [*self.machine._models.values(), *self.machine._gone.values()]

    @invariant()
    def counts_are_those_of_the_tickets(self) -> None:
        running, waiting = self.of("running"), self.of("waiting")
        for seen in self.seen.values():
            assert seen.ticket.over == (seen.state == "over")
            assert (seen.ticket.place is not None) == (seen.state == "running")
        for place in self.places:
            here = [seen for seen in running if seen.ticket.place is place]
            assert place.in_flight == len(here)
            assert place.prefill == sum(seen.prefill for seen in here)
            assert place.context == sum(seen.context for seen in here)
        for model in self.models():
            name = model.served.name
            mine = [seen for seen in waiting if seen.ticket.model == name]
            assert model.line.queued == len(mine)
            assert model.line.size == sum(seen.ticket.size for seen in mine)
            assert model.in_flight == sum(seen.ticket.model == name for seen in running)
        at = Counter(seen.ticket.place.upstream.replica for seen in running)
        for name in MODELS:
            for number in range(1, 5):
                assert self.machine.in_flight(f"{name}-{number}") == at[f"{name}-{number}"]

    @invariant()
    def every_tenant_is_counted_once(self) -> None:
        for model in self.models():
            line = model.line
            flows = [flow for each in line._order for flow in each.flows.values()]
            assert sum(flow.queued for flow in flows) + line.ahead == line.queued
            assert sum(flow.in_flight for flow in flows) == model.in_flight
            for shares in line._order:
                mine = [flow for flow in flows if flow.shares is shares]
                assert shares.queued == sum(flow.queued for flow in mine)
                assert shares.size == sum(flow.size for flow in mine)
                assert shares._weights == sum(flow.weight for flow in mine if flow.queued)
                for flow in mine:
                    alive = [wait for wait in flow.waiting if wait.ticket is not None]
                    assert flow.queued == len(alive)
                    assert flow.size == sum(wait.size for wait in alive)

    @invariant()
    def nobody_waits_while_a_place_has_room(self) -> None:
        for name in self.offered:
            free = [
                place
                for place in self.machine.places(name)
                if not place.suspect and place.in_flight < place.limit
            ]
            assert not (free and self.machine.queued(name))
            assert self.machine._models[name].router.room() == bool(free)

    @invariant()
    def only_offered_models_have_anybody_waiting(self) -> None:
        assert all(seen.ticket.model in self.offered for seen in self.of("waiting"))

    def teardown(self) -> None:
        for ticket in self.seen:
            self.machine.cancel(ticket, self.now)
        for place in self.places:
            assert (place.in_flight, place.prefill, place.context) == (0, 0, 0)
        assert not self.machine._gone
        for model in self.models():
            assert (model.in_flight, model.line.queued, model.line.size) == (0, 0, 0)
            assert (model.line.ahead, model._leaving) == (0, [])
            assert not any(
                flow.in_flight for each in model.line._order for flow in each.flows.values()
            )


AnyOrder.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
