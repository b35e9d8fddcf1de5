"""Reads HTTP/1.1 requests from bytes, strictly: what two readers could understand in two ways
is refused. llhttp does the grammar; limits and the rest of the rules are here. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

import httptools

from plimsoll.gateway.access import Caller
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.units import size

_HOST = re.compile(rb"[A-Za-z0-9._~\-\[\]:%]{0,255}")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")
_METHODS_WITHOUT_BODY = frozenset({b"GET", b"HEAD", b"OPTIONS", b"DELETE"})
_DIGITS: Final = 19  # of a length; thousands of zeros before one are a number, but no honest one
_LONGEST_SESSION: Final = 256  # bytes; a longer name of a conversation is left out
_CHUNK_OVERHEAD: Final = 8  # bytes on the wire per byte of body: a chunk of one byte takes six


class Request:
    """One request as far as it has been read.

    method        as sent, such as `POST`
    target        path without the query, percent signs untouched
    http10        whether it is HTTP/1.0: no chunks in the answer
    keep_alive    whether the connection may be used again
    request_id    the caller's `x-request-id` when it is a sound one, else None
    authorization `Authorization`, or None
    api_key       `x-api-key`, or None
    caller        who sends it, once that is known
    sound         whether its head, but for its keys, was found to be one for a model
    sessions      of the headers that name conversations here, those sent; names in small letters
    trace         the caller's `traceparent` and `tracestate` as header lines
    expects       whether the caller waits for `100 Continue`
    has_body      whether a body follows the headers
    body          the whole body once it is read
    length        its `Content-Length`, or None
    chunked       whether it comes in chunks
    hosts         number of `Host` headers
    """

    # Defaults on the class: most requests set few of them, and making one costs nothing.
    method = b""
    target = b""
    http10 = False
    keep_alive = False
    request_id: bytes | None = None
    authorization: bytes | None = None
    api_key: bytes | None = None
    caller: Caller | None = None
    sound = False
    sessions: Mapping[bytes, bytes] = MappingProxyType({})
    trace = b""
    expects = False
    has_body = False
    length: int | None = None
    content_type = b""
    content_encoding = b""
    body = b""
    chunked = False
    hosts = 0

    def with_body(self, body: bytes) -> Request:
        """A request with the same head, but for the length, and another body."""
        other = Request()
        other.method = self.method
        other.target = self.target
        other.http10 = self.http10
        other.keep_alive = self.keep_alive
        other.request_id = self.request_id
        other.authorization = self.authorization
        other.api_key = self.api_key
        other.sessions = self.sessions
        other.trace = self.trace
        other.expects = self.expects
        other.has_body = self.has_body
        other.content_type = self.content_type
        other.content_encoding = self.content_encoding
        other.chunked = self.chunked
        other.hosts = self.hosts
        other.sound = self.sound
        other.length = len(body)
        other.body = body
        return other

    def take_host(self, value: bytes) -> None:
        """The `Host` header."""
        self.hosts += 1
        if not _HOST.fullmatch(value):
            raise Refused("bad_http", "the `Host` header is not a host")

    def take_content_length(self, value: bytes) -> None:
        """The `Content-Length` header."""
        digits = value.rstrip(b" \t")
        if self.length is not None or self.chunked or not digits.isdigit() or len(digits) > _DIGITS:
            raise Refused("bad_http", "exactly one plain `Content-Length` is needed")
        self.length = int(digits)

    def take_transfer_encoding(self, value: bytes) -> None:
        """The `Transfer-Encoding` header."""
        if value.strip().lower() != b"chunked" or self.chunked or self.length is not None:
            raise Refused("bad_http", "the only `Transfer-Encoding` here is `chunked`, once")
        self.chunked = True

    def take_expect(self, value: bytes) -> None:
        """The `Expect` header."""
        if value.strip().lower() != b"100-continue":
            raise Refused("expectation_failed", "the only `Expect` here is `100-continue`")
        self.expects = True

    def take_request_id(self, value: bytes) -> None:
        """The `x-request-id` header; an unsound one is left out."""
        if _REQUEST_ID.fullmatch(value):
            self.request_id = value

    def take_authorization(self, value: bytes) -> None:
        """The `Authorization` header."""
        if self.authorization is not None:
            raise Refused("bad_http", "more than one `Authorization` header")
        self.authorization = value

    def take_api_key(self, value: bytes) -> None:
        """The `x-api-key` header."""
        if self.api_key is not None:
            raise Refused("bad_http", "more than one `x-api-key` header")
        self.api_key = value

    def take_traceparent(self, value: bytes) -> None:
        """The `traceparent` header."""
        if len(value) <= 128:
            self.trace += b"traceparent: " + value + b"\r\n"

    def take_tracestate(self, value: bytes) -> None:
        """The `tracestate` header."""
        if len(value) <= 512:
            self.trace += b"tracestate: " + value + b"\r\n"

    def take_content_type(self, value: bytes) -> None:
        """The `Content-Type` header."""
        self.content_type = value

    def take_content_encoding(self, value: bytes) -> None:
        """The `Content-Encoding` header."""
        self.content_encoding += value


class RequestSink(Protocol):
    """Who is told what was read. Both may raise Refused."""

    def head_read(self, request: Request) -> None:
        """The headers are whole; the body is not read yet."""
        ...

    def body_grew(self, count: int) -> None:
        """`count` more bytes of body are held."""
        ...

    def request_read(self, request: Request) -> None:
        """The request is whole."""
        ...


class RequestReader:
    """Turns the bytes of one connection into requests, one after another.

    reading  whether a request has begun and is not whole yet
    """

    def __init__(self, sink: RequestSink, settings: GatewaySettings) -> None:
        self._sink = sink
        self._settings = settings
        self._parser = httptools.HttpRequestParser(self)
        self.reading = False
        self._told = 0  # bytes of names, values, targets and bodies so far, over all requests
        self._wire = 0  # bytes read since the request began, framing included
        self._begun_now = False
        self._begun_at = 0
        self._url = b""
        self._held = 0
        self._headers = 0
        self._head_done = False
        self._body: bytes | bytearray = b""
        self._request = Request()

    def feed(self, data: bytes) -> bool:
        """Read more bytes; whether a request began in them. Raises Refused; the connection
        cannot be read on after that.
        """
        self._wire += len(data)
        before = self._told
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request was delivered, and its connection will be closed: what follows it
            # speaks another protocol.
            return False
        except httptools.HttpParserError as error:
            raise _refusal(error) from error
        begun = self._begun_now
        if begun:
            # Count this read from where the request began in it.
            self._begun_now = False
            self._wire = len(data) - (self._begun_at - before)
        if self.reading:
            self._check_wire()
        return begun

    @property
    def in_head(self) -> bool:
        """Whether a request has begun and its headers are not whole yet."""
        return self.reading and not self._head_done

    def _check_wire(self) -> None:
        """Refuse what is too much, whole or not. A read is bounded, so looking once per read,
        and at the end of the headers, bounds what is ever held.
        """
        settings = self._settings
        if self._headers > settings.max_headers:
            raise Refused("headers_too_large", f"more than {settings.max_headers} headers")
        if not self._head_done:
            head = self._wire if self.reading else 0
            if max(head, self._told - self._begun_at) > settings.max_head:
                raise _head_too_large(settings)
        elif (
            self._request.chunked
            and self._wire > self._held * _CHUNK_OVERHEAD + 4 * settings.max_head
        ):
            raise Refused("bad_http", "the chunks are mostly framing")

    # What follows is called by the parser, in the order of the bytes. What is raised here
    # comes out of `feed_data` as the context of a callback error.

    def on_message_begin(self) -> None:
        """A request begins."""
        self.reading = True
        self._begun_now = True
        self._begun_at = self._told
        self._request = Request()
        self._url = b""
        self._wire = 0
        self._held = 0
        self._headers = 0
        self._head_done = False
        self._body = b""

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._url += url
        self._told += len(url)
        if len(self._url) > self._settings.max_target:
            raise Refused("target_too_long", f"the path is over {size(self._settings.max_target)}")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header or trailer."""
        self._headers += 1
        self._told += len(name) + len(value) + 4
        name = name.lower()
        take = _KNOWN.get(name)
        if self._head_done:  # a trailer: read and dropped
            return
        if take is not None:
            take(self._request, value)
        elif name in self._settings.session_headers and len(value) <= _LONGEST_SESSION:
            self._request.sessions = {**self._request.sessions, name: value}

    def on_headers_complete(self) -> None:
        """The headers are whole."""
        request = self._request
        if self._headers > self._settings.max_headers:
            self._check_wire()
        if self._told - self._begun_at > self._settings.max_head:
            raise _head_too_large(self._settings)
        self._head_done = True
        parser = self._parser
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise Refused("http_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
        request.http10 = version == "1.0"
        request.method = parser.get_method()
        request.keep_alive = parser.should_keep_alive()
        request.has_body = self._request.chunked or bool(request.length)
        self._check_frame(request, upgrade=parser.should_upgrade())
        request.target = _path(self._url)
        self._sink.head_read(request)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._held += len(data)
        self._told += len(data)
        if self._held > self._settings.max_body:
            raise _too_large(self._settings)
        if not self._body:
            self._body = data
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data
        self._sink.body_grew(len(data))

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._headers > self._settings.max_headers:
            self._check_wire()
        self.reading = False
        request = self._request
        request.body = bytes(self._body)
        self._body = b""
        self._sink.request_read(request)

    def _check_frame(self, request: Request, *, upgrade: bool) -> None:
        if self._request.hosts != 1 and (self._request.hosts or not request.http10):
            raise Refused("bad_http", "exactly one `Host` header is needed")
        if self._request.chunked and request.http10:
            raise Refused("bad_http", "HTTP/1.0 has no `Transfer-Encoding`")
        if request.method == b"CONNECT":
            raise Refused("method_not_allowed", "this is no proxy")
        if upgrade:
            if request.has_body:
                raise Refused("bad_http", "a request with a body cannot upgrade")
            request.keep_alive = False
        if request.length is not None and request.length > self._settings.max_body:
            raise _too_large(self._settings)
        if request.has_body and request.method in _METHODS_WITHOUT_BODY:
            raise Refused("bad_http", f"a {request.method.decode()} has no body here")


_KNOWN = {
    b"host": Request.take_host,
    b"content-length": Request.take_content_length,
    b"transfer-encoding": Request.take_transfer_encoding,
    b"expect": Request.take_expect,
    b"x-request-id": Request.take_request_id,
    b"authorization": Request.take_authorization,
    b"x-api-key": Request.take_api_key,
    b"traceparent": Request.take_traceparent,
    b"tracestate": Request.take_tracestate,
    b"content-type": Request.take_content_type,
    b"content-encoding": Request.take_content_encoding,
}


def _refusal(error: Exception) -> Refused:
    """The refusal behind a parser's error. Raises the error itself when it is a fault of ours."""
    cause = error.__context__
    if isinstance(cause, Refused):
        return cause
    if cause is not None:
        raise error
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return Refused("bad_http", "the request target has characters that may not be there")
    if str(error) == "Invalid HTTP version":
        return Refused("http_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
    return Refused("bad_http", f"the request cannot be read: {error}")


def _head_too_large(settings: GatewaySettings) -> Refused:
    return Refused("headers_too_large", f"the headers are over {size(settings.max_head)}")


def _too_large(settings: GatewaySettings) -> Refused:
    return Refused("body_too_large", f"the body is over {size(settings.max_body)}")


def _path(url: bytes) -> bytes:
    """The path of a request target in origin, absolute or asterisk form."""
    if url.startswith(b"/"):
        return url.split(b"?", 1)[0]
    if url == b"*":
        return url
    try:
        return httptools.parse_url(url).path or b"/"
    except httptools.HttpParserInvalidURLError as error:
        raise Refused("bad_http", "the request target cannot be read") from error
