"""OpenAI's Responses API over chat completions, without a memory: nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from plimsoll.providers.responses_answer import response
from plimsoll.providers.responses_request import chat_request
from plimsoll.providers.responses_stream import ResponsesStream

_encode = msgspec.json.Encoder().encode


class OpenAIResponses:
    """`/v1/responses`; see `providers/protocol.py`."""

    def request(self, body: bytes) -> bytes:
        """See Translation."""
        return chat_request(body)

    def whole(self, answer: bytes, body: bytes = b"") -> bytes:
        """See Translation."""
        return response(answer, body)

    def stream(self, body: bytes) -> ResponsesStream:
        """See Translation."""
        return ResponsesStream(body)

    def error(self, status: int, error: Mapping[str, object]) -> bytes:
        """See Translation."""
        shown = {name: error.get(name) for name in ("message", "type", "param", "code")}
        return _encode({"error": shown})
