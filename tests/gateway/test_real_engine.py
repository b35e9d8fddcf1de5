"""The rules of the stub's tests again, before real llama.cpp replicas with the demo model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from time import monotonic

import httpx
import openai
import pytest

from plimsoll.gateway import Served
from tests.gateway.engine import RealEngine, demo
from tests.gateway.stub import MESSAGES, Rig, post, rig, run, until

PATH = "/v1/chat/completions"
LONG = [{"role": "user", "content": "Explain everything about the KV cache. " * 60}]


@pytest.fixture(scope="module")
def engine() -> Iterator[RealEngine]:
    with RealEngine(embedding=True, batch=32) as started:
        yield started


def ask(*, stream: bool, tokens: int, messages: object = MESSAGES, **more: object) -> bytes:
    body = {
        "model": "demo", "messages": messages, "stream": stream, "max_tokens": tokens,
        "temperature": 0, **more,
    }  # fmt: skip
    return post(body, PATH)


def endless(*, stream: bool) -> bytes:
    """A request that runs to its context's end: the model's stop token is forbidden."""
    return ask(stream=stream, tokens=2000, ignore_eos=True)


def words(body: bytes) -> str:
    events = [json.loads(row[6:]) for row in body.split(b"\n\n") if row.startswith(b"data: {")]
    return "".join(
        choice["delta"].get("content") or "" for each in events for choice in each["choices"]
    )


def test_streamed_assembled_and_direct_answers_say_the_same(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            streamed = words((await the.ask(ask(stream=True, tokens=40))).body)
            whole = (await the.ask(ask(stream=False, tokens=40))).json
            async with httpx.AsyncClient() as client:
                direct = await client.post(
                    f"http://{engine.address}{PATH}",
                    json={
                        "model": "demo",
                        "messages": MESSAGES,
                        "max_tokens": 40,
                        "temperature": 0,
                    },
                )
            wanted = direct.json()
            assert streamed == whole["choices"][0]["message"]["content"]
            assert whole["choices"] == wanted["choices"]
            assert set(whole) == set(wanted)
            assert whole["object"] == "chat.completion"
            for count in ("prompt_tokens", "completion_tokens", "total_tokens"):
                assert whole["usage"][count] == wanted["usage"][count]

    run(main)


def test_progress_on_the_prompt_is_not_shown_unless_asked_for(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            hidden = await the.ask(ask(stream=True, tokens=4, messages=LONG[:1], n=2))
            assert b"prompt_progress" not in hidden.body
            assert hidden.body.endswith(b"data: [DONE]\n\n")
            shown = await the.ask(ask(stream=True, tokens=4, return_progress=True))
            assert b"prompt_progress" in shown.body

    run(main)


def test_embeddings_and_completions_come_from_the_engine(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=Served(name="vectors", task="embedding", context=512)) as the:
            the.board.update("vectors", (engine.upstream(),))
            body = {"model": "vectors", "input": ["a", "b"]}
            reply = await the.ask(post(body, "/v1/embeddings"))
            assert len(reply.json["data"]) == 2
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            body = {"model": "demo", "prompt": "MIG", "max_tokens": 3, "logprobs": 1}
            reply = await the.ask(post(body, "/v1/completions"))
            assert reply.json["object"] == "text_completion"
            assert len(reply.json["choices"][0]["logprobs"]["content"]) == 3

    run(main)


def test_an_engines_own_refusal_reaches_the_caller(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            for stream in (False, True):
                reply = await the.ask(ask(stream=stream, tokens=4, grammar="root ::= nothing"))
                assert (reply.status, reply.code) == (400, "engine_refused")
                assert "grammar" in reply.json["error"]["message"]

    run(main)


def test_the_official_sdk_gets_answers_streams_and_errors(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            url = f"http://{the.host}:{the.port}/v1"
            async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as sdk:
                whole = await sdk.chat.completions.create(model="demo", messages=MESSAGES)
                assert whole.choices[0].message.content
                assert whole.usage.completion_tokens > 0
                stream = await sdk.chat.completions.create(
                    model="demo", messages=MESSAGES, stream=True, max_tokens=5
                )
                assert "".join([each.choices[0].delta.content or "" async for each in stream])
                text = await sdk.completions.create(model="demo", prompt="KV", max_tokens=3)
                assert text.usage.completion_tokens == 3
                assert [model.id async for model in sdk.models.list()] == ["demo", "embed"]
                with pytest.raises(openai.NotFoundError, match="there is no model") as caught:
                    await sdk.chat.completions.create(model="no", messages=MESSAGES)
                assert caught.value.code == "model_not_found"
                with pytest.raises(openai.BadRequestError, match="is a model for embedding"):
                    await sdk.chat.completions.create(model="embed", messages=MESSAGES)

    run(main)


async def leave_once(the: Rig, engine: RealEngine, data: bytes, *, after: str) -> float:
    """Seconds from closing the connection until the engine's own metrics say it is idle."""
    client = await the.connect()
    client.send(data)
    if after == "first byte":
        await client.head()
    async with httpx.AsyncClient() as http:

        async def busy() -> float:
            text = (await http.get(f"http://{engine.address}/metrics")).text
            rows = text.splitlines()
            row = next(row for row in rows if row.startswith("llamacpp:requests_processing"))
            return float(row.split()[-1])

        while not await busy():  # noqa: ASYNC110 -- it happens in another process
            await asyncio.sleep(0.002)
        since = monotonic()
        await client.close()
        while await busy():  # noqa: ASYNC110 -- it happens in another process
            await asyncio.sleep(0.002)
        return monotonic() - since


