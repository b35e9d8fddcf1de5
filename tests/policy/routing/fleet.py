"""Places and tickets for the tests of routers."""

from __future__ import annotations

from plimsoll.policy.requests.types import Place, Ticket, Upstream
from plimsoll.policy.routing.protocol import Router

BLOCK = 100  # tokens
ENDS = range(BLOCK, BLOCK * 201, BLOCK)


def place(name: str, capacity: int = 4) -> Place:
    return Place(Upstream(replica=name, host="", port=1, capacity=capacity))


def ticket(*blocks: int, prompt: int | None = None, session: str = "", name: str = "") -> Ticket:
    tokens = BLOCK * len(blocks) if prompt is None else prompt
    return Ticket(
        None, "m", deadline=1e9, prompt=tokens, blocks=blocks, session=session, request_id=name
    )


def send(router: Router, sent: Ticket, now: float = 0.0) -> Place | None:
    """Choose, and count the ticket there as the state machine does."""
    chosen = router.choose(sent, now)
    if chosen is not None:
        take(router, sent, chosen, now)
    return chosen


def take(router: Router, sent: Ticket, chosen: Place, now: float = 0.0) -> None:
    """Count the ticket there."""
    sent.place = chosen
    chosen.in_flight += 1
    chosen.context += sent.prompt
    router.placed(sent, now)


def begin(router: Router, sent: Ticket, now: float = 0.0) -> None:
    sent.began = True
    router.began(sent, now)


def leave(router: Router, sent: Ticket, now: float = 0.0) -> None:
    assert sent.place is not None
    sent.place.in_flight -= 1
    sent.place.context -= sent.prompt
    router.left(sent, now)
    sent.place = None


def serve(router: Router, sent: Ticket, now: float = 0.0) -> Place | None:
    """A request from its beginning to its end."""
    chosen = send(router, sent, now)
    begin(router, sent, now)
    leave(router, sent, now)
    return chosen
