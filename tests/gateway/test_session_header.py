"""The header that names a conversation, from the wire to the router."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.gateway import GatewaySettings
from plimsoll.policy.requests.types import Ticket
from tests.gateway.stub import CHAT, MESSAGES, StubEngine, post, rig, run

SETTINGS = GatewaySettings(session_headers=frozenset({b"x-chat"}))
SERVED = replace(CHAT, affinity="session", affinity_header="x-chat")


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("header", "session"),
    [
        ("X-Chat: one", "one"),
        ("x-chat: " + "x" * 256, "x" * 256),
        ("x-chat: " + "x" * 257, ""),
        ("x-session-id: one", ""),
        ("Authorization: Bearer one", ""),
    ],
)
def test_a_conversation_is_named_by_the_models_own_header(header: str, session: str) -> None:
    async def main() -> None:
        async with rig(StubEngine(), served=SERVED, settings=SETTINGS) as the:
            tickets: list[Ticket] = []
            arrive = the.board.arrive

            def watched(ticket: Ticket, now: float) -> None:
                tickets.append(ticket)
                arrive(ticket, now)

            the.board.arrive = watched  # type: ignore[method-assign]
            body = {"model": "chat", "messages": MESSAGES}
            reply = await the.ask(post(body, "/v1/chat/completions", header))
            assert reply.status == 200
            assert [ticket.session for ticket in tickets] == [session]

    run(main)
