"""A replica that dies in mid-stream, and the caller who notices nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from plimsoll.facts.engines import engine as engine_facts
from plimsoll.gateway import GatewaySettings, Served
from tests.gateway.arithmetic_engine import FLAGS, TOKEN, Engine, count, read
from tests.gateway.stub import Asked, StubEngine, post, rig, run, until

MODEL = Served(
    name="chat", task="chat", context=2048, continues=True, continue_fields=FLAGS,
    text_counter=engine_facts("vllm").text_counter, completion_tokens=16,
)  # fmt: skip
WIDTHS = [1, 2, 1, 3]
Break = Callable[[Asked], Awaitable[None]]


async def die(asked: Asked) -> None:
    asked.writer.transport.abort()
    raise ConnectionResetError


async def fall_silent(asked: Asked) -> None:
    await asyncio.sleep(60)


async def end_early(asked: Asked) -> None:
    await asked.end()


async def report_an_error(asked: Asked) -> None:
    await asked.chunk(b'data: {"error":{"message":"the engine is dead","code":500}}\n\n')
    await asked.chunk(b"data: [DONE]\n\n")
    await asked.end()


class Arithmetic:
    """Handles requests as `Engine` does, and breaks one answer after another.

    breaks  after how many events each of the first answers breaks off
    """

    def __init__(self, *breaks: int, how: Break = die, engine: Engine | None = None) -> None:
        self.engine = engine or Engine()
        self.breaks = list(breaks)
        self.how = how
        self.asked: list[Any] = []
        self.counted = 0

    async def __call__(self, asked: Asked) -> None:
        if "/tokenize" in asked.line:
            self.counted += 1
            pieces = TOKEN.findall(asked.json["content"])
            tokens = [{"id": 1, "piece": piece} for piece in pieces]
            await asked.whole(json.dumps({"tokens": tokens}).encode())
            return
        self.asked.append(asked.json)
        events = self.engine.events(asked.body, WIDTHS)
        cut = self.breaks.pop(0) if self.breaks else None
        await asked.stream_head()
        for event in events[:cut]:
            await asked.chunk(event)
            await asyncio.sleep(0)
        if cut is None:
            await asked.end()
        else:
            await asyncio.sleep(0.01)  # what was sent arrives before the connection is reset
            await self.how(asked)


def body_of(*, is_chat: bool = True, **more: object) -> dict[str, Any]:
    asks = {"messages": [{"role": "user", "content": "hello"}]} if is_chat else {"prompt": "hello"}
    fields = {"model": "chat", "stream": True, "temperature": 0, **asks, **more}
    return {**fields, "stream_options": {"include_usage": True}}


def path_of(body: dict[str, Any]) -> str:
    return "/v1/chat/completions" if "messages" in body else "/v1/completions"


async def ask(handler: Arithmetic, body: dict[str, Any], **settings: Any) -> bytes:
    """The answer of a gateway with two replicas that `handler` plays."""
    engines = (StubEngine(handler=handler), StubEngine("chat-1", handler=handler))
    hasty = GatewaySettings(suspect_seconds=0.01, **settings)
    async with rig(*engines, settings=hasty, served=MODEL) as the:
        reply = await the.ask(post(body, path_of(body)))
        assert reply.status == 200
        return reply.body


def undisturbed(body: dict[str, Any]) -> Any:
    return read(b"".join(Engine().events(json.dumps(body).encode(), WIDTHS)))


@pytest.fixture(params=["made again", "continued"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short answer at temperature 0 is made again, a long one is continued."""
    if request.param == "continued":
        monkeypatch.setattr("plimsoll.gateway.continuation.MOST_REPEATED", 0)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("is_chat", [True, False])
@pytest.mark.parametrize("cut", range(0, 17, 2))
def test_a_stream_whose_replica_dies_reads_like_one_that_was_not_disturbed(
    is_chat: bool, cut: int
) -> None:
    body = body_of(is_chat=is_chat, max_tokens=25)

    async def main() -> None:
        handler = Arithmetic(cut)
        assert read(await ask(handler, body)) == undisturbed(body)

    run(main)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("how", [die, fall_silent, end_early, report_an_error])
def test_however_a_stream_breaks_off_it_is_carried_on(how: Break) -> None:
    body = body_of(max_tokens=40)

    async def main() -> None:
        handler = Arithmetic(5, how=how)
        got = await ask(handler, body, between_seconds=0.2)
        assert read(got) == undisturbed(body)

    run(main)


