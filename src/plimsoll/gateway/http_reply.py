"""Writes HTTP/1.1 answers as bytes: heads, whole bodies, chunks of a stream. No I/O."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import Final

from plimsoll.gateway.errors import TABLE, Refused, error_body
from plimsoll.gateway.http_request import Request

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
JSON: Final = b"application/json"

_STATUSES = {HTTPStatus.OK, *(row.status for row in TABLE.values())}


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # an engine's own, outside the standard's list
        phrase = "Unknown"
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = {int(status): _status_line(status) for status in _STATUSES}


def whole(
    status: int,
    body: bytes,
    *,
    request: Request | None,
    request_id: bytes,
    keep_alive: bool,
    content_type: bytes = JSON,
    extra: bytes = b"",
) -> bytes:
    """A whole answer.

    request     what it answers, or None when that could not be read
    request_id  shown in `x-request-id`
    extra       further header lines, each ended with CR LF
    """
    head_only = request is not None and request.method == b"HEAD"
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b\r\n%b" % (
        _STATUS_LINES.get(status) or _status_line(status),
        content_type,
        len(body),
        request_id,
        extra,
        _connection(request, keep_alive=keep_alive),
        b"" if head_only else body,
    )


def refusal(
    refused: Refused,
    *,
    request: Request | None,
    request_id: bytes,
    keep_alive: bool,
    retry_after: float,
    allow: bytes = b"",
    body: bytes = b"",
) -> bytes:
    """A whole answer that says why not; `retry_after` in seconds, sent where the table says so.

    body  the error in the caller's API; empty: in OpenAI's
    """
    extra = b"retry-after: %d\r\n" % max(1, ceil(retry_after)) if refused.retry else b""
    if allow:
        extra += b"allow: " + allow + b"\r\n"
    if refused.code == "bad_key":
        extra += b"www-authenticate: Bearer\r\n"
    return whole(
        refused.status,
        body or error_body(refused),
        request=request,
        request_id=request_id,
        keep_alive=keep_alive,
        extra=extra,
    )


def stream_head(*, request: Request, request_id: bytes, keep_alive: bool) -> bytes:
    """The head of a streamed answer; HTTP/1.0 callers read to the end of the connection."""
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
        b"x-request-id: %b\r\n%b%b\r\n"
    ) % (
        request_id,
        b"" if request.http10 else b"transfer-encoding: chunked\r\n",
        _connection(request, keep_alive=keep_alive),
    )


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; `data` must not be empty, for that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _connection(request: Request | None, *, keep_alive: bool) -> bytes:
    if not keep_alive:
        return b"connection: close\r\n"
    if request is not None and request.http10:
        return b"connection: keep-alive\r\n"
    return b""
