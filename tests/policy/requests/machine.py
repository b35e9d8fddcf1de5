"""A machine whose replicas, requests and time a test moves by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plimsoll.policy.requests.dispatcher import Dispatcher
from plimsoll.policy.requests.offered import RetryPolicy
from plimsoll.policy.requests.types import (
    Do,
    Instruction,
    Instructions,
    Place,
    QueueLimits,
    Served,
    Ticket,
    Upstream,
)
from plimsoll.policy.retry import Failure
from plimsoll.policy.routing.load import LeastLoaded


def upstream(number: int, capacity: int = 2, *, model: str = "m", gateways: int = 1) -> Upstream:
    return Upstream(
        replica=f"{model}-{number}", host="h", port=number, capacity=capacity, gateways=gateways
    )


def served(name: str = "m", **fields: Any) -> Served:
    return Served(**{"name": name, "task": "chat", "context": 1000, **fields})


class Machine:
    """A dispatcher, what it said, and short words for its events.

    told  every instruction so far
    """

    def __init__(
        self, *models: Served, requests: int = 100, size: int = 1000, tries: int = 3
    ) -> None:
        self.now = 0.0
        self.told: list[Instruction] = []
        self.it = Dispatcher(
            QueueLimits(requests=requests, bytes=size),
            router=lambda model: LeastLoaded(model.name),
            retry=RetryPolicy(tries=tries),
        )
        self.offer(*(models or (served(),)))

    def _run(self, out: Instructions) -> Instructions:
        self.told.extend(out)
        return out

    def offer(self, *models: Served) -> Instructions:
        return self._run(self.it.offer(models, self.now))

    def replicas(self, *upstreams: Upstream, model: str = "m") -> Instructions:
        return self._run(self.it.replicas({model: upstreams}, self.now))

    def arrive(self, model: str = "m", *, wait: float = 60.0, **fields: Any) -> Ticket:
        ticket = Ticket(None, model, deadline=self.now + wait, **fields)
        self._run(self.it.arrive(ticket, self.now))
        return ticket

    def end(self, *tickets: Ticket, tokens: int = 0) -> None:
        for ticket in tickets:
            self.it.began(ticket, self.now)
            self.it.chunk(ticket, tokens)
            self._run(self.it.end(ticket, self.now))

    def fail(
        self, ticket: Ticket, failure: Failure = Failure.LOST, *, sent: int = 1,
        answering: bool = False, resumable: bool = False,
    ) -> None:  # fmt: skip
        self._run(
            self.it.failed(
                ticket, failure, self.now, sent=sent, answering=answering, resumable=resumable
            )
        )

    def cancel(self, ticket: Ticket) -> None:
        self._run(self.it.cancel(ticket, self.now))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._run(self.it.tick(self.now))

    def place(self, number: int = 0, *, model: str = "m") -> Place:
        return self.it.places(model)[number]

    def started(self) -> list[Ticket]:
        return [each.ticket for each in self.told if each.do is Do.START]

    def refused(self) -> list[Ticket]:
        return [each.ticket for each in self.told if each.do is Do.REFUSE]

    def reason(self, ticket: Ticket) -> str | None:
        """Why it was refused, if it was."""
        reasons = [each.reason for each in self.told if each.do is Do.REFUSE]
        found = [
            reason for reason, each in zip(reasons, self.refused(), strict=True) if each is ticket
        ]
        assert len(found) <= 1
        return found[0] if found else None

    def retry_after(self, ticket: Ticket) -> float:
        return next(
            each.retry_after for each in self.told if each.do is Do.REFUSE and each.ticket is ticket
        )

    def woken(self) -> list[str]:
        return [each.model for each in self.told if each.do is Do.WAKE]


def replicas_of(tickets: Iterable[Ticket]) -> list[str]:
    return [ticket.place.upstream.replica for ticket in tickets if ticket.place is not None]
