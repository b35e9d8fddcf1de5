"""Chat completions as answers of Anthropic's Messages API: whole ones, usage, errors.

Source: the types and exceptions of the official SDK, `anthropic` 2.12.0, read on 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from plimsoll.providers.chat_answer import Choice, Ended, ToolCall, Usage, ended, read

_encode = msgspec.json.Encoder().encode
_decode_input = msgspec.json.Decoder(dict[str, Any]).decode
_REASONS: Mapping[Ended, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "refusal",
}
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_TYPES = {
    "invalid_request_error": "invalid_request_error",
    "authentication_error": "authentication_error",
    "permission_error": "permission_error",
    "rate_limit_error": "rate_limit_error",
}


def message(answer: bytes, prefill: str = "") -> bytes:
    """A whole chat completion as a Message. Raises ValueError.

    prefill  words of the request that the answer goes on from, and that it does not show
    """
    whole = read(answer)
    choice = first(whole.choices)
    said = choice.message if choice is not None else None
    if choice is None or said is None:
        raise ValueError("a chat completion without a message")
    calls = said.tool_calls or []
    content: list[dict[str, Any]] = []
    if said.thought:
        content.append({"type": "thinking", "thinking": said.thought, "signature": ""})
    if text := (said.content or "").removeprefix(prefill) or said.refusal:
        content.append({"type": "text", "text": text})
    end = ended(choice.finish_reason, called=bool(calls), refused=bool(said.refusal))
    content += _tool_uses(calls, cut=end == "length", base=whole.bare_id)
    return _encode(
        {
            "id": f"msg_{whole.bare_id}",
            "type": "message",
            "role": "assistant",
            "model": whole.model,
            "content": content,
            **stopped(choice, end),
            "usage": usage(whole.usage),
        }
    )


def first(choices: list[Choice]) -> Choice | None:
    """The first answer; this API knows no others."""
    return next((choice for choice in choices if choice.index == 0), None)


def _tool_uses(calls: list[ToolCall], *, cut: bool, base: str) -> list[dict[str, Any]]:
    """The calls as blocks. One that was cut off in mid-arguments is left out: it has no input."""
    uses = []
    for number, call in enumerate(calls):
        arguments = call.function.arguments
        try:
            given = _decode_input(arguments) if isinstance(arguments, str) and arguments else {}
        except (msgspec.DecodeError, RecursionError) as error:
            if cut:
                continue
            raise ValueError("a tool call whose arguments are not a JSON object") from error
        uses.append(
            {
                "type": "tool_use",
                "id": call.id or call_id(base, number),
                "name": call.function.name or "",
                "input": arguments if isinstance(arguments, dict) else given,
            }
        )
    return uses


def call_id(base: str, number: int) -> str:
    """An id for a tool call that the engine gave none."""
    return f"toolu_{base}_{number}"


def stopped(choice: Choice, end: Ended) -> dict[str, Any]:
    """`stop_reason` and `stop_sequence`.

    Which of the caller's own stop strings it was, only some engines say; after the others it is
    `end_turn`.
    """
    sequence = choice.stop_string if end == "stop" else None
    reason = "stop_sequence" if sequence is not None else _REASONS[end]
    return {"stop_reason": reason, "stop_sequence": sequence}


def usage(given: Usage | None) -> dict[str, Any]:
    """Tokens as this API counts them: `input_tokens` are those that were not cached."""
    if given is None:
        return {"input_tokens": 0, "output_tokens": 0}
    cached = given.cached
    told: dict[str, Any] = {
        "input_tokens": max(0, given.prompt_tokens - (cached or 0)),
        "output_tokens": given.completion_tokens or 0,
    }
    if cached is not None:
        told["cache_creation_input_tokens"] = 0
        told["cache_read_input_tokens"] = cached
    if given.reasoning is not None:
        told["output_tokens_details"] = {"thinking_tokens": given.reasoning}
    return told


def error_body(status: int, error: Mapping[str, object]) -> bytes:
    """An error before the answer; `request_id` is shown when `error` has it."""
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    return _encode(_error(kind, error))


def error_of_stream(error: Mapping[str, object]) -> dict[str, Any]:
    """An error inside a stream, where no status can say what kind it is."""
    return _error(_OPENAI_TYPES.get(str(error.get("type")), "api_error"), error)


def _error(kind: str, error: Mapping[str, object]) -> dict[str, Any]:
    told: dict[str, Any] = {"type": kind, "message": str(error.get("message") or "")}
    details = {"error_code": error.get("code"), "param": error.get("param")}
    known = {name: value for name, value in details.items() if value is not None}
    if known:
        told["details"] = known
    request_id = error.get("request_id")
    whose = {"request_id": request_id} if request_id is not None else {}
    return {"type": "error", "error": told, **whose}
