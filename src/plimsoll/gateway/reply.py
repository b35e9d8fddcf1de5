"""The answer to one request as its caller gets it: whole, as events, or as an error, in the
caller's API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from plimsoll.gateway import http_reply
from plimsoll.gateway.errors import Refused, error_body, error_event
from plimsoll.gateway.http_request import Request
from plimsoll.providers.protocol import StreamTranslation, Translation

_decode_error = msgspec.json.Decoder(dict[str, dict[str, object]]).decode


class Client(Protocol):
    """The caller's side of an exchange.

    deadline  when the exchange's time is up, seconds of the monotonic clock
    paused    whether the caller takes no more bytes for now
    """

    deadline: float
    paused: bool

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def keeps(self, request: Request) -> bool:
        """Whether the connection may be used again after this request."""
        ...

    def answered(self, request: Request, *, keep_alive: bool) -> None:
        """The answer is sent; the connection goes on or is closed."""
        ...


class Reply:
    """See the module's docstring.

    begun  whether the caller has the head of a stream
    """

    __slots__ = (
        "_client",
        "_http10",
        "_keeps",
        "_request",
        "_request_id",
        "_stream",
        "_translation",
        "begun",
    )

    def __init__(
        self, client: Client, request: Request, request_id: bytes, translation: Translation | None
    ) -> None:
        self._client = client
        self._request = request
        self._request_id = request_id
        self._http10 = request.http10
        self._translation = translation
        self._stream: StreamTranslation | None = None
        self._keeps = False  # what the head of a stream says of the connection
        self.begun = False

    def events(self, events: bytes) -> None:
        """Send whole events. Raises ValueError where the caller's API has no words for them."""
        if self._translation is not None:
            events = self._translated(self._translation, events)
            if not events:
                return
        framed = events if self._http10 else http_reply.chunk(events)
        if not self.begun:
            framed = self._begin() + framed
        self._client.write(framed)

    def _translated(self, translation: Translation, events: bytes) -> bytes:
        try:
            if self._stream is None:
                self._stream = translation.stream(self._request.body)
            return self._stream.feed(events)
        except (OverflowError, RecursionError) as error:
            raise ValueError(f"events that no JSON can say: {error}") from error

    def _begin(self) -> bytes:
        self.begun = True
        request = self._request
        self._keeps = self._client.keeps(request) and not request.http10
        return http_reply.stream_head(
            request=request, request_id=self._request_id, keep_alive=self._keeps
        )

    def last(self) -> None:
        """Send the end of a stream; `done` is to follow."""
        if not self.begun:
            self._client.write(self._begin())
        if not self._http10:
            self._client.write(http_reply.LAST_CHUNK)

    def whole(self, body: bytes) -> bool:
        """Send a whole answer; whether the connection goes on, which `done` is to be told. Raises
        ValueError where the caller's API has no words for it.
        """
        if self._translation is not None:
            try:
                body = self._translation.whole(body, self._request.body)
            except (OverflowError, RecursionError) as error:
                raise ValueError(f"an answer that no JSON can say: {error}") from error
        keep_alive = self._client.keeps(self._request)
        self._client.write(
            http_reply.whole(
                200, body, request=self._request, request_id=self._request_id,
                keep_alive=keep_alive,
            )
        )  # fmt: skip
        return keep_alive

    def error(self, refused: Refused, retry_after: float) -> bool:
        """Send an error instead of an answer, as `whole` does; `retry_after` in seconds."""
        keep_alive = self._client.keeps(self._request)
        body = b""
        if self._translation is not None:
            body = self._translation.error(refused.status, self._fields(refused))
        self._client.write(
            http_reply.refusal(
                refused,
                request=self._request,
                request_id=self._request_id,
                keep_alive=keep_alive,
                retry_after=retry_after,
                body=body,
            )
        )
        return keep_alive

    def fail(self, refused: Refused) -> None:
        """Send an error inside a stream, after which `last` is to follow."""
        if self._translation is None:
            events = error_event(refused)
        else:
            if self._stream is None:
                self._stream = self._translation.stream(self._request.body)
            events = self._stream.fail(self._fields(refused))
        self._client.write(events if self._http10 else http_reply.chunk(events))

    def _fields(self, refused: Refused) -> Mapping[str, object]:
        fields = _decode_error(error_body(refused))["error"]
        return {**fields, "request_id": self._request_id.decode()}

    def done(self, *, keep_alive: bool) -> None:
        """The answer is sent, and everything else released."""
        self._client.answered(self._request, keep_alive=keep_alive)

    def done_streaming(self) -> None:
        """The same, after a stream."""
        self.done(keep_alive=self._keeps)
