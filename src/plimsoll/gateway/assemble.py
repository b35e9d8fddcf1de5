"""A whole answer out of the events of a streamed one.

Some engines notice a caller that left only when they write. They are asked for a stream, and
what a caller who wanted one answer gets is put together here, by the shapes of OpenAI's API.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.gateway.events import EngineEventError, EventSplitter
from plimsoll.gateway.json_splice import put
from plimsoll.providers.server_events import payloads

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def as_stream(body: bytes) -> bytes:
    """The same request, asking for a stream that ends with its usage. Every other field's
    bytes stay as they are.
    """
    fields = _decode_fields(body)
    options: dict[str, Any] = {}
    if "stream_options" in fields:
        given = _decode(fields["stream_options"])
        options = given if isinstance(given, dict) else {}
    return put(
        body,
        {"stream": b"true", "stream_options": _encode({**options, "include_usage": True})},
    )


class Assembler:
    """Takes the events of one streamed answer and makes the whole one.

    done  whether `[DONE]` was seen
    """

    def __init__(self) -> None:
        self.done = False
        self._splitter = EventSplitter()
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    @property
    def begun(self) -> bool:
        """Whether any choice has come."""
        return bool(self._choices)

    @property
    def held(self) -> int:
        """Bytes of an event that has not ended."""
        return len(self._splitter.held)

    def feed(self, data: bytes) -> None:
        """Take more bytes. Raises EngineEventError, and ValueError when an event is no JSON
        object of the expected shape.
        """
        for payload in payloads(self._splitter.whole(data)):
            if payload == b"[DONE]":
                self.done = True
            else:
                try:
                    self._take(_decode(payload))
                except (TypeError, KeyError) as error:
                    raise ValueError("an event of no known shape") from error

    def body(self) -> bytes:
        """The whole answer as JSON. Raises ValueError when no choice came."""
        if not self._choices:
            raise ValueError("a stream without choices")
        top = dict(self._top)
        if top.get("object") == "chat.completion.chunk":
            top["object"] = "chat.completion"
        top["choices"] = [_finished(self._choices[index]) for index in sorted(self._choices)]
        return _encode(top)

    def _take(self, event: object) -> None:
        if not isinstance(event, dict):
            raise ValueError("an event that is not an object")  # noqa: TRY004 -- input, not a type
        if "prompt_progress" in event:
            return
        if event.get("error") is not None:
            raise EngineEventError(event["error"])
        for choice in _list(event.get("choices")):
            self._take_choice(choice)
        for key, value in event.items():
            if key != "choices" and (value is not None or key not in self._top):
                self._top[key] = value

    def _take_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        if not isinstance(index, int):
            raise ValueError("a choice without a number")  # noqa: TRY004 -- input, not a type
        into = self._choices.setdefault(index, {"index": index})
        for key, value in choice.items():
            if key == "delta":
                _take_delta(into.setdefault("message", {"role": "assistant"}), value)
            elif key == "text":
                into["text"] = into.get("text", "") + _text(value)
            elif key == "logprobs":
                into["logprobs"] = _joined(into.get("logprobs"), value)
            elif key != "index" and (value is not None or key not in into):
                into[key] = value


def _take_delta(message: dict[str, Any], delta: object) -> None:
    if delta is None:
        return
    if not isinstance(delta, dict):
        raise ValueError("a delta that is not an object")  # noqa: TRY004 -- input, not a type
    for key, value in delta.items():
        if key == "tool_calls":
            for call in _list(value):
                _take_tool_call(message.setdefault("tool_calls", []), call)
        elif key == "function_call" and isinstance(value, dict):
            _take_function(message.setdefault("function_call", {}), value)
        elif key == "role":
            message["role"] = value or message["role"]
        elif isinstance(value, str):
            message[key] = (message.get(key) or "") + value
        elif isinstance(value, list):
            message[key] = [*(message.get(key) or ()), *value]
        elif value is not None or key not in message:
            message[key] = value


def _take_tool_call(calls: list[dict[str, Any]], delta: dict[str, Any]) -> None:
    index = delta.get("index", len(calls))
    call = next((known for known in calls if known["index"] == index), None)
    if call is None:
        call = {"index": index, "type": "function", "function": {"name": "", "arguments": ""}}
        calls.append(call)
    for key, value in delta.items():
        if key == "function" and isinstance(value, dict):
            _take_function(call["function"], value)
        elif key != "index" and value is not None:
            call[key] = value


def _take_function(function: dict[str, Any], delta: dict[str, Any]) -> None:
    if delta.get("name"):
        function["name"] = delta["name"]
    function["arguments"] = function.get("arguments", "") + _text(delta.get("arguments"))


def _joined(old: object, new: object) -> object:
    """Log probabilities of two pieces of a text as those of both."""
    if isinstance(old, list) and isinstance(new, list):
        return [*old, *new]
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _joined(old.get(key), value) for key, value in new.items()}}
    return old if new is None else new


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice as a whole answer shows it: tool calls in order and without their numbers."""
    message = choice.get("message")
    if message is not None:
        message.setdefault("content", None)
        calls = message.get("tool_calls")
        if calls:
            calls.sort(key=lambda call: call["index"])
            message["tool_calls"] = [
                {key: value for key, value in call.items() if key != "index"} for call in calls
            ]
    choice.setdefault("finish_reason", None)
    return choice


def _list(value: object) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("a list of objects was expected")
    return value


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("text was expected")  # noqa: TRY004 -- input, not a type
    return value
