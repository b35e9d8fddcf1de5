"""Heads that repeat: requests read cheaply when their head came before and was accepted.

The requests of a connection, and the answers of a replica, mostly differ in their bodies and in
the digits of `Content-Length`. A head that is otherwise the same, byte for byte, means what the
accepted one meant, so it is not parsed again. Anything else, and anything not whole in one read,
is parsed. No I/O.
"""

from __future__ import annotations

import re
from typing import Final

from plimsoll.gateway.http_request import Request, RequestReader, RequestSink
from plimsoll.gateway.settings import GatewaySettings

CHANCES: Final = 4
"""Heads that a connection remembers in a row of which none comes again; then no more."""

_LONGEST: Final = 4096  # bytes of a head that is remembered, for every connection has one
_DIGITS: Final = 19
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,19})[ \t]*\r\n", re.IGNORECASE)


class KnownHead:
    """A head that was accepted, in two parts around the digits of its length."""

    __slots__ = ("_after", "_before", "_digits")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self._digits = len(before)

    def body(self, data: bytes) -> bytes:
        """The body when `data` is this head with any length above zero, and exactly so much body;
        else nothing: then the bytes have to be parsed.
        """
        if not data.startswith(self._before):
            return b""
        start, after = self._digits, self._after
        end = data.find(b"\r", start, start + _DIGITS + 1)
        if end < 0 or not data.startswith(after, end):
            return b""
        body = data[end + len(after) :]
        return body if data[start:end] == b"%d" % len(body) else b""


def known_head(data: bytes, first: bytes, length: int) -> KnownHead | None:
    """The head of a message that was just parsed from exactly `data`; None where it is not plain.

    first   what its first line begins with
    length  of its body
    """
    start = data.find(b"\r\n\r\n", 0, _LONGEST) + 4
    if start < 4 or not length or len(data) - start != length or not data.startswith(first):
        return None
    found = _LENGTH.search(data, 0, start - 2)
    if found is None:
        return None
    # The white space around the digits, and what follows them, belongs to what is repeated.
    return KnownHead(data[: found.start(1)], data[found.end(1) : start])


class RepeatReader(RequestReader):
    """A RequestReader that knows the last head of its connection."""

    def __init__(self, sink: RequestSink, settings: GatewaySettings) -> None:
        super().__init__(sink, settings)
        self._known: KnownHead | None = None
        self._like = self._request  # the request that had the known head
        self._chances = CHANCES

    def feed(self, data: bytes) -> bool:
        """See RequestReader.feed."""
        inside = self.reading
        if inside:
            return super().feed(data)
        known, self._known = self._known, None
        if known is not None:
            body = known.body(data)
            if body and len(body) <= self._settings.max_body:
                self._known = known
                self._chances = CHANCES
                self._deliver(body)
                return True
        begun = super().feed(data)
        if begun and not self.reading and self._chances:
            self._learn(data, self._request)
        return begun

    def _learn(self, data: bytes, request: Request) -> None:
        self._chances -= 1
        if request.length and request.keep_alive and not request.http10:
            self._known = known_head(data, request.method + b" ", request.length)
            self._like = request.with_body(b"")

    def _deliver(self, body: bytes) -> None:
        """Tell the sink what the parser would have told it."""
        request = self._like.with_body(body)
        sink = self._sink
        self.reading = self._head_done = True
        sink.head_read(request)
        sink.body_grew(len(body))
        self.reading = False
        sink.request_read(request)
