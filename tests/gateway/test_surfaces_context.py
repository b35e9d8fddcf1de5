"""Prompts that are counted: for callers, and where they may be too long for a context."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from plimsoll.facts.engines import Counter
from plimsoll.gateway import Board, GatewaySettings
from plimsoll.gateway.errors import Refused, engines_too_long
from plimsoll.gateway.surfaces import CHAT, read_call
from tests.gateway import stub
from tests.gateway.stub import Asked, StubEngine, good, post, rig, run

USER = [{"role": "user", "content": "What is MIG?"}]
CHATS: dict[str, Any] = {"model": "chat", "messages": USER}
COUNT, MESSAGES = "/v1/messages/count_tokens", "/v1/messages"

COUNTED = replace(stub.CHAT, chat_counter=Counter(path="/count", count="count"))


class Counting(StubEngine):
    """A stub that counts: `tokens` of every prompt, or what `counts` does."""

    tokens = 16

    def __init__(self, tokens: int = 16) -> None:
        super().__init__(handler=self.handle)
        self.tokens = tokens

    async def handle(self, asked: Asked) -> None:
        if asked.line.startswith("POST /count "):
            await self.count(asked)
        else:
            await good(asked)

    async def count(self, asked: Asked) -> None:
        await asked.whole(json.dumps({"count": self.tokens}).encode())

    @property
    def counted(self) -> int:
        return sum(asked.line.startswith("POST /count ") for asked in self.asked)


LONG = {**CHATS, "messages": [{"role": "user", "content": "word " * 1500}]}


def test_an_answer_longer_than_the_context_is_refused_at_once() -> None:
    body = json.dumps({**CHATS, "max_tokens": 4096}).encode()
    with pytest.raises(Refused) as caught:
        read_call(CHAT, body, Board([stub.CHAT]))
    refused = caught.value
    assert refused.code == "context_too_long"
    assert "2048" in refused.message
    assert "4096" in refused.message
    clamps = replace(stub.CHAT, cuts_answers=True)
    assert read_call(CHAT, body, Board([clamps])).near is False


def test_a_prompt_near_the_context_is_counted_and_refused_with_both_numbers() -> None:
    async def main() -> None:
        async with rig(Counting(3000), served=COUNTED) as the:
            reply = await the.ask(post(LONG))
            assert (reply.status, reply.code) == (400, "context_too_long")
            assert "2048" in reply.json["error"]["message"]
            assert "3000" in reply.json["error"]["message"]
            assert [asked.line.split()[1] for asked in the.engine.asked] == ["/count"]
            sent = await the.ask(post({**LONG, "max_tokens": 9}, MESSAGES))
            assert sent.json["error"]["type"] == "invalid_request_error"

    run(main)


def test_prompt_and_answer_together_must_fit_where_the_engine_does_not_cut_it() -> None:
    async def main() -> None:
        async with rig(Counting(2000), served=COUNTED) as the:
            reply = await the.ask(post({**LONG, "max_tokens": 100}))
            assert (reply.status, reply.code) == (400, "context_too_long")
            assert "2100" in reply.json["error"]["message"]
            assert (await the.ask(post({**LONG, "max_tokens": 48}))).status == 200
        async with rig(Counting(2000), served=replace(COUNTED, cuts_answers=True)) as the:
            assert (await the.ask(post({**LONG, "max_tokens": 100}))).status == 200

    run(main)


def test_a_prompt_that_fits_is_answered_after_it_was_counted() -> None:
    async def main() -> None:
        async with rig(Counting(1500), served=COUNTED) as the:
            engine = the.engine
            assert isinstance(engine, Counting)
            assert (await the.ask(post(LONG))).status == 200
            assert engine.counted == 1
            streamed = await the.ask(post({**LONG, "stream": True}))
            assert streamed.body.endswith(b"[DONE]\n\n")

    run(main)


def test_a_short_prompt_is_not_counted() -> None:
    async def main() -> None:
        async with rig(Counting(), served=COUNTED) as the:
            assert (await the.ask(stub.chat(max_tokens=64))).status == 200
            assert len(the.engine.asked) == 1

    run(main)


@pytest.mark.parametrize("fault", ["500", "garbage", "gone", "no counter"])
def test_a_prompt_that_cannot_be_counted_is_left_to_its_engine(fault: str) -> None:
    class Faulty(Counting):
        async def count(self, asked: Asked) -> None:
            if fault == "gone":
                asked.writer.transport.abort()
            elif fault == "garbage":
                await asked.whole(b'{"count":"many"}')
            else:
                await asked.whole(b"{}", status="500 No")

    async def main() -> None:
        served = stub.CHAT if fault == "no counter" else COUNTED
        async with rig(Faulty(), served=served) as the:
            assert (await the.ask(post(LONG))).status == 200

    run(main)


def test_a_caller_that_leaves_while_its_prompt_is_counted_is_noticed() -> None:
    class Slow(Counting):
        async def count(self, asked: Asked) -> None:
            await asked.gone.wait()

    async def main() -> None:
        async with rig(Slow(), served=COUNTED) as the:
            for path, body in (("/v1/chat/completions", LONG), (COUNT, CHATS)):
                client = await the.connect()
                client.send(post(body, path))
                await stub.until(lambda: len(the.engine.asked) > 0)
                await client.close()
                await stub.until(the.engine.asked[-1].gone.is_set)
                the.engine.asked.clear()

    run(main)


@pytest.mark.parametrize(
    ("engine", "said", "tokens", "context"),
    [
        (
            "llamacpp",
            (
                "request (8014 tokens) exceeds the available context size (1024 tokens), try "
                "increasing it"
            ),
            8014,
            1024,
        ),
        (
            "vllm",
            (
                "This model's maximum context length is 2048 tokens. However, your prompt contains "
                "at least 2049 input tokens, which exceeds this limit even without any output."
            ),
            2049,
            2048,
        ),
        (
            "sglang",
            "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
            5000,
            4096,
        ),
        (
            "sglang",
            (
                "Requested token count exceeds the model's maximum context length of 4096 tokens. "
                "You requested a total of 5000 tokens: 4000 tokens from the input messages and "
                "1000 tokens for the completion."
            ),
            5000,
            4096,
        ),
    ],
)
def test_what_an_engine_says_of_its_context_has_the_same_code(
    engine: str, said: str, tokens: int, context: int
) -> None:
    refused = engines_too_long(said)
    assert refused is not None, engine
    assert refused.code == "context_too_long"
    assert str(tokens) in refused.message
    assert str(context) in refused.message

    async def refusing(asked: Asked) -> None:
        body = {"object": "error", "message": said, "type": "BadRequestError", "code": 400}
        if engine != "sglang":
            body = {"error": body}  # type: ignore[dict-item]
        await asked.whole(json.dumps(body).encode(), status="400 Bad Request")

    async def main() -> None:
        async with rig(StubEngine(handler=refusing)) as the:
            reply = await the.ask(stub.chat())
            assert (reply.status, reply.code) == (400, "context_too_long")

    run(main)


# Counting for callers.


def count(**more: Any) -> bytes:
    return post({"model": "chat", "messages": USER, **more}, COUNT)


def test_tokens_are_counted_by_a_replica_with_the_chat_as_it_would_get_it() -> None:
    async def main() -> None:
        async with rig(Counting(23), served=COUNTED) as the:
            reply = await the.ask(count(model="talk", system="Be brief."))
            assert (reply.status, reply.json) == (200, {"input_tokens": 23})
            asked = the.engine.asked[0].json
            assert asked["model"] == "chat"
            assert [message["role"] for message in asked["messages"]] == ["system", "user"]
            assert 'surface="count_tokens"' in the.numbers()

    run(main)


def test_a_count_that_a_replica_cannot_give_is_asked_of_another() -> None:
    class Broken(Counting):
        async def count(self, asked: Asked) -> None:
            asked.writer.transport.abort()

    async def main() -> None:
        first, second = Broken(), Counting(5)
        second.name = "chat-1"
        async with rig(first, second, served=COUNTED) as the:
            for _ in range(3):
                assert (await the.ask(count())).json == {"input_tokens": 5}
        async with rig(Broken(), served=COUNTED) as the:
            reply = await the.ask(count())
            assert (reply.status, reply.json["error"]["type"]) == (502, "api_error")

    run(main)


def test_a_count_waits_for_a_replica_and_wakes_the_model() -> None:
    woken: list[str] = []

    async def main() -> None:
        engine = Counting(7)
        await engine.start()
        async with rig(served=COUNTED, wake=woken.append) as the:
            client = await the.connect()
            client.send(count())
            await stub.until(lambda: woken == ["chat"])
            the.board.update("chat", (engine.upstream(),))
            assert (await client.reply()).json == {"input_tokens": 7}
        await engine.kill()
        settings = GatewaySettings(queue_wait=0.05)
        async with rig(served=COUNTED, settings=settings) as the:
            assert (await the.ask(count())).status == 503

    run(main)


def test_an_engine_that_does_not_count_is_not_asked() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            reply = await the.ask(count())
            assert reply.status == 400
            assert reply.json["error"]["details"]["error_code"] == "not_supported"
            assert not the.engine.asked

    run(main)
