"""The official `anthropic` SDK's own calls against the gateway: a real llama.cpp behind it, and a
stub where the demo model cannot do what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import httpx
import pytest
from pydantic import BaseModel

from plimsoll.gateway import GatewaySettings
from tests.gateway.engine import RealEngine, demo
from tests.gateway.stub import Asked, Rig, StubEngine, event, good, rig, run
from tests.providers.chunks import EVERYTHING, whole

MESSAGES: list[Any] = [{"role": "user", "content": "What is MIG?"}]
TOOLS: list[Any] = [
    {
        "name": "weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]
ASK: dict[str, Any] = {"model": "demo", "messages": MESSAGES, "max_tokens": 12}
GREEDY = {"temperature": 0}


class City(BaseModel):
    city: Literal["Bonn", "Ulm"]


@pytest.fixture(scope="module")
def engine() -> Iterator[RealEngine]:
    with RealEngine() as started:
        yield started


def sdk(the: Rig, **more: Any) -> anthropic.AsyncAnthropic:
    url = f"http://{the.host}:{the.port}"
    return anthropic.AsyncAnthropic(base_url=url, api_key="none", **{"max_retries": 0, **more})


async def everything(asked: Asked) -> None:
    """A thought, a text and two calls; or, not streamed, a call."""
    if not asked.json.get("stream"):
        call = {"id": "toolu_1", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}
        await asked.whole(whole({"role": "assistant", "tool_calls": [call]}, "tool_calls"))
        return
    await asked.stream_head()
    await asked.chunk(EVERYTHING)
    await asked.end()


def test_messages_stream_and_are_counted_before_a_real_engine(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the, sdk(the) as client:
            the.board.update("demo", (engine.upstream(),))
            answer = await client.messages.create(**ASK, extra_body=GREEDY)
            (block,) = answer.content
            assert block.type == "text"
            assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 12)
            async with client.messages.stream(**ASK, extra_body=GREEDY) as stream:
                text = "".join([piece async for piece in stream.text_stream])
                final = await stream.get_final_message()
            assert text == block.text
            assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 12)
            usage = final.usage
            assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == 16
            raw = await client.messages.create(**ASK, stream=True)
            kinds = [each.type async for each in raw]
            assert kinds[0] == "message_start"
            assert kinds[-2:] == ["message_delta", "message_stop"]
            counted = await client.messages.count_tokens(model="demo", messages=MESSAGES)
            async with httpx.AsyncClient() as http:
                direct = await http.post(
                    f"http://{engine.address}/v1/messages/count_tokens",
                    json={"model": "demo", "messages": MESSAGES},
                )
            assert counted.input_tokens == direct.json()["input_tokens"] == 16

    run(main)


def test_an_answer_goes_on_from_words_without_repeating_them(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the, sdk(the) as client:
            the.board.update("demo", (engine.upstream(),))
            words = "MIG splits one"
            turns = [*MESSAGES, {"role": "assistant", "content": words}]
            asked = {**ASK, "messages": turns}
            answer = await client.messages.create(**asked, extra_body=GREEDY)
            assert answer.content[0].type == "text"
            assert not answer.content[0].text.startswith("MIG")
            async with client.messages.stream(**asked, extra_body=GREEDY) as stream:
                text = await stream.get_final_text()
            assert text == answer.content[0].text

    run(main)


def test_structured_output_is_parsed(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the, sdk(the) as client:
            the.board.update("demo", (engine.upstream(),))
            asked = {**ASK, "max_tokens": 200}
            parsed = await client.messages.parse(**asked, output_format=City, extra_body=GREEDY)
            assert isinstance(parsed.parsed_output, City)

    run(main)


def test_the_synchronous_client_is_served_as_well(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            url = f"http://{the.host}:{the.port}"

            def ask() -> None:
                with anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client:
                    with client.messages.stream(**ASK, system="Be brief.") as stream:
                        assert stream.get_final_text()
                    assert client.messages.create(**ASK).content
                    assert [model.id for model in client.models.list()] == ["demo", "embed"]
                    assert client.models.retrieve("demo").display_name == "demo"

            await asyncio.to_thread(ask)

    run(main)


def test_calls_of_tools_come_back_and_are_answered() -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=everything)) as the, sdk(the) as client:
            asked = {**ASK, "model": "chat", "tools": TOOLS}
            choice: Any = {"type": "any", "disable_parallel_tool_use": True}
            answer = await client.messages.create(**asked, tool_choice=choice)
            (use,) = answer.content
            assert use.type == "tool_use"
            assert (answer.stop_reason, use.input) == ("tool_use", {"city": "Ulm"})
            async with client.messages.stream(**asked) as stream:
                final = await stream.get_final_message()
            assert [block.type for block in final.content] == [
                "thinking", "text", "tool_use", "tool_use",
            ]  # fmt: skip
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
                for block in final.content
                if block.type == "tool_use"
            ]
            turns = [*MESSAGES, final.to_param(), {"role": "user", "content": results}]
            await client.messages.create(**{**asked, "messages": turns})
            told = [each.json for each in the.engine.asked]
            assert (told[0]["tool_choice"], told[0]["parallel_tool_calls"]) == ("required", False)
            assert [message["role"] for message in told[2]["messages"]] == [
                "user", "assistant", "tool", "tool",
            ]  # fmt: skip
            assert told[2]["messages"][1]["reasoning_content"] == "Let me see."

    run(main)


def test_errors_are_the_sdks_own_classes(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the, sdk(the) as client:
            the.board.update("demo", (engine.upstream(),))
            with pytest.raises(anthropic.NotFoundError) as missing:
                await client.messages.create(**{**ASK, "model": "no"})
            assert missing.value.type == "not_found_error"
            assert missing.value.error_code == "model_not_found"
            long = [{"role": "user", "content": "word " * 4000}]
            with pytest.raises(anthropic.BadRequestError, match="8014") as too_long:
                await client.messages.create(**{**ASK, "messages": long})
            assert too_long.value.error_code == "context_too_long"
            tools: Any = [{"type": "web_search_20250305", "name": "web_search"}]
            with pytest.raises(anthropic.BadRequestError, match="Anthropic's own servers"):
                await client.messages.create(**ASK, tools=tools)

    run(main)


def test_an_error_inside_a_stream_is_raised() -> None:
    async def breaks_off(asked: Asked) -> None:
        await asked.stream_head()
        await asked.chunk(event("A"))
        asked.writer.transport.abort()

    async def main() -> None:
        settings = GatewaySettings(tries=1, continuation=False)
        async with (
            rig(StubEngine(handler=breaks_off), settings=settings) as the,
            sdk(the) as client,
        ):
            with pytest.raises(anthropic.APIStatusError) as caught:
                async with client.messages.stream(**{**ASK, "model": "chat"}) as stream:
                    await stream.get_final_message()
            assert caught.value.type == "api_error"
            assert caught.value.error_code == "replica_lost"

    run(main)


def test_retries_wait_as_long_as_they_are_told() -> None:
    async def busy_once(asked: Asked) -> None:
        if len(the_engine.asked) == 1:
            await asked.whole(b'{"error":{"message":"full"}}', status="429 Busy")
        else:
            await good(asked)

    the_engine = StubEngine(handler=busy_once)

    async def main() -> None:
        settings = GatewaySettings(tries=1, retry_after=1.0)
        async with rig(the_engine, settings=settings) as the, sdk(the, max_retries=1) as client:
            since = asyncio.get_running_loop().time()
            answer = await client.messages.create(**{**ASK, "model": "chat"})
            assert answer.content[0].type == "text"
            assert asyncio.get_running_loop().time() - since >= 1.0

    run(main)


def test_a_timeout_of_the_sdk_frees_the_engine() -> None:
    async def silent(asked: Asked) -> None:
        await asked.gone.wait()

    async def main() -> None:
        async with rig(StubEngine(handler=silent)) as the, sdk(the, timeout=0.2) as client:
            with pytest.raises(anthropic.APITimeoutError):
                await client.messages.create(**{**ASK, "model": "chat"})
            await asyncio.wait_for(the.engine.asked[0].gone.wait(), 2)

    run(main)
