"""What a translation between two APIs says: the request one way, answer and errors the other.

Inside, Plimsoll speaks OpenAI's chat completions; a translation lets a caller speak another API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from plimsoll.errors import InputError


class UnspeakableError(InputError):
    """A request that cannot be said in the other API. `where` is the field's JSON path."""


class StreamTranslation(Protocol):
    """One streamed answer on its way to the caller."""

    def feed(self, events: bytes) -> bytes:
        """Whole server-sent events of chat completions (`data: {...}`, `data: [DONE]`) -> events
        of the caller's API, which may be none yet. Raises ValueError for events of no known shape.
        """
        ...

    def fail(self, error: Mapping[str, object]) -> bytes:
        """The events that end a stream which cannot go on; `error` has message, type, code."""
        ...


class Translation(Protocol):
    """One API that callers may speak."""

    def request(self, body: bytes) -> bytes:
        """A request of the caller's API -> a body for `/v1/chat/completions`. A stream asks the
        engine for its usage. Raises UnspeakableError.
        """
        ...

    def whole(self, answer: bytes, body: bytes = b"") -> bytes:
        """A whole chat completion -> an answer of the caller's API, to the request of the
        caller's API in `body`, which some APIs show again. Raises ValueError for one of no known
        shape.
        """
        ...

    def stream(self, body: bytes) -> StreamTranslation:
        """A new streamed answer to a request of the caller's API."""
        ...

    def error(self, status: int, error: Mapping[str, object]) -> bytes:
        """The body of an error; `error` has message, type, param and code as OpenAI's has, and
        may have a request_id.
        """
        ...
