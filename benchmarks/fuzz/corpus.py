"""Where mutations begin: right and wrong requests, answers and bodies."""

from __future__ import annotations

import json
from typing import Any

from tests.gateway.answer_cases import CASES
from tests.gateway.http_cases import ACCEPTED, REFUSED_AND_CLOSED
from tests.gateway.stub import get

USER = {"role": "user", "content": "What is MIG?"}
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "looks",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    },
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
CHAT: list[dict[str, Any]] = [
    {"model": "chat", "messages": [USER]},
    {"model": "chat", "messages": [USER], "stream": True, "max_tokens": 9},
    {
        "model": "talk",
        "messages": [USER],
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    {
        "model": "chat",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            USER,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "nothing"},
            {"role": "assistant", "content": "It"},
        ],
        "tools": [TOOL],
        "tool_choice": "auto",
        "temperature": 0.0,
        "n": 2,
        "stop": ["\n"],
        "seed": 1,
        "user": "me",
    },
    {
        "model": "chat",
        "messages": [USER],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        "guided_json": SCHEMA,
    },
]
COMPLETIONS: list[dict[str, Any]] = [
    {"model": "chat", "prompt": "MIG is", "max_tokens": 5, "logprobs": 1, "stream": True},
    {"model": "chat", "prompt": ["a", "b"], "echo": True, "suffix": "c"},
    {"model": "chat", "prompt": [1, 2, 3]},
]
EMBEDDINGS: list[dict[str, Any]] = [
    {"model": "embed", "input": ["a", "b"], "encoding_format": "float"},
    {"model": "embed", "input": "a"},
]
RESPONSES: list[dict[str, Any]] = [
    {"model": "chat", "input": "What is MIG?", "stream": True, "max_output_tokens": 9},
    {
        "model": "chat",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "nothing"},
        ],
        "tools": [{"type": "function", "name": "look", "parameters": SCHEMA, "strict": True}],
        "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}},
        "store": False,
        "reasoning": {"effort": "low"},
    },
]
MESSAGES: list[dict[str, Any]] = [
    {"model": "chat", "max_tokens": 9, "messages": [USER], "stream": True},
    {
        "model": "chat",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {"at": "b"}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "a", "content": "nothing"}],
            },
        ],
        "tools": [{"name": "look", "description": "looks", "input_schema": SCHEMA}],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["\n"],
        "metadata": {"user_id": "me"},
        "temperature": 0.0,
        "top_k": 5,
    },
]
BODIES: dict[bytes, list[dict[str, Any]]] = {
    b"/v1/chat/completions": CHAT,
    b"/v1/completions": COMPLETIONS,
    b"/v1/embeddings": EMBEDDINGS,
    b"/v1/responses": RESPONSES,
    b"/v1/messages": MESSAGES,
    b"/v1/messages/count_tokens": MESSAGES,
}
FIELDS = sorted({key for bodies in BODIES.values() for body in bodies for key in body})


def request(path: bytes, body: bytes, *rows: bytes) -> bytes:
    """A right request."""
    lines = b"".join(row + b"\r\n" for row in rows)
    head = b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n"
    return head % (path, lines, len(body)) + body


def _event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    event = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "chat"}
    return b"data: " + json.dumps({**event, "choices": [choice], **more}).encode() + b"\n\n"


def _call(arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}, **more}]}


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
EVENTS = [
    _event({"role": "assistant", "content": ""}),
    _event({"content": "A slice"}),
    _event({"content": " of \u20ac"}),
    _event({"reasoning_content": "Well"}),
    _event(_call("", id="a", type="function")),
    _event(_call('{"at"')),
    _event({}, "stop"),
    _event({}, "tool_calls"),
    _event({}, "length", usage=USAGE),
    b'data: {"choices":[],"usage":%b}\n\n' % json.dumps(USAGE).encode(),
    b'data: {"error":{"message":"no","code":500}}\n\n',
    b": ping\n\n",
    b"data: [DONE]\n\n",
]
ANSWERS: list[dict[str, Any]] = [
    {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "chat",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "A slice."},
            }
        ],
        "usage": USAGE,
    },
    {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "Well",
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": TOOL["function"]},
                    ],
                },
            }
        ],
    },
    {"object": "list", "data": [{"index": 0, "embedding": [0.1]}], "usage": {"prompt_tokens": 1}},
    {"tokens": [1, 2, 3]},
    {"error": {"message": "no", "type": "x", "code": 400}},
]
REQUESTS: list[bytes] = [
    *(data for _, data in REFUSED_AND_CLOSED.values()),
    *ACCEPTED.values(),
    get("/health"),
    get("/v1/models"),
    get("/v1/models/talk"),
    get("/nowhere"),
    *(
        request(path, json.dumps(body).encode())
        for path, bodies in BODIES.items()
        for body in bodies
    ),
]
ENGINE_SAYS: list[bytes] = [b"".join(case.parts)[:20_000] for case in CASES.values()]
