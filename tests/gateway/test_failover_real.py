"""Streams of a real llama.cpp whose connections break: what is carried on, and what cannot be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from tests.gateway.arithmetic_engine import Read, read
from tests.gateway.breaking import Breaking
from tests.gateway.engine import RealEngine, demo
from tests.gateway.stub import MESSAGES, Rig, post, rig, run

TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}
SCHEMA = {
    "type": "object",
    "properties": {"words": {"type": "array", "items": {"type": "string"}, "minItems": 6}},
    "required": ["words"],
}


@pytest.fixture(scope="module")
def engine() -> Iterator[RealEngine]:
    with RealEngine(parallel=4) as started:
        yield started


@asynccontextmanager
async def broken(engine: RealEngine, *after: int) -> AsyncIterator[tuple[Rig, Breaking]]:
    """A gateway before an engine whose answers break off after so many events each."""
    breaking = Breaking(engine.upstream(), *after)
    async with breaking.listening() as upstream, rig(served=demo()) as the:
        the.board.update("demo", (upstream,))
        yield the, breaking


def body_of(*, is_chat: bool = True, **more: object) -> dict[str, Any]:
    asks: dict[str, Any] = {"messages": MESSAGES} if is_chat else {"prompt": "The KV cache"}
    usual = {"model": "demo", "stream": True, "temperature": 0, "max_tokens": 60}
    return {
        **usual, "ignore_eos": True, "stream_options": {"include_usage": True}, **asks, **more,
    }  # fmt: skip


async def answer(the: Rig, body: dict[str, Any]) -> bytes:
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    return (await the.ask(post(body, path))).body


async def both(engine: RealEngine, body: dict[str, Any], *after: int) -> tuple[Read, Read]:
    """An answer that broke off, and the same that did not."""
    async with broken(engine, *after) as (the, _):
        got, want = read(await answer(the, body)), read(await answer(the, body))
        for usage in (*got.usage, *want.usage):  # what is cached depends on what ran before
            usage.pop("prompt_tokens_details", None)
        return got, want


@pytest.mark.parametrize("is_chat", [True, False])
@pytest.mark.parametrize("after", [(1,), (2,), (30,), (59,), (61,), (5, 20, 40)])
def test_a_broken_stream_of_a_real_engine_equals_an_undisturbed_one(
    engine: RealEngine, is_chat: bool, after: tuple[int, ...]
) -> None:
    async def main() -> None:
        got, want = await both(engine, body_of(is_chat=is_chat), *after)
        assert got == want
        assert want.usage[0]["completion_tokens"] == 60

    run(main)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        {"presence_penalty": 0.5},
        {"stop": ["cache", "\n"], "ignore_eos": False},
    ],
)
def test_what_is_more_than_text_is_made_again_at_temperature_0(
    engine: RealEngine, more: dict[str, Any]
) -> None:
    async def main() -> None:
        got, want = await both(engine, body_of(**more), 9)
        assert got == want

    run(main)


def test_a_prompt_in_tokens_is_made_again_at_temperature_0(engine: RealEngine) -> None:
    async def main() -> None:
        got, want = await both(engine, body_of(is_chat=False, prompt=[5, 6, 7, 8]), 20)
        assert got == want

    run(main)


@pytest.mark.parametrize("is_chat", [True, False])
def test_a_sampled_stream_goes_on_from_its_text_to_its_limit_of_tokens(
    engine: RealEngine, is_chat: bool
) -> None:
    async def main() -> None:
        body = body_of(is_chat=is_chat, temperature=0.8, seed=3)
        async with broken(engine, 20, 30) as (the, breaking):
            got = read(await answer(the, body))
            assert len(breaking.bodies) == 3
            assert breaking.bodies[2]["max_tokens"] < breaking.bodies[1]["max_tokens"] < 60
        assert (got.ids, got.dones, got.reasons) == (1, 1, ["length"])
        assert got.usage[0]["completion_tokens"] == 60

    run(main)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"n": 2}, "several choices"),
        ({"logprobs": True}, "log probabilities"),
        ({"temperature": 1, "response_format": {"type": "json_object"}}, "required form"),
        ({"temperature": 1, "prompt": [5, 6, 7]}, "not one text"),
    ],
)
def test_what_would_not_fit_ends_in_an_error_event_that_says_why(
    engine: RealEngine, more: dict[str, Any], why: str
) -> None:
    async def main() -> None:
        async with broken(engine, 8) as (the, _):
            got = await answer(the, body_of(is_chat="prompt" not in more, **more))
            error = json.loads(got.split(b"data: ")[-1])["error"]
            assert why in error["message"]
            assert b"[DONE]" not in got

    run(main)


def test_the_openai_sdk_reads_a_real_stream_that_was_carried_on(engine: RealEngine) -> None:
    async def main() -> None:
        async with broken(engine, 10) as (the, _):
            url = f"http://{the.host}:{the.port}/v1"
            async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0) as client:
                texts = []
                for _ in range(2):
                    async with client.chat.completions.stream(
                        model="demo", messages=MESSAGES, temperature=0, max_tokens=40
                    ) as stream:
                        final = await stream.get_final_completion()
                    texts.append(final.choices[0].message.content)
                    assert final.choices[0].finish_reason == "stop"
        assert texts[0] == texts[1]

    run(main)
