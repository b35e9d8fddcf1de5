"""Streams of chat completions as engines write them, for the tests of translations."""

from __future__ import annotations

import json
from typing import Any

DONE = b"data: [DONE]\n\n"
HEAD = {
    "id": "chatcmpl-abc",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": "m",
}


def event(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    if choices and "stop_reason" in more:
        choices[0]["stop_reason"] = more.pop("stop_reason")
    return b"data: " + json.dumps({**HEAD, "choices": choices, **more}).encode() + b"\n\n"


USAGE = event(
    None,
    usage={
        "prompt_tokens": 12,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
)


def call(index: int, name: str = "", arguments: str = "", call_id: str = "") -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    known = {"id": call_id, "type": "function"} if call_id else {}
    return {"tool_calls": [{"index": index, **known, "function": function}]}


EVERYTHING = (
    event({"role": "assistant", "content": None})
    + event({"reasoning_content": "Let me"})
    + event({"reasoning_content": " see."})
    + event({"content": "It is"})
    + event({"content": " sunny."})
    + event(call(0, "weather", "", "call_1"))
    + event(call(0, arguments='{"city":'))
    + event(call(0, arguments='"Ulm"}'))
    + event(call(1, "time", "{}", "call_2"))
    + event({}, "tool_calls")
    + USAGE
    + DONE
)
"""A thought, a text and two calls, with usage."""


def whole(message: dict[str, Any], finish: str = "stop", **more: Any) -> bytes:
    """A whole chat completion; `more` is of its choice."""
    choice = {"index": 0, "message": message, "finish_reason": finish, **more}
    usage = {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21}
    return json.dumps(
        {**HEAD, "object": "chat.completion", "choices": [choice], "usage": usage}
    ).encode()


def events_of(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Named events with what they say."""
    told = []
    for block in data.split(b"\n\n")[:-1]:
        name, payload = block.split(b"\n")
        said = json.loads(payload.removeprefix(b"data: "))
        told.append((name.removeprefix(b"event: ").decode(), said))
    return told
