"""Keys at the door of a gateway; how they are known is in test_access.py."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from plimsoll.gateway.access import Caller, Grant, StaticAccess
from plimsoll.gateway.surfaces import SURFACES
from plimsoll.policy.requests.types import Ticket
from plimsoll.telemetry.access_log import AccessLog
from tests.gateway.stub import (
    CHAT,
    MESSAGES,
    Rig,
    StubEngine,
    chat,
    get,
    post,
    rig,
    run,
    until,
)

CANARY = "sk-canary-7f3b9d"
ACME = Caller(tenant="acme", key="web", weight=3, priority=5, scope=b"acme/")
OTHER = Caller(tenant="other", key="ci", words=frozenset({"embed"}), scope=b"other/")
KEY = f"Authorization: Bearer {CANARY}"
OTHER_KEY = "x-api-key: sk-other"


def guard() -> StaticAccess:
    keys = {CANARY: ACME, "sk-other": OTHER}
    return StaticAccess(
        (Grant(digest=sha256(key.encode()).digest(), caller=who) for key, who in keys.items()),
        clock=lambda: 0.0,
    )


def body(**more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": MESSAGES, "prompt": "x", "input": "x", **more}


@pytest.mark.parametrize("path", sorted(SURFACES))
def test_every_surface_asks_for_a_key_and_says_how(path: bytes) -> None:
    async def main() -> None:
        async with rig(StubEngine(), access=guard()) as the:
            for headers in ((), ("Authorization: Bearer sk-nobody",), ("x-api-key: ",)):
                reply = await the.ask(post(body(), path.decode(), *headers))
                assert reply.status == 401
                assert reply.headers["www-authenticate"] == "Bearer"
            assert not the.engine.asked
            assert 'refused_total{code="bad_key"} 3.0' in the.numbers()

    run(main)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/chat", "/plimsoll/requests/req-1"])
def test_what_a_gateway_tells_of_its_models_and_requests_needs_a_key(path: str) -> None:
    async def main() -> None:
        async with rig(access=guard()) as the:
            assert (await the.ask(get(path))).code == "bad_key"
            assert (await the.ask(get(path, KEY))).status in (200, 404)

    run(main)


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_health_and_metrics_need_no_key(path: str) -> None:
    async def main() -> None:
        async with rig(access=guard()) as the:
            assert (await the.ask(get(path))).status == 200

    run(main)


def test_a_body_without_a_key_is_refused_before_it_comes() -> None:
    async def main() -> None:
        async with rig(access=guard()) as the:
            client = await the.connect()
            client.send(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
                b"Content-Length: 1000000\r\n\r\n"
            )
            assert (await client.reply()).code == "bad_key"
            assert await client.at_end()

    run(main)


def test_a_refusal_before_the_body_is_in_the_callers_api_and_has_its_id() -> None:
    async def main() -> None:
        async with rig(access=guard()) as the:
            client = await the.connect()
            client.send(post(body(), "/v1/messages", "x-request-id: mine"))
            reply = await client.reply()
            assert (reply.status, reply.headers["x-request-id"]) == (401, "mine")
            assert reply.json["type"] == "error"
            assert reply.json["error"]["type"] == "authentication_error"

    run(main)


@pytest.mark.interpreted
def test_a_request_takes_the_share_of_its_tenant() -> None:
    async def main() -> None:
        async with rig(StubEngine(), access=guard()) as the:
            tickets: list[Ticket] = []
            arrive = the.board.arrive

            def watched(ticket: Ticket, now: float) -> None:
                tickets.append(ticket)
                arrive(ticket, now)

            the.board.arrive = watched  # type: ignore[method-assign]
            assert (await the.ask(post(body(), "/v1/chat/completions", KEY))).status == 200
            (ticket,) = tickets
            assert (ticket.tenant, ticket.weight, ticket.priority) == ("acme", 3, 5)

    run(main)


def test_a_model_that_is_not_allowed_is_one_that_does_not_exist() -> None:
    async def main() -> None:
        async with rig(StubEngine(), access=guard()) as the:

            async def told(model: str) -> dict[str, Any]:
                request = post(body(model=model), "/v1/chat/completions", OTHER_KEY)
                said: dict[str, Any] = (await the.ask(request)).json["error"]
                return said

            for word in ("chat", "talk"):
                there, nowhere = await told(word), await told("cart")
                assert there == nowhere | {"message": there["message"]}
                assert there["code"] == "model_not_found"
                assert there["message"].replace(word, "cart") == nowhere["message"]
            listed = (await the.ask(get("/v1/models", OTHER_KEY))).json["data"]
            assert [model["id"] for model in listed] == ["embed"]
            assert (await the.ask(get("/v1/models/chat", OTHER_KEY))).status == 404
            assert len((await the.ask(get("/v1/models", KEY))).json["data"]) == 2
            assert not the.engine.asked

    run(main)


def test_a_model_is_listed_by_the_words_that_a_caller_may_use() -> None:
    narrow = replace(OTHER, words=frozenset({"talk"}))
    grant = Grant(digest=sha256(b"sk-other").digest(), caller=narrow)

    async def main() -> None:
        async with rig(access=StaticAccess([grant], clock=lambda: 0.0)) as the:
            (model,) = (await the.ask(get("/v1/models", OTHER_KEY))).json["data"]
            assert (model["id"], model["aliases"]) == ("talk", ["talk"])

    run(main)


@pytest.mark.interpreted
def test_a_request_falls_back_only_to_models_that_its_caller_may_use() -> None:
    served = replace(CHAT, fallbacks=("embed", "large"))

    async def main() -> None:
        async with rig(StubEngine(), access=guard(), served=served) as the:
            seen: list[tuple[str, ...]] = []
            arrive = the.board.arrive

            def watched(ticket: Ticket, now: float) -> None:
                seen.append(ticket.fallbacks)
                arrive(ticket, now)

            the.board.arrive = watched  # type: ignore[method-assign]
            the.gateway.guard(
                StaticAccess(
                    [
                        Grant(
                            digest=sha256(b"sk-other").digest(),
                            caller=replace(OTHER, words=frozenset({"chat", "large"})),
                        )
                    ],
                    clock=lambda: 0.0,
                )
            )
            await the.ask(post(body(), "/v1/chat/completions", OTHER_KEY))
            assert seen == [("large",)]

    run(main)


def test_another_guard_counts_from_the_next_request_on() -> None:
    async def main() -> None:
        async with rig(StubEngine(), access=guard()) as the:
            client = await the.connect()
            request = post(body(), "/v1/chat/completions", KEY)
            client.send(request)
            assert (await client.reply()).status == 200
            the.gateway.guard(StaticAccess((), clock=lambda: 0.0))
            client.send(request)
            assert (await client.reply()).code == "bad_key"

    run(main)


async def story(the: Rig, name: str, key: str) -> dict[str, Any]:
    reply = await the.ask(get(f"/plimsoll/requests/{name}", key))
    return reply.json if reply.status == 200 else {"code": reply.code}


def test_a_request_is_told_of_to_its_own_tenant_alone() -> None:
    async def main() -> None:
        async with rig(StubEngine(), access=guard()) as the:
            mine = post(body(), "/v1/chat/completions", KEY, "x-request-id: mine")
            assert (await the.ask(mine)).headers["x-request-id"] == "mine"
            told = await story(the, "mine", KEY)
            assert told["id"] == "mine"
            assert told["outcome"]["model"] == "chat"
            assert told["outcome"]["replica"] == "chat-0"
            assert (told["outcome"]["status"], told["outcome"]["tries"]) == (200, 1)
            unknown = {"code": "not_found"}
            assert await story(the, "mine", OTHER_KEY) == unknown
            assert await story(the, "acme/mine", OTHER_KEY) == unknown
            assert await story(the, "acme%2Fmine", OTHER_KEY) == unknown
            assert await story(the, "other", KEY) == unknown

    run(main)


def test_two_tenants_requests_of_one_id_are_two() -> None:
    async def main() -> None:
        async with rig(StubEngine(), access=guard()) as the:
            other = replace(OTHER, words=None)
            the.gateway.guard(
                StaticAccess(
                    [
                        Grant(digest=sha256(CANARY.encode()).digest(), caller=ACME),
                        Grant(digest=sha256(b"sk-other").digest(), caller=other),
                    ],
                    clock=lambda: 0.0,
                )
            )
            one = {"x-request-id: same"}
            await the.ask(post(body(), "/v1/chat/completions", KEY, *one))
            await the.ask(post(body(stream=True), "/v1/chat/completions", OTHER_KEY, *one))
            assert not (await story(the, "same", KEY))["outcome"]["streamed"]
            assert (await story(the, "same", OTHER_KEY))["outcome"]["streamed"]

    run(main)


def test_a_key_is_nowhere_in_what_a_gateway_writes_says_or_sends_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        lines = io.StringIO()
        async with rig(StubEngine(), access=guard(), log=AccessLog(lines)) as the:
            answers = [
                await the.ask(post(body(), "/v1/chat/completions", KEY, "x-request-id: r")),
                await the.ask(post(body(stream=True), "/v1/chat/completions", KEY)),
                await the.ask(post(body(model="none"), "/v1/chat/completions", KEY)),
                await the.ask(post(b"{", "/v1/chat/completions", KEY)),
                await the.ask(post(body(), "/v1/chat/completions", f"{KEY}x")),
                await the.ask(post(body(), "/v1/chat/completions", f"x-api-key: {CANARY}")),
                await the.ask(post(body(), "/v1/chat/completions", KEY, KEY)),
                await the.ask(get("/v1/models", KEY)),
                await the.ask(get(f"/{CANARY[:2]}", KEY)),
                await the.ask(get("/plimsoll/requests/r", KEY)),
                await the.ask(get("/metrics", KEY)),
            ]
            assert {answer.status for answer in answers} == {200, 400, 401, 404}
            said = [answer.body.decode() + json.dumps(answer.headers) for answer in answers]
            sent = [json.dumps(asked.headers) + asked.line for asked in the.engine.asked]
            assert len(sent) == 3
            for text in (*said, *sent, lines.getvalue(), caplog.text, the.numbers()):
                assert CANARY not in text

    run(main)


def test_a_caller_that_waits_keeps_its_place_when_its_key_is_taken_away() -> None:
    async def main() -> None:
        async with rig(access=guard()) as the:
            client = await the.connect()
            client.send(post(body(), "/v1/chat/completions", KEY))
            await until(lambda: the.board.demand()["chat"].queued == 1)
            the.gateway.guard(StaticAccess((), clock=lambda: 0.0))
            engine = StubEngine()
            await engine.start()
            try:
                the.board.update("chat", (engine.upstream(),))
                assert (await client.reply()).status == 200
            finally:
                await engine.kill()

    run(main)


def test_without_a_guard_any_key_or_none_is_served() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            assert (await the.ask(chat())).status == 200
            assert (await the.ask(post(body(), "/v1/chat/completions", KEY))).status == 200

    run(main)
