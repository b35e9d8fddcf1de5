"""What the gateway knows: every model that it offers, with its replicas and its requests.

The gateway's face of the state machine of requests: hands it the time and carries its
instructions out.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from plimsoll.policy.requests.dispatcher import Dispatcher
from plimsoll.policy.requests.types import (
    Do,
    Instruction,
    Instructions,
    Place,
    QueueLimits,
    Reason,
    Served,
    Ticket,
    Upstream,
)
from plimsoll.policy.retry import Failure
from plimsoll.policy.routing.protocol import Explanation

_log = logging.getLogger(__name__)
_WAKE, _REFUSE = Do.WAKE, Do.REFUSE  # an enum finds its members slowly


class Owner(Protocol):
    """Whose request a ticket is."""

    def granted(self) -> None:
        """The ticket has a place: send the request there."""
        ...

    def refused(self, reason: Reason, retry_after: float) -> None:
        """The ticket is over without an answer; `retry_after` in seconds, 0: no word."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDemand:
    """What is asked of a model now.

    queued     requests that wait for a place
    in_flight  requests that hold one
    last_used  when a request last came or ended, seconds of the caller's clock; None before
    """

    queued: int
    in_flight: int
    last_used: float | None


class Board:
    """Every model with its replicas and its requests.

    machine  the state machine itself
    """

    def __init__(
        self,
        models: Iterable[Served],
        *,
        wake: Callable[[str], None] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.machine = Dispatcher(QueueLimits(requests=2000, bytes=64 * 1024 * 1024))
        self._wake = wake
        self._clock = clock
        self._changed: Callable[[], None] | None = None
        self._pending: deque[Instruction] = deque()
        self._running = False
        self.offer(models)

    # What the fleet and the replicas are.

    def offer(self, models: Iterable[Served]) -> None:
        """Offer exactly these models from now on.

        One that was offered before keeps its replicas and requests. One that is not among them is
        withdrawn: who waits for it is refused, and what runs goes on.
        """
        self._run(self.machine.offer(models, self._clock()))
        self._tell()

    def limit(self, limits: QueueLimits, *, tries: int, suspect: float) -> None:
        """Set how much may wait, for every model; how often a request is tried; and for how many
        seconds a replica that broke a connection gets no new work at first.
        """
        self.machine.limit(limits, tries=tries, suspect=suspect)

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called after the replicas of a model changed."""
        self._changed = changed

    def update(self, model: str, upstreams: tuple[Upstream, ...]) -> None:
        """Set the ready replicas of a model. Requests that wait are released to them; a replica
        that is no longer there gets no new work, and what runs on it goes on.

        Raises KeyError for a model that is not offered.
        """
        self.update_all({model: upstreams})

    def update_all(self, replicas: Mapping[str, tuple[Upstream, ...]]) -> None:
        """Set the ready replicas of several models, as `update` does."""
        self._run(self.machine.replicas(replicas, self._clock()))
        self._tell()

    def told(
        self,
        model: str,
        replica: str,
        requests: int | None,
        *,
        own: int = 0,
        kv_usage: float | None = None,
    ) -> None:
        """A replica says that it has so many requests, whoever sent them; None: nobody knows.

        own       it had from here when it was asked
        kv_usage  share of its KV cache in use
        """
        self._run(self.machine.told(model, replica, requests, own, kv_usage, self._clock()))

    def tick(self, now: float) -> None:
        """Let time pass: end waits and suspicions whose time is over."""
        self._run(self.machine.tick(now))

    # The life of a request.

    def arrive(self, ticket: Ticket, now: float) -> None:
        """A request asks for a place; its owner is told, at once or later."""
        self._run(self.machine.arrive(ticket, now))

    def end(self, ticket: Ticket, now: float) -> None:
        """Its answer is whole."""
        self._run(self.machine.end(ticket, now))

    def failed(
        self, ticket: Ticket, failure: Failure, now: float, *, sent: int, answering: bool,
        resumable: bool,
    ) -> None:  # fmt: skip
        """A try of it failed; its owner is told what follows, at once or later."""
        self._run(
            self.machine.failed(
                ticket, failure, now, sent=sent, answering=answering, resumable=resumable
            )
        )

    def cancel(self, ticket: Ticket, now: float) -> None:
        """It is over for another reason. More than once does no harm."""
        self._run(self.machine.cancel(ticket, now))

    # What is known.

    def names(self) -> tuple[str, ...]:
        """The names of all models, in the fleet's order."""
        return tuple(self.machine.names())

    def spoken(self) -> tuple[str, ...]:
        """Every name that a caller may use: names, aliases, tiers, adapters."""
        return tuple(self.machine.spoken())

    def served(self, name: str) -> Served | None:
        """A model by its own name."""
        return self.machine.served(name)

    def offered(self) -> Iterable[Served]:
        """Every model, in the fleet's order."""
        found = (self.machine.served(name) for name in self.machine.names())
        return [served for served in found if served is not None]

    def resolve(self, name: str, key: str = "") -> Served | None:
        """The model for a caller's word; `key` chooses where several share the word."""
        return self.machine.resolve(name, key)

    def places(self, model: str) -> Iterable[Place]:
        """The ready replicas of a model; none for one that is not offered."""
        return self.machine.places(model) if self.machine.served(model) is not None else ()

    def upstreams(self) -> frozenset[Upstream]:
        """Every ready replica of every model."""
        return frozenset(
            place.upstream for name in self.machine.names() for place in self.machine.places(name)
        )

    def demand(self) -> Mapping[str, ModelDemand]:
        """What is asked of every model now."""
        machine = self.machine
        return {
            name: ModelDemand(
                queued=machine.queued(name),
                in_flight=machine.in_flight_of(name),
                last_used=machine.last_used(name),
            )
            for name in machine.names()
        }

    def in_flight(self, replica: str) -> int:
        """Requests at one replica, also when it no longer gets new work."""
        return self.machine.in_flight(replica)

    def explain(self, request_id: str | bytes, model: str = "") -> Explanation | None:
        """Why a recent request went where it went, to that model where it is known; None when
        it is no longer known.
        """
        return self.machine.explain(request_id, model)

    def _run(self, instructions: Instructions) -> None:
        if not instructions:
            return
        # Whoever is told may cause more of them: those wait their turn, however many there are.
        self._pending.extend(instructions)
        if self._running:
            return
        self._running = True
        try:
            while self._pending:
                self._carry_out(self._pending.popleft())
        finally:
            self._running = False

    def _carry_out(self, instruction: Instruction) -> None:
        ticket = instruction.ticket
        if instruction.do is _WAKE:
            if self._wake is not None:
                self._wake(instruction.model)
            return
        owner: Owner | None = ticket.owner
        if owner is None:  # it let go of its ticket when it was over
            return
        try:
            if instruction.do is _REFUSE:
                owner.refused(instruction.reason or Reason.GIVE_UP, instruction.retry_after)
            elif ticket.place is not None:  # else it ended while an earlier one was carried out
                owner.granted()
        except Exception:  # noqa: BLE001 -- said in the log
            # Those after it must be told too, whatever is wrong with this one.
            _log.exception("a request failed when it was told of its place")
            self._give_up(ticket)

    def _give_up(self, ticket: Ticket) -> None:
        self._run(self.machine.cancel(ticket, self._clock()))
        owner: Owner | None = ticket.owner
        if owner is None:
            return
        try:
            owner.refused(Reason.GIVE_UP, 0.0)
        except Exception:  # noqa: BLE001 -- said in the log
            _log.exception("a request failed when it was told that it is over")

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()
