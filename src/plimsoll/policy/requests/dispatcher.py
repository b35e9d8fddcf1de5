"""The state machine of requests for all models of a gateway: events in, instructions out.

Every event takes the time in seconds of one clock that never goes back. Whoever runs the machine
carries instructions out in their order; carrying one out may lead to more events, so a START
whose ticket has no place any more is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from plimsoll.policy.requests.model import Claim, Model, Waiting
from plimsoll.policy.requests.offered import Offered, RetryPolicy
from plimsoll.policy.requests.types import (
    NOTHING,
    Do,
    Instruction,
    Instructions,
    QueueLimits,
    Reason,
    Served,
    Ticket,
    Upstream,
)
from plimsoll.policy.retry import Failure, Next, after_failure
from plimsoll.policy.routing.choice import router_for
from plimsoll.policy.routing.protocol import Router

_AT_FAULT = frozenset({Failure.REFUSED, Failure.TOO_LONG})
"""Failures that another model would not mend."""
_START = Do.START  # an enum finds its members slowly


class Dispatcher(Offered):
    """See the module's docstring.

    limits  how much may wait per model
    router  makes the router of a model
    retry   what follows failed tries
    """

    def __init__(
        self,
        limits: QueueLimits,
        *,
        router: Callable[[Served], Router] = router_for,
        retry: RetryPolicy | None = None,
    ) -> None:
        super().__init__(limits, router, retry or RetryPolicy())

    # What the fleet and the replicas are.

    def offer(self, models: Iterable[Served], now: float) -> Instructions:
        """Offer exactly these models from now on.

        One that was offered before keeps its replicas and tickets. One that is not among them is
        withdrawn: who waits for it is refused, and what runs goes on.

        Raises ValueError where two have one name; then nothing has changed.
        """
        out: list[Instruction] = []
        for model in self._offer(models, now):
            for wait in model.line.everyone():
                ticket = wait.ticket
                assert ticket is not None
                model.line.remove(wait)
                out.append(_refuse(ticket, Reason.WITHDRAWN, 0.0))
        return out

    def limit(
        self, limits: QueueLimits, *, tries: int | None = None, suspect: float | None = None
    ) -> None:
        """Set how much may wait, for every model; how often a request is tried; and for how many
        seconds a replica that broke a connection gets no new work at first.
        """
        self._limits = limits
        health = self._retry.health
        if suspect is not None:
            health = replace(health, suspect=suspect)
        tries = self._retry.tries if tries is None else tries
        self._retry = replace(self._retry, tries=tries, health=health)
        for model in (*self._models.values(), *self._gone.values()):
            model.line.limit(limits)
            model.health.policy = health

    def replicas(self, changes: Mapping[str, tuple[Upstream, ...]], now: float) -> Instructions:
        """Set the ready replicas of several models. Who waits is released to them; a replica that
        is no longer there gets no new work, and what runs on it goes on.

        Raises KeyError for a model that is not offered; then nothing has changed.
        """
        models = [self._models[name] for name in changes]
        out: list[Instruction] = []
        for model, upstreams in zip(models, changes.values(), strict=True):
            model.replace(upstreams, now)
            self._grant(model, now, out)
            if model.line.queued and not model.places:
                ticket = model.line.head().ticket
                assert ticket is not None
                out.append(_wake(ticket, model, now))
        return out

    def told(  # noqa: PLR0917 -- one report, as it is read
        self,
        model: str,
        replica: str,
        requests: int | None,
        own: int,
        kv_usage: float | None,
        now: float,
    ) -> Instructions:
        """A replica says that it has so many requests, whoever sent them; None: nobody knows.

        own       it had from here when it was asked
        kv_usage  share of its KV cache in use, 0..1
        A replica that gets no new work may say what it will.
        """
        known = self._models.get(model)
        if known is None or not known.told(replica, requests, own, kv_usage):
            return NOTHING
        if not known.line.queued:
            return NOTHING
        out: list[Instruction] = []
        self._grant(known, now, out)
        return out

    def tick(self, now: float) -> Instructions:
        """Let time pass: waits end, and suspicions and ejections of replicas."""
        out: list[Instruction] = []
        for model in self._models.values():
            model.tick(now)
            if model.line.queued:
                self._grant(model, now, out)
                for wait in model.line.expired(now):
                    ticket = wait.ticket
                    if ticket is not None:
                        model.line.remove(wait)
                        self._turn_away(ticket, model, Reason.NO_REPLICA, now, out)
        return out

    # The life of a request.

    def arrive(self, ticket: Ticket, now: float) -> Instructions:
        """A request asks for a place: START where one is free and nobody waits, else it waits
        (WAKE where no replica is ready), or REFUSE. Others may have to give way to it, which are
        refused or fall back.

        It may fall back to another model: `ticket.model` says to which. The time until its
        deadline is divided equally among its model and the fallbacks that are left; one that
        could not be woken in its part of it is passed over.

        Raises ValueError for a ticket that came before.
        """
        if ticket.line is not None or ticket.over:
            raise ValueError("a ticket arrives once")
        model = self._models.get(ticket.model)
        if model is None:
            return (_refuse(ticket, Reason.WITHDRAWN, 0.0),)
        model.last_used = now
        if not model.line.queued and model.place(ticket, now):
            return (Instruction(_START, ticket),)
        out: list[Instruction] = []
        reason = self._admit(ticket, model, now, out)
        if reason is Reason.QUEUE_FULL:
            displaced = model.line.displace(ticket)
            if displaced:
                self._wait(ticket, model, now, out)
                for other in displaced:
                    self._turn_away(other, model, reason, now, out)
                return out
        if reason is not None:
            self._turn_away(ticket, model, reason, now, out)
        elif model.places:  # a replica may have proved itself since the last look
            self._grant(model, now, out)
        return out

    def began(self, ticket: Ticket, now: float) -> None:
        """The first byte of its answer came. More than once does no harm."""
        claim = ticket.line
        if not ticket.began and isinstance(claim, Claim):
            claim.model.began(ticket, claim, now)

    def chunk(self, ticket: Ticket, tokens: int) -> None:
        """So many more tokens of its answer came."""
        claim = ticket.line
        if isinstance(claim, Claim):
            claim.record.place.context += tokens
            ticket.tokens = tokens = ticket.tokens + tokens
            if tokens > claim.answer:
                claim.model.overrun(claim, tokens)

    def end(self, ticket: Ticket, now: float) -> Instructions:
        """Its answer is whole; START of those who get its place. More than once does no harm."""
        claim = ticket.line
        if isinstance(claim, Claim):
            claim.record.ended()
            claim.flow.learn(ticket.tokens)
        return self.cancel(ticket, now)

    def cancel(self, ticket: Ticket, now: float) -> Instructions:
        """It is over for another reason, in any phase. More than once does no harm."""
        ticket.over = True
        line = ticket.line
        if isinstance(line, Claim):
            model = line.model
            model.release(ticket, line, now)
            model.pace.end(now)
            return self._left(model, now)
        if isinstance(line, Waiting):
            line.model.line.remove(line.wait)
            line.model.last_used = now
            ticket.line = None
        return NOTHING

    def failed(
        self,
        ticket: Ticket,
        failure: Failure,
        now: float,
        *,
        sent: int,
        answering: bool,
        resumable: bool,
    ) -> Instructions:
        """A try of it failed.

        sent       tries so far, this one too, in which the request reached a replica
        answering  whether any byte of the answer has gone to the caller
        resumable  whether the rest of the answer could be generated elsewhere
        START at the same place or another, or it waits ahead of others, or REFUSE GIVE_UP. It may
        fall back before the caller has any of the answer. Without a place: NOTHING.
        """
        claim = ticket.line
        if not isinstance(claim, Claim):
            return NOTHING
        then = after_failure(
            failure, sent=sent, answering=answering, limit=self._retry.tries, resumable=resumable
        )
        if then is Next.SAME:
            return (Instruction(_START, ticket),)
        model, place = claim.model, claim.record.place
        model.release(ticket, claim, now, failed=True)
        model.failed(claim, failure, now)
        if place not in ticket.tried:
            ticket.tried = (*ticket.tried, place)
        if answering:
            ticket.fallbacks = ()  # another model would go on in other words
        out: list[Instruction] = []
        if model.withdrawn:
            out.append(_refuse(ticket, Reason.WITHDRAWN, 0.0))
        elif then is Next.GIVE_UP:
            if failure in _AT_FAULT:
                ticket.fallbacks = ()
            self._turn_away(ticket, model, Reason.GIVE_UP, now, out)
        elif not model.line.ahead and model.place(ticket, now):
            out.append(Instruction(_START, ticket))
        else:
            self._wait(ticket, model, now, out, ahead=True)
        out.extend(self._left(model, now))
        return out

    def _admit(
        self, ticket: Ticket, model: Model, now: float, out: list[Instruction]
    ) -> Reason | None:
        """Let a ticket wait, or say why not."""
        if ticket.fallbacks and model.hopeless(now, _until(ticket, now)):
            out.append(_wake(ticket, model, now))
            return Reason.NO_REPLICA
        if ticket.deadline <= now:
            return Reason.NO_REPLICA
        if not model.line.fits(ticket):
            return Reason.QUEUE_FULL
        self._wait(ticket, model, now, out)
        return None

    def _wait(
        self,
        ticket: Ticket,
        model: Model,
        now: float,
        out: list[Instruction],
        *,
        ahead: bool = False,
    ) -> None:
        ticket.line = Waiting(model, model.line.add(ticket, _until(ticket, now), ahead=ahead))
        if not model.places:
            out.append(_wake(ticket, model, now))

    def _turn_away(
        self,
        ticket: Ticket,
        model: Model,
        reason: Reason,
        now: float,
        out: list[Instruction],
    ) -> None:
        """A ticket that neither waits nor holds a place gets the next fallback, or is refused.
        At a fallback it takes what is free; nobody gives way to it there.
        """
        ticket.line = None
        named = model.served.name
        while ticket.fallbacks:
            ticket.model, *rest = ticket.fallbacks
            ticket.fallbacks = tuple(rest)
            other = self._models.get(ticket.model)
            if other is None or other is model:
                continue
            other.last_used = now
            ticket.tried = ()  # none of these serves the other
            if not other.line.queued and other.place(ticket, now):
                out.append(Instruction(_START, ticket))
                return
            if self._admit(ticket, other, now, out) is None:
                return
        ticket.model = named
        again = 0.0 if reason is Reason.GIVE_UP else model.retry_after(ticket, now)
        out.append(_refuse(ticket, reason, again))

    def _left(self, model: Model, now: float) -> Instructions:
        """A place was given up."""
        if model.line.queued:
            out: list[Instruction] = []
            self._grant(model, now, out)
            return out
        if model.withdrawn and not model.in_flight:
            self._gone.pop(model.served.name, None)
        return NOTHING

    def _grant(self, model: Model, now: float, out: list[Instruction]) -> None:
        """Give free places to those who wait, in their order."""
        line, room = model.line, model.router.room
        while line.queued and room():
            wait = line.head()
            ticket = wait.ticket
            assert ticket is not None
            if not model.place(ticket, now):
                return
            line.remove(wait)
            out.append(Instruction(_START, ticket))


def _refuse(ticket: Ticket, reason: Reason, retry_after: float) -> Instruction:
    ticket.over = True
    ticket.line = None
    return Instruction(Do.REFUSE, ticket, reason, retry_after)


def _wake(ticket: Ticket, model: Model, now: float) -> Instruction:
    model.pace.called(now)
    return Instruction(Do.WAKE, ticket, model=model.served.name)


def _until(ticket: Ticket, now: float) -> float:
    """When it has waited its part of the time for one model."""
    if not ticket.fallbacks:
        return ticket.deadline
    return now + (ticket.deadline - now) / (len(ticket.fallbacks) + 1)