@pytest.mark.usefixtures("either_way")
def test_a_stream_may_break_off_again_and_again() -> None:
    body = body_of(max_tokens=60)

    async def main() -> None:
        handler = Arithmetic(3, 4, 0, 5, 1, 6)
        assert read(await ask(handler, body)) == undisturbed(body)
        assert len(handler.asked) == 7

    run(main)


@pytest.mark.parametrize("is_chat", [True, False])
@pytest.mark.parametrize("breaks", [3, 15])
def test_a_stream_may_break_off_where_it_says_again_what_its_caller_has(
    breaks: int, *, is_chat: bool
) -> None:
    body = body_of(is_chat=is_chat, max_tokens=40)

    async def main() -> None:
        handler = Arithmetic(9, *[5] * breaks)
        assert read(await ask(handler, body)) == undisturbed(body)
        assert len(handler.asked) == breaks + 2

    run(main)


def test_an_answer_that_is_not_streamed_is_read_as_a_stream_once_two_replicas_were_lost() -> None:
    body = {
        "model": "chat",
        "temperature": 0,
        "max_tokens": 25,
        "messages": [{"role": "user", "content": "hello"}],
    }
    streamed: list[bool] = []

    async def handler(asked: Asked) -> None:
        streamed.append(bool(asked.json.get("stream")))
        if not streamed[-1]:
            await die(asked)
            return
        await asked.stream_head()
        last = len(streamed) == 7
        for event in Engine().events(asked.body, WIDTHS)[: None if last else 4]:
            await asked.chunk(event)
        if not last:
            await asyncio.sleep(0.01)  # what was sent arrives before the connection is reset
            await die(asked)
        await asked.end()

    async def main() -> None:
        engines = (StubEngine(handler=handler), StubEngine("chat-1", handler=handler))
        settings = GatewaySettings(suspect_seconds=0.01)
        async with rig(*engines, settings=settings, served=MODEL) as the:
            reply = await the.ask(post(body))
        assert reply.status == 200
        told = json.loads(reply.body)["choices"][0]["message"]["content"]
        assert told == undisturbed({**body, "stream": True}).text
        assert streamed == [False, False, True, True, True, True, True]

    run(main)


def test_the_next_engine_is_given_the_text_and_only_the_tokens_that_are_left() -> None:
    body = body_of(max_tokens=40, seed=5, temperature=1)

    async def main() -> None:
        handler = Arithmetic(8)
        await ask(handler, body)
        rest = handler.asked[1]
        given = rest["messages"][-1]
        assert given["role"] == "assistant"
        assert rest["continue_final_message"] is True
        assert rest["max_tokens"] == 40 - count(given["content"])
        assert rest["seed"] == 5 + count(given["content"])
        assert handler.counted == 1

    run(main)


def test_an_engine_without_a_tokenizer_is_asked_by_the_count_of_events() -> None:
    async def refuse(asked: Asked) -> None:
        if "/tokenize" in asked.line:
            await asked.whole(b'{"error":"no"}', status="404 Not Found")
        else:
            await handler(asked)

    handler = Arithmetic(8)
    body = body_of(max_tokens=40, temperature=1)

    async def main() -> None:
        engines = (StubEngine(handler=refuse), StubEngine("chat-1", handler=refuse))
        async with rig(*engines, served=MODEL) as the:
            got = read((await the.ask(post(body))).body)
        assert got.text.startswith(undisturbed(body).text)
        assert (got.ids, got.roles, got.dones) == (1, 1, 1)

    run(main)


def test_a_stream_that_cannot_be_carried_on_ends_with_an_error_that_says_why() -> None:
    body = {**body_of(max_tokens=40), "n": 2}

    async def main() -> None:
        got = await ask(Arithmetic(5), body)
        error = json.loads(got.split(b"data: ")[-1])["error"]
        assert error["code"] == "replica_lost"
        assert "several choices" in error["message"]
        assert b"[DONE]" not in got

    run(main)


def test_continuation_can_be_switched_off() -> None:
    async def main() -> None:
        handler = Arithmetic(5)
        got = await ask(handler, body_of(max_tokens=40), continuation=False)
        assert b'"code":"replica_lost"' in got
        assert len(handler.asked) == 1

    run(main)


