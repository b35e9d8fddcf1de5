"""Chat completions as responses of OpenAI's Responses API.

Source: the types of the official SDK, `openai` 3.54.0, read on 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from plimsoll.providers.chat_answer import Answer, Ended, ToolCall, Usage, ended, read
from plimsoll.providers.json_fields import decode
from plimsoll.providers.protocol import UnspeakableError

_encode = msgspec.json.Encoder().encode
Item = dict[str, Any]
_SHOWN_AGAIN: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}
"""What a response shows of its request -> what it shows when the request did not say."""
_CUT: Mapping[Ended, str] = {"length": "max_output_tokens", "refusal": "content_filter"}


class Reply:
    """One response while it is made.

    item_id  of items is made from the engine's own id, so nothing here is by chance
    """

    __slots__ = ("_base", "_head", "items")

    def __init__(self, body: bytes, answer: Answer) -> None:
        self._base = answer.bare_id
        self.items: list[Item] = []
        self._head: dict[str, Any] = {
            "id": f"resp_{self._base}",
            "object": "response",
            "created_at": int(answer.created),
            "model": answer.model,
            "background": False,
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            **_shown_again(body),
        }

    def item_id(self, prefix: str) -> str:
        """An id for the item that comes next."""
        return f"{prefix}_{self._base}_{len(self.items)}"

    def call(self, call: ToolCall, arguments: str, status: str) -> Item:
        """A call of a tool as an item, without keeping it."""
        item_id = self.item_id("fc")
        return {
            "type": "function_call",
            "id": item_id,
            "call_id": call.id or f"call_{item_id}",
            "name": call.function.name or "",
            "arguments": arguments,
            "status": status,
        }

    def reasoning(self, text: str, status: str) -> Item:
        """A thought as an item, without keeping it."""
        content = [{"type": "reasoning_text", "text": text}] if text else []
        return {
            "type": "reasoning",
            "id": self.item_id("rs"),
            "summary": [],
            "content": content,
            "status": status,
        }

    def message(self, content: list[dict[str, Any]], status: str) -> Item:
        """What the model said as an item, without keeping it."""
        return {
            "type": "message",
            "id": self.item_id("msg"),
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def shown(
        self, status: str, *, end: Ended | None = None, usage: Usage | None = None,
        error: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The response as it is now.

        end    why it is over, when the engine said so
        error  why it failed, with code and message
        """
        cut = _CUT.get(end) if end is not None and status == "incomplete" else None
        return {
            **self._head,
            "status": status,
            "output": self.items,
            "error": error,
            "incomplete_details": {"reason": cut} if cut else None,
            "usage": _usage(usage) if usage is not None else None,
        }


def response(answer: bytes, body: bytes) -> bytes:
    """A whole chat completion as a Response to the request in `body`. Raises ValueError."""
    whole = read(answer)
    choice = next((choice for choice in whole.choices if choice.index == 0), None)
    said = choice.message if choice is not None else None
    if choice is None or said is None:
        raise ValueError("a chat completion without a message")
    calls = said.tool_calls or []
    end = ended(choice.finish_reason, called=bool(calls), refused=False)
    status = status_of(end)
    reply = Reply(body, whole)
    if said.thought:
        reply.items.append(reply.reasoning(said.thought, "completed"))
    logprobs = choice.logprobs.content if choice.logprobs is not None else None
    content = []
    if said.content or not (calls or said.refusal):
        content.append(text_part(said.content or "", logprobs or []))
    if said.refusal:
        content.append(refusal_part(said.refusal))
    if content:
        reply.items.append(reply.message(content, status))
    for call in calls:
        reply.items.append(reply.call(call, arguments_of(call), status))
    return _encode(reply.shown(status, end=end, usage=whole.usage))


def status_of(end: Ended) -> str:
    """The status of a response that ended so."""
    return "incomplete" if end in _CUT else "completed"


def text_part(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Text of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def refusal_part(text: str) -> dict[str, Any]:
    """The model's own refusal in a message."""
    return {"type": "refusal", "refusal": text}


def arguments_of(call: ToolCall) -> str:
    """The arguments of a call, or a piece of them, as text."""
    arguments = call.function.arguments
    return _encode(arguments).decode() if isinstance(arguments, dict) else arguments or ""


def _usage(usage: Usage) -> dict[str, Any]:
    output = usage.completion_tokens or 0
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached or 0, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": usage.prompt_tokens + output,
    }


def _shown_again(body: bytes) -> dict[str, Any]:
    try:
        given = decode(body).rest if body else {}
    except UnspeakableError:  # it was read before; a caller without its body sees no more
        given = {}
    shown = dict(_SHOWN_AGAIN)
    shown.update({name: given[name] for name in shown if given.get(name) is not None})
    return shown