@pytest.mark.parametrize("phase", ["streamed", "whole", "reading the prompt"])
def test_a_caller_that_leaves_frees_the_engines_slot_within_200_ms(
    engine: RealEngine, phase: str
) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            times = []
            for number in range(50 if phase != "reading the prompt" else 10):
                if phase == "reading the prompt":
                    # A different beginning each time, so that the prefix cache does not help.
                    messages = [{"role": "user", "content": f"{number} " + LONG[0]["content"]}]
                    data = ask(stream=True, tokens=500, messages=messages, ignore_eos=True)
                    after = "arrival"
                else:
                    data = endless(stream=phase == "streamed")
                    after = "first byte" if phase == "streamed" else "arrival"
                times.append(await leave_once(the, engine, data, after=after))
                await until(the.idle)
            # A busy test machine stalls any process now and then; the benchmark in
            # benchmarks/http_layer holds every single one of a thousand to the limit.
            assert sorted(times)[len(times) * 9 // 10 - 1] < 0.2, sorted(times)
            assert max(times) < 2

    run(main, seconds=120)


def test_a_killed_replica_loses_no_answer_and_changes_no_text() -> None:
    def asked(*, stream: bool) -> bytes:
        return ask(stream=stream, tokens=150, ignore_eos=True)

    async def main() -> None:
        with RealEngine("demo-0") as first, RealEngine("demo-1") as second:
            async with rig(served=demo()) as the:
                the.board.update("demo", (first.upstream(), second.upstream()))
                undisturbed = words((await the.ask(asked(stream=True))).body)
                wholes = [asyncio.create_task(the.ask(asked(stream=False))) for _ in range(4)]
                streams = [asyncio.create_task(the.ask(asked(stream=True))) for _ in range(4)]
                await until(lambda: the.board.in_flight("demo-0") == 4)
                await until(
                    lambda: (
                        b'first_byte_seconds_bucket{le="+Inf",model="demo"} 5.0'
                        in the.metrics.text()
                    )
                )
                first.kill()
                for reply in await asyncio.gather(*wholes):
                    assert reply.json["choices"][0]["message"]["content"] == undisturbed
                for reply in await asyncio.gather(*streams):
                    assert words(reply.body) == undisturbed
                    assert reply.body.endswith(b"data: [DONE]\n\n")
                assert the.board.in_flight("demo-0") == 0

    run(main, seconds=120)
