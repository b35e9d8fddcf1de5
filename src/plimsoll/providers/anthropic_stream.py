"""A streamed chat completion as the events of Anthropic's Messages API.

Source: the event types and the accumulation of the official SDK, `anthropic` 2.12.0, read on
2026-11-21: one content block after another, each started, filled and stopped; usage at the end,
cumulative.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from plimsoll.providers.anthropic_answer import (
    call_id,
    error_of_stream,
    first,
    stopped,
    usage,
)
from plimsoll.providers.anthropic_prefill import Repeated
from plimsoll.providers.chat_answer import (
    Answer,
    Choice,
    Message,
    ToolCall,
    Usage,
    ended,
)
from plimsoll.providers.chat_stream import ChatStream

_encode = msgspec.json.Encoder().encode


class AnthropicStream(ChatStream):
    """One streamed answer; see `providers/protocol.py`.

    prefill  words of the request that the answer goes on from, and that it does not show
    """

    __slots__ = (
        "_base", "_block", "_called", "_index", "_last", "_refused", "_repeated",
        "_started", "_tool", "_usage",
    )  # fmt: skip

    def __init__(self, prefill: str = "") -> None:
        super().__init__()
        self._repeated = Repeated(prefill)
        self._base = ""
        self._started = False
        self._index = -1  # of the latest content block
        self._block = ""  # text, thinking or tool_use while that block is open
        self._tool = -1  # number of the latest tool call
        self._called = self._refused = False
        self._last: Choice | None = None
        self._usage: Usage | None = None

    def fail(self, error: Mapping[str, object]) -> bytes:
        """See StreamTranslation."""
        self._over = True
        return _event("error", error_of_stream(error))

    def _take(self, answer: Answer) -> None:
        if answer.error is not None:
            self._write("error", error_of_stream(_mapping(answer.error)))
            self._over = True
            return
        if answer.usage is not None:
            self._usage = answer.usage
        choice = first(answer.choices)
        if choice is None:
            return
        if not self._started:
            self._start(answer)
        if choice.delta is not None:
            self._take_delta(choice.delta)
        if choice.finish_reason is not None:
            self._last = choice

    def _start(self, answer: Answer) -> None:
        self._started = True
        self._base = answer.bare_id
        self._write(
            "message_start",
            {
                "type": "message_start",
                "message": {
                    "id": f"msg_{self._base}",
                    "type": "message",
                    "role": "assistant",
                    "model": answer.model,
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": usage(self._usage),
                },
            },
        )

    def _take_delta(self, delta: Message) -> None:
        if delta.thought:
            self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            self._fill({"type": "thinking_delta", "thinking": delta.thought})
        if delta.content:
            self._say(self._repeated.without(delta.content))
        if delta.refusal:
            self._refused = True
            self._say(delta.refusal)
        for call in delta.tool_calls or ():
            self._take_call(call)

    def _say(self, text: str) -> None:
        if text:
            self._open("text", {"type": "text", "text": ""})
            self._fill({"type": "text_delta", "text": text})

    def _take_call(self, call: ToolCall) -> None:
        number = self._tool if call.index is None else call.index
        if number != self._tool or not self._called:
            if number < self._tool or not call.function.name:
                raise ValueError("a piece of a tool call that has not begun, or has ended")
            self._close()
            self._called = True
            self._tool = number
            use = {
                "type": "tool_use",
                "id": call.id or call_id(self._base, number),
                "name": call.function.name,
                "input": {},
            }
            self._open("tool_use", use)
        arguments = call.function.arguments
        if isinstance(arguments, dict):
            arguments = _encode(arguments).decode()
        if arguments:
            if self._block != "tool_use":
                raise ValueError("a piece of a tool call that has ended")
            self._fill({"type": "input_json_delta", "partial_json": arguments})

    def _open(self, kind: str, block: dict[str, Any]) -> None:
        if self._block == kind:
            return
        self._close()
        self._block = kind
        self._index += 1
        self._write(
            "content_block_start",
            {"type": "content_block_start", "index": self._index, "content_block": block},
        )

    def _fill(self, delta: dict[str, str]) -> None:
        self._write(
            "content_block_delta",
            {"type": "content_block_delta", "index": self._index, "delta": delta},
        )

    def _close(self) -> None:
        if self._block:
            self._block = ""
            self._write("content_block_stop", {"type": "content_block_stop", "index": self._index})

    def _finish(self) -> None:
        if not self._started:
            raise ValueError("a stream without an answer")
        self._say(self._repeated.end())
        self._close()
        last = self._last or Choice()
        end = ended(last.finish_reason, called=self._called, refused=self._refused)
        told = {"type": "message_delta", "delta": stopped(last, end), "usage": usage(self._usage)}
        self._write("message_delta", told)
        self._write("message_stop", {"type": "message_stop"})
        self._over = True

    def _write(self, name: str, data: dict[str, Any]) -> None:
        self._out += _event(name, data)


def _event(name: str, data: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(data))


def _mapping(error: object) -> Mapping[str, object]:
    return error if isinstance(error, dict) else {"message": str(error)}
