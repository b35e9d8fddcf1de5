from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from plimsoll.providers.protocol import UnspeakableError
from plimsoll.providers.responses import OpenAIResponses
from tests.providers.chunks import DONE, EVERYTHING, USAGE, call, event, events_of, whole

GOLDEN = Path(__file__).parents[1] / "golden" / "providers"
SAYS = OpenAIResponses()
ASKED = {"model": "m", "input": "hi", "instructions": "Be brief.", "temperature": 0.5}


def said(**more: Any) -> dict[str, Any]:
    """What a request says in chat completions."""
    body = {"model": "m", "input": "hi", **more}
    told: dict[str, Any] = json.loads(SAYS.request(json.dumps(body).encode()))
    return told


def messages(*items: dict[str, Any]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = said(input=list(items))["messages"]
    return told


def answer(body: bytes, **asked: Any) -> dict[str, Any]:
    told = SAYS.whole(body, json.dumps({**ASKED, **asked}).encode())
    Response.model_validate_json(told, strict=True)
    shown: dict[str, Any] = json.loads(told)
    return shown


def streamed(*pieces: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each checked and accumulated by the official SDK."""
    stream = SAYS.stream(json.dumps({**ASKED, "stream": True}).encode())
    check = TypeAdapter(ResponseStreamEvent)
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    told = []
    for piece in pieces:
        for name, shown in events_of(stream.feed(piece)):
            assert name == shown["type"]
            assert shown["sequence_number"] == len(told)
            state.handle_event(check.validate_python(shown))
            told.append(shown)
    return told


def test_plain_fields_have_their_words_in_chat_completions() -> None:
    assert said(
        instructions="Be brief.", max_output_tokens=9, stream=True, temperature=0.5,
        reasoning={"effort": "low", "summary": "auto"}, text={"verbosity": "low"}, user="u",
        top_logprobs=2, parallel_tool_calls=False, seed=3,
    ) == {
        "model": "m", "max_tokens": 9, "stream": True, "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"},
        ],
        "temperature": 0.5, "reasoning_effort": "low", "user": "u", "logprobs": True,
        "top_logprobs": 2, "parallel_tool_calls": False, "seed": 3,
    }  # fmt: skip


def test_hints_to_what_is_not_here_are_dropped() -> None:
    hints = {"store": True, "service_tier": "auto", "truncation": "auto", "metadata": {"a": "b"}}
    assert set(said(**hints)) == {"model", "messages"}
    assert "stream" not in said(include=["reasoning.encrypted_content"], background=False)


def test_items_of_one_answer_are_one_message() -> None:
    items = [
        {"role": "user", "content": "Weather?"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "time", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "noon"}],
        },
    ]
    calls = [
        {"id": key, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for key, name in (("c1", "weather"), ("c2", "time"))
    ]
    assert messages(*items) == [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm.",
            "tool_calls": calls,
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
    ]


def test_parts_of_messages_have_their_words() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "low"}
    parts = [{"type": "input_text", "text": "a"}, image]
    assert messages({"role": "developer", "content": "d"}, {"role": "user", "content": parts}) == [
        {"role": "system", "content": "d"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"},
                },
            ],
        },
    ]


def test_tools_and_their_choice_have_their_words() -> None:
    tools = [
        {"type": "function", "name": name, "parameters": {"type": "object"}, "strict": True}
        for name in ("f", "g")
    ]
    told = said(tools=tools, tool_choice={"type": "function", "name": "f"})
    assert told["tools"][0] == {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object"}, "strict": True},
    }
    assert told["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"name": "g"}]}
    told = said(tools=tools, tool_choice=allowed)
    assert [tool["function"]["name"] for tool in told["tools"]] == ["g"]
    assert told["tool_choice"] == "required"
    assert said(tools=tools, tool_choice="none")["tool_choice"] == "none"


def test_a_format_of_text_is_a_response_format() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    assert said(text={"format": form})["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }
    plain = said(text={"format": {"type": "json_object"}})
    assert plain["response_format"] == {"type": "json_object"}
    assert "response_format" not in said(text={"format": {"type": "text"}})


@pytest.mark.parametrize(
    ("more", "code", "where"),
    [
        ({"input": None}, "missing_parameter", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": 3}, "invalid_type", "input"),
        ({"model": 3}, "invalid_type", "model"),
        ({"previous_response_id": "resp_1"}, "not_supported", "previous_response_id"),
        ({"conversation": "c"}, "not_supported", "conversation"),
        ({"background": True}, "not_supported", "background"),
        ({"prompt": {"id": "p"}}, "not_supported", "prompt"),
        ({"tools": [{"type": "web_search"}]}, "not_supported", "tools[0].type"),
        ({"tool_choice": "some"}, "invalid_value", "tool_choice"),
        ({"tool_choice": {"type": "mcp"}}, "not_supported", "tool_choice.type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "not_supported", "input[0]"),
        ({"input": [{"type": "mcp_call"}]}, "not_supported", "input[0].type"),
        ({"input": [{"role": "tool", "content": ""}]}, "invalid_value", "input[0].role"),
        ({"input": [{"role": "user"}]}, "missing_parameter", "input[0].content"),
        ({"input": [{"type": "function_call"}]}, "missing_parameter", "input[0].call_id"),
        ({"text": {"format": {"type": "xml"}}}, "invalid_value", "text.format.type"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_place(
    more: dict[str, Any], code: str, where: str
) -> None:
    with pytest.raises(UnspeakableError) as caught:
        said(**more)
    assert (caught.value.code, caught.value.where) == (code, where)


def test_a_response_shows_its_request_again_and_stores_nothing() -> None:
    told = answer(whole({"role": "assistant", "content": "Hi."}), metadata={"a": "b"}, store=True)
    assert told["instructions"] == "Be brief."
    assert (told["temperature"], told["metadata"], told["store"]) == (0.5, {"a": "b"}, False)
    assert (told["status"], told["output"][0]["content"][0]["text"]) == ("completed", "Hi.")
    assert told["usage"]["total_tokens"] == 21


def test_an_answer_that_was_cut_off_is_incomplete() -> None:
    told = answer(whole({"role": "assistant", "content": "Hi"}, "length"))
    assert told["status"] == told["output"][0]["status"] == "incomplete"
    assert told["incomplete_details"] == {"reason": "max_output_tokens"}
    last = streamed(event({"content": "Hi"}, "length"), USAGE, DONE)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_stream_is_said_as_the_golden_file_has_it() -> None:
    stream = SAYS.stream(json.dumps({**ASKED, "stream": True}).encode())
    assert stream.feed(EVERYTHING).decode() == (GOLDEN / "responses.events").read_text()


def test_a_stream_ends_with_what_the_whole_answer_says() -> None:
    calls = [
        {"id": "call_1", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}},
        {"id": "call_2", "function": {"name": "time", "arguments": "{}"}},
    ]
    said = {
        "role": "assistant",
        "reasoning_content": "Let me see.",
        "content": "It is sunny.",
        "tool_calls": calls,
    }
    last = streamed(EVERYTHING)[-1]
    assert last["type"] == "response.completed"
    assert last["response"]["output"] == answer(whole(said, "tool_calls"))["output"]
    assert last["response"]["usage"]["input_tokens_details"]["cached_tokens"] == 8


def test_an_answer_of_no_words_is_a_message_all_the_same() -> None:
    last = streamed(event({"role": "assistant"}, "stop"), DONE)[-1]
    assert last["response"]["output"][0]["content"][0]["text"] == ""
    assert last["response"]["output"] == answer(whole({"content": ""}))["output"]


def test_log_probabilities_come_with_the_text() -> None:
    logprobs = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72], "top_logprobs": []}]}
    told = answer(whole({"content": "Hi"}, logprobs=logprobs))
    assert told["output"][0]["content"][0]["logprobs"] == logprobs["content"]


def test_a_stream_that_fails_says_so_in_the_response() -> None:
    error = {"message": "gone", "type": "server_error", "code": "replica_lost", "param": None}
    stream = SAYS.stream(b"")
    assert events_of(stream.fail(error))[0][1] == {
        "type": "error", "sequence_number": 0, "code": "replica_lost", "message": "gone",
        "param": None,
    }  # fmt: skip
    stream = SAYS.stream(b"")
    stream.feed(event({"content": "a"}))
    ((name, told),) = events_of(stream.fail(error))
    assert name == "response.failed"
    assert told["response"]["status"] == "failed"
    assert told["response"]["error"] == {"code": "replica_lost", "message": "gone"}


@pytest.mark.parametrize(
    "events",
    [
        DONE,
        b"data: nothing\n\n",
        event(call(0, arguments="{}")),
        event(call(1, "f")) + event(call(0, "g")),
        event(call(0, "f")) + event({"content": "a"}) + event(call(0, arguments="{}")),
    ],
)
def test_a_stream_of_no_known_shape_is_an_error_not_an_answer(events: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        SAYS.stream(b"").feed(events)
