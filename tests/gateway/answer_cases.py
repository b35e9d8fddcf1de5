"""Answers of engines that two readers could understand in two ways, that never end, or are none."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass

from tests.gateway.stub import DONE, REPLY, event
from tests.gateway.verdicts import BROKEN, SOUND

OK = b"HTTP/1.1 200 OK\r\n"
JSON = b"content-type: application/json\r\n"
EVENTS = b"content-type: text/event-stream\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
SIZE = len(REPLY)
LENGTH = b"content-length: %d\r\n" % SIZE
HEAD = OK + JSON
STREAM = OK + EVENTS + CHUNKED + b"\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


ONE_CHUNK = chunk(REPLY) + LAST
GOOD = HEAD + LENGTH + b"\r\n" + REPLY


def whole(body: bytes, *rows: bytes, kind: bytes = JSON, status: bytes = OK) -> bytes:
    lines = b"".join(row + b"\r\n" for row in rows)
    return status + kind + lines + b"content-length: %d\r\n\r\n" % len(body) + body


def stream(*events: bytes) -> bytes:
    return STREAM + b"".join(map(chunk, events)) + LAST


def said(error: object) -> bytes:
    return b"data: " + json.dumps(error).encode() + b"\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What an engine says to one request.

    parts   its bytes, each written by itself
    then    closes | resets | stays (after the last part) | repeats it for ever
    wanted  a verdict, or several that are right
    asked   whole | stream: what the caller asked for
    keeps   whether the connection may carry another request
    """

    parts: tuple[bytes, ...]
    wanted: tuple[str, ...]
    then: str = "stays"
    asked: str = "whole"
    keeps: bool = False


def bad(*parts: bytes, then: str = "stays", asked: str = "whole") -> Case:
    """No answer: said so, and its connection dropped."""
    return Case(parts=parts, wanted=("bad_answer",), then=then, asked=asked)


def unfit(*parts: bytes, asked: str = "whole") -> Case:
    """Well framed, so its connection is beyond doubt, but no answer."""
    return Case(parts=parts, wanted=("bad_answer",), asked=asked, keeps=True)


def lost(*parts: bytes, then: str = "closes", asked: str = "whole") -> Case:
    """An answer that broke off before any of it went to the caller."""
    return Case(parts=parts, wanted=("replica_lost",), then=then, asked=asked)


def right(*parts: bytes, then: str = "stays", asked: str = "whole", keeps: bool = True) -> Case:
    """A sound answer in an unusual form."""
    return Case(parts=parts, wanted=(SOUND,), then=then, asked=asked, keeps=keeps)


def broken(*parts: bytes, then: str = "stays", keeps: bool = False) -> Case:
    """A stream of which the caller has a part."""
    return Case(parts=parts, wanted=(BROKEN,), then=then, asked="stream", keeps=keeps)


