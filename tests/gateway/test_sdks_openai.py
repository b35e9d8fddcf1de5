"""The official `openai` SDK's own calls against the gateway: a real llama.cpp behind it, and a
stub where the demo model cannot do what is asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel

from plimsoll.gateway import GatewaySettings
from tests.gateway.engine import RealEngine, demo
from tests.gateway.stub import Asked, Rig, StubEngine, good, rig, run
from tests.providers.chunks import EVERYTHING, whole

MESSAGES: list[Any] = [{"role": "user", "content": "What is MIG?"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
FUNCTIONS: list[Any] = [{"type": "function", **TOOLS[0]["function"], "strict": False}]
CALLS = [{"id": "call_1", "type": "function",
          "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}]  # fmt: skip


class City(BaseModel):
    city: Literal["Bonn", "Ulm"]


@pytest.fixture(scope="module")
def engine() -> Iterator[RealEngine]:
    with RealEngine() as started:
        yield started


def sdk(the: Rig, **more: Any) -> openai.AsyncOpenAI:
    url = f"http://{the.host}:{the.port}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key="none", **{"max_retries": 0, **more})


async def everything(asked: Asked) -> None:
    """A thought, a text and two calls; or, not streamed, a call."""
    if not asked.json.get("stream"):
        await asked.whole(whole({"role": "assistant", "tool_calls": CALLS}, "tool_calls"))
        return
    await asked.stream_head()
    await asked.chunk(EVERYTHING)
    await asked.end()


def test_chats_stream_and_parse_before_a_real_engine(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the, sdk(the) as client:
            the.board.update("demo", (engine.upstream(),))
            chats = client.chat.completions
            answer = await chats.create(
                model="demo", messages=MESSAGES, max_tokens=200, temperature=0, tools=TOOLS
            )
            wanted = answer.choices[0].message.content
            assert wanted
            async with chats.stream(
                model="demo", messages=MESSAGES, max_tokens=200, temperature=0,
                stream_options={"include_usage": True},
            ) as stream:  # fmt: skip
                kinds = [event.type async for event in stream]
                final = await stream.get_final_completion()
            assert "content.delta" in kinds
            assert final.choices[0].message.content == wanted
            assert final.usage is not None
            assert final.usage.prompt_tokens == 16
            parsed = await chats.parse(
                model="demo", messages=MESSAGES, response_format=City, temperature=0,
                max_tokens=100,
            )  # fmt: skip
            assert isinstance(parsed.choices[0].message.parsed, City)
            several = await chats.create(model="demo", messages=MESSAGES, max_tokens=3, n=2)
            assert len(several.choices) == 2

    run(main)


def test_responses_stream_and_parse_before_a_real_engine(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the, sdk(the) as client:
            the.board.update("demo", (engine.upstream(),))
            calls = client.responses
            asked: dict[str, Any] = {"model": "demo", "input": "What is MIG?", "temperature": 0}
            answer = await calls.create(**asked, max_output_tokens=12)
            assert (answer.status, answer.store) == ("incomplete", False)
            assert answer.incomplete_details is not None
            assert answer.incomplete_details.reason == "max_output_tokens"
            async with calls.stream(**asked, max_output_tokens=200) as stream:
                kinds = [event.type async for event in stream]
                final = await stream.get_final_response()
            assert kinds[:3] == [
                "response.created", "response.in_progress", "response.output_item.added",
            ]  # fmt: skip
            assert kinds[-1] == "response.completed"
            assert final.output_text.startswith(answer.output_text)
            assert final.usage is not None
            assert final.usage.input_tokens == 16
            raw = await calls.create(**asked, max_output_tokens=4, stream=True)
            numbers = [event.sequence_number async for event in raw]
            assert numbers == list(range(len(numbers)))
            parsed = await calls.parse(**asked, text_format=City, max_output_tokens=100)
            assert isinstance(parsed.output_parsed, City)
            turns: list[Any] = [
                {"role": "user", "content": "What is MIG?"},
                *[item.to_dict() for item in final.output],
                {"role": "user", "content": "And TTFT?"},
            ]
            again = await calls.create(model="demo", input=turns, max_output_tokens=8)
            assert again.output_text

    run(main)


def test_the_synchronous_client_is_served_as_well(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            url = f"http://{the.host}:{the.port}/v1"

            def ask() -> None:
                with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
                    stream = client.chat.completions.create(
                        model="demo", messages=MESSAGES, max_tokens=5, stream=True
                    )
                    assert "".join(each.choices[0].delta.content or "" for each in stream)
                    answer = client.responses.create(model="demo", input="hi", max_output_tokens=4)
                    assert answer.output_text
                    assert [model.id for model in client.models.list()] == ["demo", "embed"]
                    assert client.models.retrieve("demo").id == "demo"

            await asyncio.to_thread(ask)

    run(main)


def test_calls_of_tools_come_back_whole_and_streamed() -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=everything)) as the, sdk(the) as client:
            answer = await client.chat.completions.create(
                model="chat", messages=MESSAGES, tools=TOOLS, tool_choice="required"
            )
            assert answer.choices[0].message.tool_calls is not None
            async with client.chat.completions.stream(
                model="chat", messages=MESSAGES, tools=TOOLS
            ) as stream:
                final = await stream.get_final_completion()
            calls = final.choices[0].message.tool_calls
            assert calls is not None
            assert [each.function.name for each in calls] == ["weather", "time"]
            response = await client.responses.create(
                model="chat", input="hi", tools=FUNCTIONS,
                tool_choice={"type": "function", "name": "weather"},
            )  # fmt: skip
            (called,) = response.output
            assert called.type == "function_call"
            assert json.loads(called.arguments) == {"city": "Ulm"}
            async with client.responses.stream(model="chat", input="hi", tools=FUNCTIONS) as told:
                final_response = await told.get_final_response()
            assert [item.type for item in final_response.output] == [
                "reasoning", "message", "function_call", "function_call",
            ]  # fmt: skip
            asked = [each.json for each in the.engine.asked]
            assert asked[0]["tool_choice"] == "required"
            assert asked[2]["tools"][0]["function"]["name"] == "weather"
            assert asked[2]["tool_choice"]["function"]["name"] == "weather"

    run(main)


def test_errors_are_the_sdks_own_classes(engine: RealEngine) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the, sdk(the) as client:
            the.board.update("demo", (engine.upstream(),))
            with pytest.raises(openai.NotFoundError) as missing:
                await client.responses.create(model="no", input="hi")
            assert missing.value.code == "model_not_found"
            long: list[Any] = [{"role": "user", "content": "word " * 4000}]
            with pytest.raises(openai.BadRequestError, match="8014") as too_long:
                await client.chat.completions.create(model="demo", messages=long)
            assert too_long.value.code == "context_too_long"
            with pytest.raises(openai.BadRequestError, match="Nothing is stored"):
                await client.responses.create(model="demo", input="hi", previous_response_id="r")

    run(main)


def test_retries_wait_as_long_as_they_are_told() -> None:
    async def busy_once(asked: Asked) -> None:
        if len(the_engine.asked) == 1:
            await asked.whole(b'{"error":{"message":"full"}}', status="503 Busy")
        else:
            await good(asked)

    the_engine = StubEngine(handler=busy_once)

    async def main() -> None:
        settings = GatewaySettings(tries=1, retry_after=1.0)
        async with rig(the_engine, settings=settings) as the, sdk(the, max_retries=1) as client:
            since = asyncio.get_running_loop().time()
            answer = await client.chat.completions.create(model="chat", messages=MESSAGES)
            assert answer.choices[0].message.content == "A slice."
            assert asyncio.get_running_loop().time() - since >= 1.0
            assert len(the.engine.asked) == 2

    run(main)


def test_a_timeout_of_the_sdk_frees_the_engine() -> None:
    async def silent(asked: Asked) -> None:
        await asked.gone.wait()

    async def main() -> None:
        async with rig(StubEngine(handler=silent)) as the, sdk(the, timeout=0.2) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.chat.completions.create(model="chat", messages=MESSAGES)
            await asyncio.wait_for(the.engine.asked[0].gone.wait(), 2)

    run(main)
