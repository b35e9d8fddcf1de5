"""A streamed chat completion as the events of OpenAI's Responses API.

Source: the event types of the official SDK, `openai` 3.54.0, read on 2026-11-21: an item is
added, its parts are added, filled and done, and it is done, one item after another; every event
has a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from plimsoll.providers.chat_answer import (
    Answer,
    Choice,
    ToolCall,
    Usage,
    ended,
)
from plimsoll.providers.chat_stream import ChatStream
from plimsoll.providers.responses_answer import (
    Item,
    Reply,
    arguments_of,
    refusal_part,
    status_of,
    text_part,
)

_encode = msgspec.json.Encoder().encode


class ResponsesStream(ChatStream):
    """One streamed answer; see `providers/protocol.py`."""

    __slots__ = (
        "_body", "_finish_reason", "_item", "_kind", "_logprobs", "_number",
        "_pieces", "_reply", "_tool", "_usage",
    )  # fmt: skip

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body
        self._number = 0  # of the next event
        self._reply: Reply | None = None
        self._item: Item = {}
        self._kind = ""  # reasoning, text, refusal or call while that item is open
        self._pieces: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._tool = -1  # number of the latest tool call
        self._finish_reason: str | None = None
        self._usage: Usage | None = None

    def fail(self, error: Mapping[str, object]) -> bytes:
        """See StreamTranslation."""
        self._fail(error)
        return self._flushed()

    def _fail(self, error: Mapping[str, object]) -> None:
        self._over = True
        told = {"code": error.get("code"), "message": str(error.get("message") or "")}
        if self._reply is None:
            self._write("error", {**told, "param": error.get("param")})
        else:
            told["code"] = told["code"] or "server_error"
            self._write(
                "response.failed",
                {"response": self._reply.shown("failed", error=told, usage=self._usage)},
            )

    def _take(self, answer: Answer) -> None:
        if answer.error is not None:
            error = answer.error
            self._fail(error if isinstance(error, dict) else {"message": str(error)})
            return
        if answer.usage is not None:
            self._usage = answer.usage
        for choice in answer.choices:
            if choice.index == 0:
                self._take_choice(answer, choice)

    def _take_choice(self, answer: Answer, choice: Choice) -> None:
        reply = self._reply
        if reply is None:
            reply = self._reply = Reply(self._body, answer)
            for name in ("response.created", "response.in_progress"):
                self._write(name, {"response": reply.shown("in_progress")})
        delta = choice.delta
        if delta is not None:
            if delta.thought:
                self._open(reply, "reasoning")
                self._fill("response.reasoning_text.delta", delta.thought)
            if delta.content:
                self._open(reply, "text")
                logprobs = (choice.logprobs.content if choice.logprobs else None) or []
                self._logprobs += logprobs
                self._fill("response.output_text.delta", delta.content, logprobs=logprobs)
            if delta.refusal:
                self._open(reply, "refusal")
                self._fill("response.refusal.delta", delta.refusal)
            for call in delta.tool_calls or ():
                self._take_call(reply, call)
        if choice.finish_reason is not None:
            self._finish_reason = choice.finish_reason

    def _take_call(self, reply: Reply, call: ToolCall) -> None:
        number = max(self._tool, 0) if call.index is None else call.index
        if number != self._tool:
            if number < self._tool or not call.function.name:
                raise ValueError("a piece of a tool call that has not begun, or has ended")
            self._close(reply)
            self._tool = number
            self._add(reply, "call", reply.call(call, "", "in_progress"))
        piece = arguments_of(call)
        if piece:
            if self._kind != "call":
                raise ValueError("a piece of a tool call that has ended")
            self._pieces.append(piece)
            self._write(
                "response.function_call_arguments.delta",
                {"item_id": self._item["id"], "output_index": len(reply.items), "delta": piece},
            )

    def _open(self, reply: Reply, kind: str) -> None:
        if self._kind == kind:
            return
        self._close(reply)
        item = (
            reply.reasoning("", "in_progress")
            if kind == "reasoning"
            else reply.message([], "in_progress")
        )
        self._add(reply, kind, item)
        self._part("response.content_part.added", _part(kind, "", []))

    def _add(self, reply: Reply, kind: str, item: Item) -> None:
        self._kind = kind
        self._item = item
        self._pieces = []
        self._logprobs = []
        self._write("response.output_item.added", {"output_index": len(reply.items), "item": item})

    def _fill(self, name: str, piece: str, **more: Any) -> None:
        self._pieces.append(piece)
        self._write(name, {**self._place(), "delta": piece, **more})

    def _close(self, reply: Reply, status: str = "completed") -> None:
        """The open item is done: its text, its part, itself."""
        kind, self._kind = self._kind, ""
        if not kind:
            return
        item, text = self._item, "".join(self._pieces)
        index = len(reply.items)
        if kind == "call":
            item = {**item, "arguments": text, "status": status}
            self._write(
                "response.function_call_arguments.done",
                {
                    "item_id": item["id"], "output_index": index, "name": item["name"],
                    "arguments": text,
                },
            )  # fmt: skip
        else:
            part = _part(kind, text, self._logprobs)
            done: dict[str, Any] = {**self._place(), "text": text}
            if kind == "text":
                done["logprobs"] = self._logprobs
            elif kind == "refusal":
                done = {**self._place(), "refusal": text}
            self._write(_DONE[kind], done)
            self._part("response.content_part.done", part)
            item = {**item, "content": [part], "status": status}
        self._write("response.output_item.done", {"output_index": index, "item": item})
        reply.items.append(item)

    def _finish(self) -> None:
        reply = self._reply
        if reply is None:
            raise ValueError("a stream without an answer")
        end = ended(self._finish_reason, called=self._tool >= 0, refused=False)
        status = status_of(end)
        if self._kind in ("", "reasoning") and all(
            item["type"] == "reasoning" for item in reply.items
        ):
            self._open(reply, "text")  # an answer of no words is a message all the same
        self._close(reply, status)
        told = reply.shown(status, end=end, usage=self._usage)
        self._write(f"response.{status}", {"response": told})
        self._over = True

    def _place(self) -> dict[str, Any]:
        assert self._reply is not None
        return {
            "item_id": self._item["id"],
            "output_index": len(self._reply.items),
            "content_index": 0,
        }

    def _part(self, name: str, part: dict[str, Any]) -> None:
        self._write(name, {**self._place(), "part": part})

    def _write(self, name: str, data: dict[str, Any]) -> None:
        told = {"type": name, "sequence_number": self._number, **data}
        self._number += 1
        self._out += b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(told))


_DONE = {
    "reasoning": "response.reasoning_text.done",
    "text": "response.output_text.done",
    "refusal": "response.refusal.done",
}


def _part(kind: str, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    if kind == "refusal":
        return refusal_part(text)
    return text_part(text, logprobs)