FRAMING = {
    "length-and-chunks": bad(HEAD + LENGTH + CHUNKED + b"\r\n" + ONE_CHUNK),
    "chunks-and-length": bad(HEAD + CHUNKED + LENGTH + b"\r\n" + ONE_CHUNK),
    "two-lengths-that-differ": bad(HEAD + LENGTH + b"content-length: 2\r\n\r\n" + REPLY),
    "two-equal-lengths": bad(HEAD + LENGTH + LENGTH + b"\r\n" + REPLY),
    "list-of-lengths": bad(HEAD + b"content-length: %d, %d\r\n\r\n" % (SIZE, SIZE) + REPLY),
    "length-with-plus": bad(HEAD + b"content-length: +%d\r\n\r\n" % SIZE + REPLY),
    "length-negative": bad(HEAD + b"content-length: -1\r\n\r\n" + REPLY),
    "length-hexadecimal": bad(HEAD + b"content-length: 0x2\r\n\r\n{}"),
    "length-empty": bad(HEAD + b"content-length: \r\n\r\n" + REPLY, then="closes"),
    "length-overflow": bad(HEAD + b"content-length: 99999999999999999999\r\n\r\n" + REPLY),
    "length-of-many-zeros": bad(HEAD + b"content-length: %b2\r\n\r\n{}" % (b"0" * 5000)),
    "encoding-unknown": bad(HEAD + b"transfer-encoding: xchunked\r\n\r\n" + ONE_CHUNK),
    "encoding-with-gzip": bad(HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n" + ONE_CHUNK),
    "encoding-not-last": bad(HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n" + ONE_CHUNK),
    "encoding-identity": bad(HEAD + b"transfer-encoding: identity\r\n\r\n" + REPLY, then="closes"),
    "encoding-twice": bad(HEAD + CHUNKED + CHUNKED + b"\r\n" + ONE_CHUNK),
    "encoding-in-1-0": bad(b"HTTP/1.0 200 OK\r\n" + JSON + CHUNKED + b"\r\n" + ONE_CHUNK),
    "chunk-size-no-number": bad(HEAD + CHUNKED + b"\r\nZ\r\n" + REPLY),
    "chunk-size-negative": bad(HEAD + CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n"),
    "chunk-size-overflow": bad(HEAD + CHUNKED + b"\r\nfffffffffffffffff\r\n{}"),
    "chunk-size-bare-lf": bad(HEAD + CHUNKED + b"\r\n2\n{}\r\n0\r\n\r\n"),
    "chunk-longer-than-said": bad(HEAD + CHUNKED + b"\r\n1\r\n{}\r\n0\r\n\r\n"),
    "chunk-without-end": bad(HEAD + CHUNKED + b"\r\n2\r\n{}X0\r\n\r\n"),
    "chunk-extension": right(HEAD + CHUNKED + b"\r\n%x;a=b\r\n%b\r\n0\r\n\r\n" % (SIZE, REPLY)),
    "chunk-extension-endless": bad(
        HEAD + CHUNKED + b"\r\n2;", b"a" * 60_000, then="repeats"
    ),
    "chunk-in-pieces": right(*(bytes([byte]) for byte in HEAD + CHUNKED + b"\r\n" + ONE_CHUNK)),
    "trailers": right(HEAD + CHUNKED + b"\r\n" + chunk(REPLY) + b"0\r\nx: y\r\n\r\n"),
    "trailer-endless": bad(
        HEAD + CHUNKED + b"\r\n" + chunk(REPLY) + b"0\r\nx: ", b"a" * 60_000, then="repeats"
    ),
    "trailers-endless": bad(
        HEAD + CHUNKED + b"\r\n" + chunk(REPLY) + b"0\r\n", b"x: y\r\n" * 10_000, then="repeats"
    ),
    "length-too-long": lost(HEAD + b"content-length: 9999\r\n\r\n" + REPLY),
    "chunks-cut": lost(HEAD + CHUNKED + b"\r\n" + chunk(REPLY)),
    "reset-in-body": lost(HEAD + b"content-length: 9999\r\n\r\n{", then="resets"),
    "length-too-short": bad(HEAD + b"content-length: 10\r\n\r\n" + REPLY),
    "bytes-behind": right(GOOD + b"more", keeps=False),
    "second-answer-behind": right(GOOD + GOOD, keeps=False),
    "second-answer-after": right(GOOD, GOOD, keeps=False),
    "second-head-behind": right(GOOD + OK, keeps=False),
    "empty-lines-behind": right(GOOD + b"\r\n\r\n"),
    "no-length-closed": right(HEAD + b"\r\n" + REPLY, then="closes", keeps=False),
    "no-length-reset": lost(HEAD + b"\r\n" + REPLY[:-9], then="resets"),
    "http-1-0": right(b"HTTP/1.0 200 OK\r\n" + JSON + LENGTH + b"\r\n" + REPLY, keeps=False),
    "http-1-0-kept": right(
        b"HTTP/1.0 200 OK\r\n" + JSON + LENGTH + b"connection: keep-alive\r\n\r\n" + REPLY
    ),
    "connection-close": right(HEAD + LENGTH + b"connection: close\r\n\r\n" + REPLY, keeps=False),
}  # fmt: skip


HEADS = {
    "bare-lf": bad(GOOD.replace(b"\r\n", b"\n")),
    "bare-lf-after-header": bad(OK + b"x: y\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "bare-cr": bad(OK + b"x: a\rb\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "folded-header": bad(OK + b"x: a\r\n b\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "space-before-colon": bad(HEAD + b"content-length : %d\r\n\r\n" % SIZE + REPLY),
    "nul-in-value": bad(OK + b"x: a\0b\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "no-colon": bad(OK + b"nothing\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "empty-name": bad(OK + b": x\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "header-endless": bad(OK + b"x: ", b"a" * 60_000, then="repeats"),
    "headers-endless": bad(OK, b"x: y\r\n" * 10_000, then="repeats"),
    "reason-endless": bad(b"HTTP/1.1 200 ", b"a" * 60_000, then="repeats"),
    "empty-lines-endless": bad(b"\r\n" * 30_000, then="repeats"),
    "ssh": bad(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "tls": bad(b"\x15\x03\x01\0\x02\x02\x0a"),
    "http-2": bad(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80"),
    "a-request": bad(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    "icy": bad(b"ICY 200 OK\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "no-version": bad(b"200 OK\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "version-unknown": bad(b"HTTP/9.9 200 OK\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "version-2": bad(b"HTTP/2.0 200 OK\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "version-0-9": bad(b"HTTP/0.9 200 OK\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "status-a-word": bad(b"HTTP/1.1 fine OK\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "status-too-short": bad(b"HTTP/1.1 20 OK\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "status-too-long": bad(b"HTTP/1.1 2000 OK\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "status-unknown": unfit(b"HTTP/1.1 299 Mostly\r\n" + JSON + LENGTH + b"\r\n" + REPLY),
    "status-999": Case(
        parts=(b"HTTP/1.1 999 No\r\n" + JSON + LENGTH + b"\r\n" + REPLY,),
        wanted=("bad_answer", "engine_error"),
        keeps=True,
    ),
    "closed-without-a-word": lost(b""),
    "closed-in-the-head": lost(HEAD),
    "interim": right(b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD),
    "interim-hints": right(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", GOOD),
    "interim-with-kind": unfit(
        b"HTTP/1.1 103 Early Hints\r\n" + EVENTS + b"\r\n" + OK + LENGTH + b"\r\n" + REPLY[:-1]
        + b"]"
    ),
    "interim-endless": bad(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, then="repeats"),
    "interim-then-closed": lost(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "upgrade": bad(
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    ),
    "partial-content": unfit(whole(REPLY, status=b"HTTP/1.1 206 Partial Content\r\n")),
    "created": unfit(whole(REPLY, status=b"HTTP/1.1 201 Created\r\n")),
    "no-content": unfit(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "no-content-with-body": bad(whole(REPLY, status=b"HTTP/1.1 204 No Content\r\n")),
    "not-modified-with-body": bad(whole(REPLY, status=b"HTTP/1.1 304 Not Modified\r\n")),
    "redirect": unfit(
        b"HTTP/1.1 307 Temporary\r\nlocation: http://other/\r\ncontent-length: 0\r\n\r\n"
    ),
}  # fmt: skip


BODIES = {
    "empty": unfit(whole(b"")),
    "html": unfit(whole(b"<p>hello", kind=b"content-type: text/html\r\n")),
    "no-kind": unfit(whole(b"hello", kind=b"")),
    "list": unfit(whole(b"[]")),
    "number": unfit(whole(b"5")),
    "null": unfit(whole(b"null")),
    "text": unfit(whole(b'"hello"')),
    "cut-json": unfit(whole(REPLY[:-1])),
    "two-documents": unfit(whole(REPLY + REPLY)),
    "nan": unfit(whole(b'{"a":NaN}')),
    "deep": unfit(whole(b'{"a":' + b"[" * 50_000)),
    "nul": unfit(whole(REPLY + b"\0")),
    "nul-in-text": unfit(whole(b'{"a":"\0"}')),
    "byte-order-mark": unfit(whole(b"\xef\xbb\xbf" + REPLY)),
    "utf-16": unfit(whole(REPLY.decode().encode("utf-16"))),
    "bad-utf-8": unfit(whole(b'{"a":"\xff"}')),
    "half-a-character": unfit(whole(b'{"a":"\xc3"}')),
    "gzip": unfit(whole(gzip.compress(REPLY), b"content-encoding: gzip")),
    "gzip-twice-said": unfit(
        whole(REPLY, b"content-encoding: gzip", b"content-encoding: identity")
    ),
    "gzip-unsaid": unfit(whole(gzip.compress(REPLY))),
    "events-for-whole": unfit(whole(event("A") + DONE, kind=EVENTS)),
    "json-for-stream": unfit(GOOD, asked="stream"),
    "error-inside": Case(
        parts=(whole(b'{"error":{"message":"out of memory","type":"x","code":500}}'),),
        wanted=("engine_error",), keeps=True,
    ),
    "error-text-inside": Case(
        parts=(whole(b'{"error":"out of memory"}'),), wanted=("engine_error",), keeps=True,
    ),
    "error-null-inside": right(whole(REPLY[:-1] + b',"error":null}')),
    "too-large": bad(HEAD + CHUNKED + b"\r\n" + chunk(b" " * 60_000), chunk(b" " * 60_000)),
}  # fmt: skip


STREAMS = {
    "unusual-pieces": right(
        *(bytes([byte]) for byte in stream(event("A"), DONE)), asked="stream"
    ),
    "comments": right(stream(b": ping\n\n", event("A"), b": ping\n\n", DONE), asked="stream"),
    "line-ends-of-two": right(
        stream(event("A").replace(b"\n", b"\r\n"), b"data: [DONE]\r\n\r\n"), asked="stream"
    ),
    "no-length-closed-stream": right(
        OK + EVENTS + b"\r\n" + event("A") + DONE, then="closes", asked="stream", keeps=False
    ),
    "nothing": lost(stream(), asked="stream"),
    "no-events": bad(stream(b"hello\n\n"), asked="stream"),
    "html-in-events": bad(stream(b"<html>\n\n"), asked="stream"),
    "gzip-stream": bad(
        OK + EVENTS + b"content-encoding: gzip\r\n" + CHUNKED + b"\r\n" + chunk(b"\x1f\x8b"),
        asked="stream",
    ),
    "error-first": Case(
        parts=(stream(said({"error": {"message": "no", "code": 500}})),),
        wanted=("engine_error", BROKEN), asked="stream", keeps=True,
    ),
    "error-in-the-middle": broken(
        stream(event("A"), said({"error": {"message": "no", "code": 500}})), keeps=True
    ),
    "error-then-done": broken(
        stream(event("A"), said({"error": {"message": "no", "code": 500}}), DONE), keeps=True
    ),
    "not-json": broken(stream(event("A"), b"data: hello\n\n", DONE), keeps=True),
    "not-an-object": broken(stream(event("A"), b"data: [1]\n\n", DONE), keeps=True),
    "line-end-inside-an-event": broken(
        stream(event("A"), b'data: {"choices":[]\n,"a":1}\n\n', DONE), keeps=True
    ),
    "return-inside-an-event": broken(
        stream(event("A"), b'data: {"choices":[]\r,"a":1}\n\n', DONE), keeps=True
    ),
    "cut-event": broken(stream(event("A"), b'data: {"choices":[\n\n', DONE), keeps=True),
    "bad-utf-8-event": broken(
        stream(event("A"), b'data: {"choices":[],"a":"\xff"}\n\n', DONE), keeps=True
    ),
    "nul-event": broken(stream(event("A"), b'data: {"choices":[],"a":"\0"}\n\n', DONE), keeps=True),
    "event-endless": broken(STREAM + chunk(event("A")), chunk(b"a" * 60_000), then="repeats"),
    "event-half": broken(stream(event("A"), b'data: {"choices"'), keeps=True),
    "no-done": broken(stream(event("A")), keeps=True),
    "cut-behind-an-event": broken(STREAM + chunk(event("A")), then="closes"),
    "reset-behind-an-event": broken(STREAM + chunk(event("A")), then="resets"),
    "cut-inside-a-chunk": broken(STREAM + chunk(event("A")) + b"50\r\nda", then="closes"),
    "chunk-garbage-behind-an-event": broken(STREAM + chunk(event("A")), b"Z\r\n"),
    "events-behind-done": right(stream(event("A"), DONE, event("B")), asked="stream"),
    "cut-behind-done": right(
        STREAM + chunk(event("A")) + chunk(DONE), then="closes", asked="stream", keeps=False
    ),
    "second-answer-behind-a-stream": right(
        stream(event("A"), DONE) + GOOD, asked="stream", keeps=False
    ),
}  # fmt: skip

CASES = {**FRAMING, **HEADS, **BODIES, **STREAMS}
