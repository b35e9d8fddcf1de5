"""Requests: from their arrival through the gateway's own state machine to the engines and back.

The state machine is the gateway's, `policy.requests.Dispatcher`, and routes as it does there.
What it is told of replicas is as old as its last look at their metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import inf

from plimsoll.errors import InputError
from plimsoll.policy.requests.dispatcher import Dispatcher
from plimsoll.policy.requests.types import Do, Instructions, Place, Served, Ticket
from plimsoll.policy.retry import Failure
from plimsoll.policy.routing.choice import router_for
from plimsoll.policy.routing.prompt import BLOCK_TOKENS as ENDS
from plimsoll.policy.routing.protocol import Router
from plimsoll.worlds.virtual.engine.types import Job
from plimsoll.worlds.virtual.members import Member, Model, Told
from plimsoll.worlds.virtual.setup import WorldSetup
from plimsoll.worlds.virtual.workloads.types import BLOCK_TOKENS, Arrival

_START = Do.START
_REFUSE = Do.REFUSE
_WITHIN = tuple((end - 1) // BLOCK_TOKENS for end in ENDS)  # block of a workload, by the router's
_BYTES = 4  # of a prompt that one token stands for


class Traffic:
    """See the module's docstring.

    setup    of the world
    models   by name
    members  every replica by its slot; None where none is
    wake     called where somebody waits for a model without replicas
    router   makes the router of a model, as the gateway's does

    dispatcher  the state machine
    open        requests that came and are not over
    """

    def __init__(
        self,
        setup: WorldSetup,
        models: dict[str, Model],
        members: list[Member | None],
        wake: Callable[[Model, float], None],
        router: Callable[[Served], Router] = router_for,
    ) -> None:
        self.dispatcher = Dispatcher(setup.queue, router=router)
        self.dispatcher.offer([model.setup.served for model in models.values()], 0.0)
        self.open = 0
        self._weights = setup.weights
        self._priorities = setup.priorities
        self._models = models
        self._members = members
        self._wake = wake
        self._events: list[tuple[float, int]] = []  # times at which engines change, and slots
        self._count = 0
        self._told: dict[Ticket, Told] = {}  # of requests whose replica was lost
        self._sent: dict[Ticket, int] = {}  # how often they were

    # Requests.

    def arrive(self, arrival: Arrival) -> None:
        """A request comes."""
        model = self._models.get(arrival.model)
        if model is None:
            raise InputError(
                f"the workload asks for `{arrival.model}`, which the fleet does not have",
                hint=f"it has: {', '.join(self._models)}",
            )
        now, tokens = arrival.at, arrival.prompt_tokens
        model.arrived += 1
        model.asked += tokens
        model.tally.came()
        self._count += 1
        if not model.setup.engine.fits(tokens, arrival.output_tokens):
            model.tally.turned_away("too-long")
            return
        tenant = arrival.tenant
        ticket = Ticket(
            arrival,
            model.name,
            deadline=now + model.setup.patience,
            request_id=str(self._count),
            tenant=tenant,
            weight=self._weights.get(tenant, 1) if self._weights else 1,
            priority=self._priorities.get(tenant, 0) if self._priorities else 0,
            prompt=tokens,
            size=tokens * _BYTES,
            blocks=_routed(arrival.blocks, tokens) if arrival.blocks else (),
            session=arrival.session or "",
        )
        self.open += 1
        model.tokens += tokens
        out = self.dispatcher.arrive(ticket, now)
        if out:
            self.carry_out(out, now)

    def carry_out(self, instructions: Instructions, now: float) -> None:
        """Do what the state machine asks for."""
        for instruction in instructions:
            do = instruction.do
            if do is _START:
                self._start(instruction.ticket, now)
            elif do is _REFUSE:
                ticket = instruction.ticket
                model = self._models[ticket.model]
                if ticket in self._told or ticket in self._sent:
                    model.tally.broke()
                    self._forget(ticket)
                else:
                    model.tokens -= ticket.prompt
                    model.tally.turned_away(str(instruction.reason))
                self.open -= 1
            else:
                self._wake(self._models[instruction.model], now)

    def _start(self, ticket: Ticket, now: float) -> None:
        place = ticket.place
        if place is None:
            return
        slot = place.upstream.port
        member = self._members[slot]
        assert member is not None
        arrival = ticket.owner
        model = member.model
        made = ticket.tokens
        if not made and ticket not in self._sent:
            model.tokens -= ticket.prompt
        model.placed += ticket.prompt
        model.cached += ticket.cached
        job = Job(
            now, ticket.prompt + made, arrival.output_tokens - made, arrival.blocks or (), ticket
        )
        engine = member.engine
        wake = engine.wake
        engine.arrive(job, now)
        if engine.wake != wake:
            heappush(self._events, (engine.wake, slot))

    def until(self, now: float) -> None:
        """Let the engines run until then."""
        events, members, dispatcher = self._events, self._members, self.dispatcher
        while events and events[0][0] <= now:
            at, slot = heappop(events)
            member = members[slot]
            if member is None or member.engine.wake != at:
                continue  # something came meanwhile, and it has another time
            engine = member.engine
            begun, ended = engine.advance()
            if engine.wake != inf:
                heappush(events, (engine.wake, slot))
            for job in begun:
                dispatcher.began(job.owner, at)
            if ended:
                self._ended(member, ended, at)

    def member(self, place: Place) -> Member:
        """The replica that has a place."""
        member = self._members[place.upstream.port]
        assert member is not None
        return member

    @property
    def next(self) -> float:
        """When an engine changes next; infinite: never."""
        return self._events[0][0] if self._events else inf

    def _ended(self, member: Member, ended: Sequence[Job], now: float) -> None:
        dispatcher, model = self.dispatcher, member.model
        for job in ended:
            ticket: Ticket = job.owner
            arrival: Arrival = ticket.owner
            first, cached = job.first, job.cached
            if self._told:
                told = self._told.get(ticket)
                if told is not None and told.first:
                    first, cached = told.first, told.cached
            output = arrival.output_tokens
            at = arrival.at
            model.output += 0.01 * (output - model.output)
            model.tally.answered(
                first - at, job.end - at, prompt=arrival.prompt_tokens, cached=cached,
                output=output,
            )  # fmt: skip
            dispatcher.chunk(ticket, job.output)
            out = dispatcher.end(ticket, now)
            self.open -= 1
            job.owner = None
            if self._sent:
                self._forget(ticket)
            if out:
                self.carry_out(out, now)

    def _forget(self, ticket: Ticket) -> None:
        self._told.pop(ticket, None)
        self._sent.pop(ticket, None)

    # Replicas.

    def ready(self, model: Model, now: float) -> None:
        """The model's ready replicas are others."""
        upstreams = tuple(member.upstream for member in model.ready())
        self.carry_out(self.dispatcher.replicas({model.name: upstreams}, now), now)

    def lose(self, member: Member, now: float, failure: Failure = Failure.LOST) -> None:
        """A replica is gone, with all that it had: its requests try elsewhere, as they may."""
        jobs = member.engine.stop(now)
        served = member.model.setup.served
        for job in jobs:
            ticket: Ticket = job.owner
            job.owner = None
            answering = 0.0 < job.first <= now or ticket.tokens > 0
            if answering and ticket not in self._told:
                self._told[ticket] = Told(job.first, job.cached)
            sent = self._sent.get(ticket, 0) + 1
            self._sent[ticket] = sent
            if job.made and answering:
                self.dispatcher.chunk(ticket, job.made)
            out = self.dispatcher.failed(
                ticket, failure, now, sent=sent, answering=answering, resumable=served.continues
            )
            self.carry_out(out, now)

    def look(self, now: float) -> None:
        """The gateway reads the replicas' metrics."""
        told = self.dispatcher.told
        for model in self._models.values():
            name = model.name
            places = self.dispatcher.places(name)
            for place in places:
                member, has = self.member(place), place.in_flight
                usage = member.engine.usage(now)
                if not has and usage == place.kv_usage:
                    continue  # it says what it said before
                out = told(name, member.name, has, has, usage, now)
                if out:
                    self.carry_out(out, now)

    def tick(self, now: float) -> None:
        """Let time pass at the gateway."""
        out = self.dispatcher.tick(now)
        if out:
            self.carry_out(out, now)


def _routed(blocks: tuple[int, ...], tokens: int) -> list[int]:
    """The names that the gateway would give to a prompt's beginning: the same where it is, as far
    as the workload tells, the same.
    """
    known = len(blocks)
    names: list[int] = []
    for place, end in enumerate(ENDS):
        if end > tokens:
            break
        at = _WITHIN[place]
        if at >= known:
            break
        names.append((blocks[at] << 6) + place)
    return names