def test_a_rest_that_no_replica_generates_is_given_up_after_the_tries_that_are_allowed() -> None:
    async def main() -> None:
        handler = Arithmetic(5, *[0] * 20)
        got = await ask(handler, body_of(max_tokens=40))
        assert b'"code":"replica_lost"' in got
        assert len(handler.asked) == 1 + 3

    run(main)


def test_an_engine_that_refuses_to_go_on_from_text_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("plimsoll.gateway.continuation.MOST_REPEATED", 0)

    async def choosy(asked: Asked) -> None:
        if "continue_final_message" in asked.json:
            error = b'{"error":{"message":"no prefill here"}}'
            await asked.whole(error, status="400 Bad Request")
        else:
            await handler(asked)

    handler = Arithmetic(8)
    body = body_of(max_tokens=40)

    async def main() -> None:
        engines = (StubEngine(handler=choosy), StubEngine("chat-1", handler=choosy))
        async with rig(*engines, served=MODEL) as the:
            assert read((await the.ask(post(body))).body) == undisturbed(body)

    run(main)


def test_a_text_that_does_not_come_again_is_continued_from_its_end() -> None:
    class Moody(Arithmetic):
        async def __call__(self, asked: Asked) -> None:
            self.engine = Engine(salt="" if len(self.asked) == 0 else "another mood")
            await super().__call__(asked)

    async def main() -> None:
        handler = Moody(12)
        got = read(await ask(handler, body_of(max_tokens=40)))
        whole = Engine().events(json.dumps(body_of(max_tokens=40)).encode(), WIDTHS)
        had = read(b"".join(whole[:12]))
        assert got.text.startswith(had.text)
        assert (got.ids, got.roles, got.dones, len(got.reasons)) == (1, 1, 1, 1)
        assert len(handler.asked) == 3

    run(main)


def test_a_caller_who_leaves_while_the_rest_is_asked_for_frees_everything() -> None:
    silent = asyncio.Event()

    async def stall(asked: Asked) -> None:
        if "/tokenize" in asked.line:
            silent.set()
            await asyncio.sleep(60)
        else:
            await handler(asked)

    handler = Arithmetic(8)

    async def main() -> None:
        engines = (StubEngine(handler=stall), StubEngine("chat-1", handler=stall))
        async with rig(*engines, served=MODEL) as the:
            client = await the.connect()
            client.send(post(body_of(max_tokens=40, temperature=1)))
            await silent.wait()
            await client.close()
            await until(the.idle)

    run(main)


def test_the_openai_sdk_reads_a_stream_that_was_carried_on() -> None:
    body = body_of(max_tokens=40)

    async def main() -> None:
        handler = Arithmetic(4, 5)
        engines = (StubEngine(handler=handler), StubEngine("chat-1", handler=handler))
        async with rig(*engines, served=MODEL) as the:
            url = f"http://{the.host}:{the.port}/v1"
            async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0) as client:
                stream = await client.chat.completions.create(**body)
                chunks = [chunk async for chunk in stream]
        picked = [choice for chunk in chunks for choice in chunk.choices]
        want = undisturbed(body)
        assert "".join(choice.delta.content or "" for choice in picked) == want.text
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.model_dump(exclude_none=True) == want.usage[0]
        assert len({chunk.id for chunk in chunks}) == 1

    run(main)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_a_translated_stream_is_carried_on_as_well(path: str) -> None:
    asks = {
        "/v1/messages": {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 40},
        "/v1/responses": {"input": "hello", "max_output_tokens": 40},
    }
    body = {"model": "chat", "stream": True, "temperature": 0, **asks[path]}

    async def main() -> None:
        handler = Arithmetic(6, 9)
        engines = (StubEngine(handler=handler), StubEngine("chat-1", handler=handler))
        hasty = GatewaySettings(suspect_seconds=0.01)
        async with rig(*engines, settings=hasty, served=MODEL) as the:
            broken, whole = [texts((await the.ask(post(body, path))).body) for _ in range(2)]
        assert len(handler.asked) == 4
        assert "".join(broken) == "".join(whole) != ""

    run(main)


def texts(events: bytes) -> list[str]:
    """The pieces of text in a stream of Anthropic's or of the responses API."""
    each = [json.loads(row[6:]) for row in events.decode().split("\n") if row.startswith("data: {")]
    assert not [event for event in each if event["type"] in ("error", "response.failed")]
    pieces = [event["delta"] for event in each if "delta" in event]
    return [piece if isinstance(piece, str) else piece.get("text", "") for piece in pieces]
