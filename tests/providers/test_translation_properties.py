"""Whatever comes, a translation says it or refuses it; what goes both ways comes back the same."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.providers.anthropic import AnthropicCount, AnthropicMessages
from plimsoll.providers.protocol import Translation, UnspeakableError
from plimsoll.providers.responses import OpenAIResponses
from tests.providers.chunks import DONE, call, event, whole

TRANSLATIONS = [AnthropicMessages(), AnthropicCount(), OpenAIResponses()]
each = pytest.mark.parametrize("says", TRANSLATIONS, ids=lambda says: type(says).__name__)

WORDS = st.sampled_from(
    [
        "model", "messages", "input", "role", "content", "type", "text", "tools", "tool_choice",
        "system", "source", "name", "id", "tool_use_id", "call_id", "output", "arguments",
        "input_schema", "max_tokens", "stop_sequences", "thinking", "output_config", "format",
        "schema", "stream", "reasoning", "metadata", "instructions", "is_error", "include",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    [
        "user", "assistant", "system", "developer", "text", "image", "tool_use", "tool_result",
        "thinking", "document", "search_result", "base64", "url", "function", "function_call",
        "function_call_output", "message", "input_text", "output_text", "auto", "any", "tool",
        "json_schema", "json_object", "allowed_tools", "enabled",
    ]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | VALUES
ANY = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=30,
)
BODIES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("messages", "input", "tools", "tool_choice", "system"), ANY)
).map(lambda body: {"model": "m", "max_tokens": 3, **body})


def request(says: Translation, body: bytes) -> None:
    try:
        told = json.loads(says.request(body))
    except UnspeakableError as error:
        refused = (bool(error.message), error.code != UnspeakableError.default_code)
        assert all(refused), error  # noqa: PT017 -- it may also be said
        return
    assert isinstance(told["model"], str)
    assert told["messages"]
    assert all(isinstance(message["role"], str) for message in told["messages"])


@each
@given(data=st.binary(max_size=200) | ANY.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_said_or_refused(says: Translation, data: bytes) -> None:
    request(says, data)


@each
@given(body=BODIES)
def test_any_object_is_said_or_refused(says: Translation, body: dict[str, Any]) -> None:
    request(says, json.dumps(body).encode())


@each
def test_a_body_without_end_is_refused(says: Translation) -> None:
    request(says, b'{"model":"m","max_tokens":1,"messages":' + b"[" * 100_000)
    request(
        says, b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}],"input":"\\ud800"}'
    )
    request(says, b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}],'
            b'"input":"a","x":' + b"9" * 400 + b"}")  # fmt: skip


@each
@given(data=st.binary(max_size=200) | ANY.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_said_or_a_value_error(says: Translation, data: bytes) -> None:
    with contextlib.suppress(ValueError):
        json.loads(says.whole(data, b"{}"))
    with contextlib.suppress(ValueError):
        says.stream(b"{}").feed(b"data: " + data + b"\n\n")


TEXT = st.text(max_size=20)
NAMES = st.text("abc_", min_size=1, max_size=6)
CALLS = st.lists(
    st.tuples(NAMES, st.dictionaries(TEXT, TEXT | st.integers(-9, 9), max_size=3)), max_size=3
)


def chat_message(
    thought: str, text: str, calls: list[tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for number, (name, arguments) in enumerate(calls)
        ]
        message["content"] = text or None
    return message


def alike(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose arguments are decoded, for their spelling may change."""
    functions = [made["function"] for made in message.get("tool_calls", [])]
    calls = [(made["name"], json.loads(made["arguments"])) for made in functions]
    return {**message, "tool_calls": calls}


@given(thought=TEXT, text=TEXT, calls=CALLS)
def test_what_was_answered_as_anthropic_says_it_can_be_sent_back(
    thought: str, text: str, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    said = chat_message(thought, text, calls)
    says = AnthropicMessages()
    answer = json.loads(says.whole(whole(said)))
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": answer["content"]}]
    body = {"model": "m", "max_tokens": 3, "messages": turns}
    back = json.loads(says.request(json.dumps(body).encode()))["messages"][-1]
    assert alike(back) == alike(said)


@given(thought=TEXT, text=TEXT, calls=CALLS)
def test_what_was_answered_as_responses_say_it_can_be_sent_back(
    thought: str, text: str, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    said = chat_message(thought, text, calls)
    says = OpenAIResponses()
    answer = json.loads(says.whole(whole(said), b""))
    body = {"model": "m", "input": [{"role": "user", "content": "hi"}, *answer["output"]]}
    back = json.loads(says.request(json.dumps(body).encode()))["messages"][-1]
    assert alike(back) == alike(said)


@given(
    thoughts=st.lists(TEXT, max_size=3), texts=st.lists(TEXT, max_size=3), calls=CALLS,
    cut=st.integers(1, 5),
)  # fmt: skip
def test_streams_say_what_whole_answers_say(
    thoughts: list[str], texts: list[str], calls: list[tuple[str, dict[str, Any]]], cut: int
) -> None:
    said = chat_message("".join(thoughts), "".join(texts), calls)
    events = [event({"role": "assistant"})]
    events += [event({"reasoning_content": piece}) for piece in thoughts]
    events += [event({"content": piece}) for piece in texts]
    for number, made in enumerate(said.get("tool_calls", [])):
        arguments = made["function"]["arguments"]
        events.append(event(call(number, made["function"]["name"], "", made["id"])))
        pieces = (arguments[at : at + cut] for at in range(0, len(arguments), cut))
        events += [event(call(number, arguments=piece)) for piece in pieces]
    events += [event({}, "tool_calls" if calls else "stop"), DONE]
    stream = AnthropicMessages().stream(b"")
    shown = b"".join(map(stream.feed, events))
    assert assembled(shown) == json.loads(AnthropicMessages().whole(whole(said)))["content"]
    responses = OpenAIResponses().stream(b"")
    last = b"".join(map(responses.feed, events)).split(b"\n\n")[-2].partition(b"data: ")[2]
    wanted = json.loads(OpenAIResponses().whole(whole(said), b""))["output"]
    assert json.loads(last)["response"]["output"] == wanted


def assembled(shown: bytes) -> list[dict[str, Any]]:
    """The content of a stream of Anthropic's events."""
    blocks: list[dict[str, Any]] = []
    inputs: dict[int, str] = {}
    for block in shown.split(b"\n\n")[:-1]:
        said = json.loads(block.partition(b"data: ")[2])
        if said["type"] == "content_block_start":
            assert said["index"] == len(blocks)
            blocks.append(said["content_block"])
        elif said["type"] == "content_block_delta":
            assert said["index"] == len(blocks) - 1
            delta = said["delta"]
            kind = delta["type"].removesuffix("_delta")
            if kind == "input_json":
                number = said["index"]
                inputs[number] = inputs.get(number, "") + delta["partial_json"]
            else:
                blocks[-1][kind] += delta[kind]
    for number, text in inputs.items():
        blocks[number]["input"] = json.loads(text)
    return blocks
