"""What the state machine of requests asks of a router: one router for the replicas of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from plimsoll.policy.requests.types import Place, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One replica as it was weighed for one request.

    replica  its name
    cached   prompt tokens that it was believed to hold
    terms    cost by name, in seconds: `prefill`, `decode`, `pressure`, ...; empty where it could
             not be chosen
    reason   why it could not be chosen, or empty
    """

    replica: str
    cached: int
    terms: dict[str, float]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a request went where it went.

    model       that answered
    chosen      name of the replica
    why         in words
    candidates  those weighed, the best first; bounded, not all of a large fleet
    """

    model: str
    chosen: str
    why: str
    candidates: tuple[Candidate, ...]


class Router(Protocol):
    """Chooses among the places of one model; told of everything that changes what it believes."""

    def choose(self, ticket: Ticket, now: float) -> Place | None:
        """The place for a ticket among those with room (`in_flight < limit`, not suspect), or
        None where none has any. Sets `ticket.cached`. Places of `ticket.tried` come last.
        """
        ...

    def room(self) -> bool:
        """Whether any place has room; cheap."""
        ...

    def placed(self, ticket: Ticket, now: float) -> None:
        """The ticket took its place; `place.in_flight`, `.prefill`, `.context` count it already."""
        ...

    def began(self, ticket: Ticket, now: float) -> None:
        """Its answer has begun: its prompt is read, and the place holds it now."""
        ...

    def left(self, ticket: Ticket, now: float) -> None:
        """It gave its place up, for whatever reason; the place's figures no longer count it."""
        ...

    def replace(self, places: Sequence[Place], now: float) -> None:
        """These are the ready places from now on; suspect ones are among them."""
        ...

    def changed(self, place: Place) -> None:
        """A place's `limit`, `others`, `kv_usage` or `suspect` is another now."""
        ...

    def explain(self, request_id: str | bytes) -> Explanation | None:
        """Why a recent request went where it went; None when it is no longer known."""
        ...
