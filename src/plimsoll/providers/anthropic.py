"""Anthropic's Messages API over chat completions: requests, answers, streams, errors.

A caller need not send `anthropic-version`: one version of the API is spoken, that of the
official SDK `anthropic` 2.12.0 (2026-11-21).
"""

from __future__ import annotations

from collections.abc import Mapping

from plimsoll.providers.anthropic_answer import error_body, message
from plimsoll.providers.anthropic_prefill import prefill_of
from plimsoll.providers.anthropic_request import chat_request, count_request
from plimsoll.providers.anthropic_stream import AnthropicStream


class AnthropicMessages:
    """`/v1/messages`; see `providers/protocol.py`."""

    def request(self, body: bytes) -> bytes:
        """See Translation."""
        return chat_request(body)

    def whole(self, answer: bytes, body: bytes = b"") -> bytes:
        """See Translation."""
        return message(answer, prefill_of(body))

    def stream(self, body: bytes) -> AnthropicStream:
        """See Translation."""
        return AnthropicStream(prefill_of(body))

    def error(self, status: int, error: Mapping[str, object]) -> bytes:
        """See Translation."""
        return error_body(status, error)


class AnthropicCount(AnthropicMessages):
    """`/v1/messages/count_tokens`: the same requests, of which only the prompt is asked."""

    def request(self, body: bytes) -> bytes:
        """See Translation."""
        return count_request(body)

    def whole(self, answer: bytes, body: bytes = b"") -> bytes:
        """The count itself, `{"input_tokens": N}`, which is no chat completion."""
        return answer
