from __future__ import annotations

import json
from typing import Any

import pytest

from plimsoll.providers.anthropic import AnthropicCount, AnthropicMessages
from plimsoll.providers.protocol import UnspeakableError

USER = {"role": "user", "content": "hi"}


def said(**more: Any) -> dict[str, Any]:
    """What a request says in chat completions."""
    body = {"model": "m", "max_tokens": 9, "messages": [USER], **more}
    told: dict[str, Any] = json.loads(AnthropicMessages().request(json.dumps(body).encode()))
    return told


def messages(*given: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = said(messages=list(given), **more)["messages"]
    return told


def refusal(**more: Any) -> UnspeakableError:
    with pytest.raises(UnspeakableError) as caught:
        said(**more)
    return caught.value


def test_plain_fields_have_their_words_in_chat_completions() -> None:
    assert said(
        stop_sequences=["END"], temperature=0.5, top_p=0.9, top_k=7, stream=True,
        metadata={"user_id": "u-1"},
    ) == {
        "model": "m", "messages": [USER], "max_tokens": 9, "stop": ["END"], "stream": True,
        "stream_options": {"include_usage": True}, "user": "u-1", "temperature": 0.5,
        "top_p": 0.9, "top_k": 7,
    }  # fmt: skip


def test_fields_of_other_names_pass_through() -> None:
    assert said(seed=3, min_p=0.1)["seed"] == 3
    assert "service_tier" not in said(service_tier="auto", cache_control={"type": "ephemeral"})


def test_a_system_prompt_is_a_text_or_blocks() -> None:
    blocks = [
        {"type": "text", "text": "One.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Two."},
    ]
    assert said(system="Be brief.")["messages"][0] == {"role": "system", "content": "Be brief."}
    assert said(system=blocks)["messages"][0] == {"role": "system", "content": "One.\n\nTwo."}
    assert said(system="")["messages"] == [USER]


def test_a_system_message_keeps_its_place() -> None:
    given = messages(USER, {"role": "system", "content": "Be brief."}, USER)
    assert [message["role"] for message in given] == ["user", "system", "user"]


def test_messages_of_one_role_that_follow_each_other_are_one_turn() -> None:
    assert messages(USER, {"role": "user", "content": "there"}) == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}],
        }
    ]


def test_a_turn_with_a_tool_is_a_call_and_its_answer() -> None:
    assistant = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "x"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Ulm"}},
        ],
    }
    user = {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
            {"type": "text", "text": "Well?"},
        ],
    }
    assert messages(USER, assistant, user) == [
        USER,
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {
                    "id": "t1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"Ulm"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "sunny"},
        {"role": "user", "content": "Well?"},
    ]


def test_a_failed_tool_says_so_and_its_pictures_follow() -> None:
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"},
    }
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "is_error": True,
        "content": [{"type": "text", "text": "no"}, picture],
    }
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert messages({"role": "user", "content": [result]}) == [
        {"role": "tool", "tool_call_id": "t1", "content": "Error: no"},
        {"role": "user", "content": [part]},
    ]


def test_pictures_and_documents_are_parts() -> None:
    blocks = [
        {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
        {
            "type": "document",
            "title": "T",
            "source": {"type": "text", "media_type": "text/plain", "data": "body"},
        },
        {
            "type": "search_result",
            "title": "S",
            "source": "https://s",
            "content": [{"type": "text", "text": "found"}],
        },
    ]
    assert messages({"role": "user", "content": blocks})[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
        {"type": "text", "text": "T\nbody"},
        {"type": "text", "text": "S\nhttps://s\nfound"},
    ]


def test_tools_are_functions() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"name": "weather", "description": "d", "input_schema": schema, "strict": True}
    assert said(tools=[{**tool, "cache_control": {"type": "ephemeral"}}])["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "d",
                "parameters": schema,
                "strict": True,
            },
        }
    ]
    assert "tools" not in said(tools=[])


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_a_choice_of_tool_has_its_word(choice: dict[str, Any], wanted: object) -> None:
    assert said(tool_choice=choice)["tool_choice"] == wanted
    alone = said(tool_choice={**choice, "disable_parallel_tool_use": True})
    assert alone["parallel_tool_calls"] is False


@pytest.mark.parametrize("where", ["output_config", "output_format"])
def test_structured_output_is_a_response_format(where: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    given = {"output_config": {"format": form, "effort": "low"}} if where == "output_config" else {}
    told = said(**(given or {"output_format": form}))
    assert told["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert told["response_format"]["type"] == "json_schema"
    assert told.get("reasoning_effort") == ("low" if given else None)


def test_thinking_is_said_to_the_chat_template() -> None:
    on = said(thinking={"type": "enabled", "budget_tokens": 1024}, chat_template_kwargs={"a": 1})
    assert on["chat_template_kwargs"] == {"enable_thinking": True, "a": 1}
    assert said(thinking={"type": "disabled"})["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in said(thinking={"type": "adaptive"})


@pytest.mark.parametrize(
    ("more", "code", "where"),
    [
        ({"max_tokens": None}, "missing_parameter", "max_tokens"),
        ({"max_tokens": "9"}, "invalid_type", "max_tokens"),
        ({"max_tokens": -1}, "invalid_value", "max_tokens"),
        ({"model": None}, "missing_parameter", "model"),
        ({"messages": None}, "missing_parameter", "messages"),
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": [{"role": "user"}]}, "missing_parameter", "messages[0].content"),
        ({"messages": [{"role": "tool", "content": ""}]}, "invalid_value", "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "invalid_type", "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]},
            "not_supported",
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "missing_parameter",
            "messages[0].content[0].text",
        ),
        ({"tools": [{"type": "web_search_20250305"}]}, "not_supported", "tools[0].type"),
        ({"tools": [{"name": "f"}]}, "missing_parameter", "tools[0].input_schema"),
        ({"tool_choice": {"type": "some"}}, "invalid_value", "tool_choice.type"),
        ({"mcp_servers": [{"name": "x"}]}, "not_supported", "mcp_servers"),
        ({"container": "c"}, "not_supported", "container"),
        ({"output_format": {"type": "xml"}}, "invalid_value", "output_format.type"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_with_its_place(
    more: dict[str, Any], code: str, where: str
) -> None:
    error = refusal(**more)
    assert (error.code, error.where) == (code, where)


def test_a_count_needs_no_limit_and_is_not_streamed() -> None:
    body = {"model": "m", "messages": [USER], "stream": True, "system": "s"}
    told = json.loads(AnthropicCount().request(json.dumps(body).encode()))
    assert told == {"model": "m", "messages": [{"role": "system", "content": "s"}, USER]}
