"""Requests that two readers could understand in two ways, that are too much, or only wrong."""

from __future__ import annotations

import json

from tests.gateway.stub import MESSAGES, get

BODY = json.dumps({"model": "chat", "messages": MESSAGES}).encode()
SIZE = len(BODY)
LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
HEAD = LINE + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PLAIN = b"Content-Length: %d\r\n" % SIZE
ONE_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY)


def headers(*rows: bytes) -> bytes:
    return b"GET /health HTTP/1.1\r\n" + b"".join(row + b"\r\n" for row in rows) + b"\r\n"


REFUSED_AND_CLOSED = {
    # How long is the body?
    "length-and-chunks": (400, HEAD + PLAIN + CHUNKED + b"\r\n" + ONE_CHUNK),
    "chunks-and-length": (400, HEAD + CHUNKED + PLAIN + b"\r\n" + ONE_CHUNK),
    "two-lengths-that-differ": (400, HEAD + PLAIN + b"Content-Length: 5\r\n\r\n" + BODY),
    "two-equal-lengths": (400, HEAD + PLAIN + PLAIN + b"\r\n" + BODY),
    "list-of-lengths": (400, HEAD + b"Content-Length: %d, %d\r\n\r\n" % (SIZE, SIZE) + BODY),
    "length-with-plus": (400, HEAD + b"Content-Length: +%d\r\n\r\n" % SIZE + BODY),
    "length-negative": (400, HEAD + b"Content-Length: -1\r\n\r\n" + BODY),
    "length-hexadecimal": (400, HEAD + b"Content-Length: 0x5\r\n\r\n" + BODY),
    "length-with-fraction": (400, HEAD + b"Content-Length: 5.0\r\n\r\n" + BODY),
    "length-with-underscore": (400, HEAD + b"Content-Length: 1_0\r\n\r\n" + BODY),
    "length-empty": (400, HEAD + b"Content-Length: \r\n\r\n" + BODY),
    "length-with-space": (400, HEAD + b"Content-Length: 1 0\r\n\r\n" + BODY),
    "length-overflow": (400, HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n"),
    "length-of-many-zeros": (400, HEAD + b"Content-Length: %b5\r\n\r\n" % (b"0" * 1500) + BODY),
    "length-of-many-digits": (400, HEAD + b"Content-Length: %b\r\n\r\n" % (b"1" * 1500) + BODY),
    "length-and-comma": (400, HEAD + b"Content-Length: %d,\r\n\r\n" % SIZE + BODY),
    "length-quoted": (400, HEAD + b'Content-Length: "%d"\r\n\r\n' % SIZE + BODY),
    "length-before-vertical-tab": (400, HEAD + b"Content-Length: %d\x0b\r\n\r\n" % SIZE + BODY),
    "length-after-unknown-encoding": (
        400,
        HEAD + b"Transfer-Encoding: xchunked\r\n" + PLAIN + b"\r\n" + BODY,
    ),
    "length-not-ascii-digits": (400, HEAD + b"Content-Length: \xb2\r\n\r\n" + BODY),
    "encoding-unknown": (400, HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + ONE_CHUNK),
    "encoding-with-gzip": (400, HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + ONE_CHUNK),
    "encoding-not-last": (400, HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n"),
    "encoding-identity": (400, HEAD + b"Transfer-Encoding: identity\r\n\r\n" + BODY),
    "encoding-twice": (400, HEAD + CHUNKED + CHUNKED + b"\r\n" + ONE_CHUNK),
    "encoding-twice-in-one": (400, HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n"),
    "encoding-quoted": (400, HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n' + ONE_CHUNK),
    "encoding-after-tab": (400, HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + ONE_CHUNK),
    "encoding-empty": (400, HEAD + b"Transfer-Encoding:\r\n" + PLAIN + b"\r\n" + BODY),
    "encoding-comma-first": (400, HEAD + b"Transfer-Encoding: , chunked\r\n\r\n" + ONE_CHUNK),
    "encoding-with-parameter": (400, HEAD + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + ONE_CHUNK),
    "encoding-before-space": (400, HEAD + b"Transfer-Encoding : chunked\r\n\r\n" + ONE_CHUNK),
    "encoding-before-nul": (400, HEAD + b"Transfer-Encoding: chunked\0\r\n\r\n" + ONE_CHUNK),
    "encoding-hidden-by-bare-cr": (
        400,
        HEAD + b"X: y\rTransfer-Encoding: chunked\r\n" + PLAIN + b"\r\n" + BODY,
    ),
    "encoding-in-1-0": (
        400,
        b"POST /v1/chat/completions HTTP/1.0\r\n" + CHUNKED + b"\r\n" + ONE_CHUNK,
    ),
    "get-with-body": (400, get("/health", "Content-Length: 3") + b"abc"),
    # Chunks.
    "chunk-size-no-number": (400, HEAD + CHUNKED + b"\r\nZ\r\nabc\r\n0\r\n\r\n"),
    "chunk-size-empty": (400, HEAD + CHUNKED + b"\r\n\r\nabc\r\n0\r\n\r\n"),
    "chunk-size-negative": (400, HEAD + CHUNKED + b"\r\n-3\r\nabc\r\n0\r\n\r\n"),
    "chunk-size-with-0x": (400, HEAD + CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n"),
    "chunk-size-with-space": (400, HEAD + CHUNKED + b"\r\n3 \r\nabc\r\n0\r\n\r\n"),
    "chunk-size-overflow": (400, HEAD + CHUNKED + b"\r\nfffffffffffffffff\r\nabc"),
    "chunk-size-bare-lf": (400, HEAD + CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n"),
    "chunk-size-with-plus": (400, HEAD + CHUNKED + b"\r\n+3\r\nabc\r\n0\r\n\r\n"),
    "chunk-size-after-space": (400, HEAD + CHUNKED + b"\r\n 3\r\nabc\r\n0\r\n\r\n"),
    "chunk-size-with-underscore": (400, HEAD + CHUNKED + b"\r\n0_3\r\nabc\r\n0\r\n\r\n"),
    "chunk-size-bare-cr": (400, HEAD + CHUNKED + b"\r\n3\rabc\r\n0\r\n\r\n"),
    "chunk-data-bare-lf": (400, HEAD + CHUNKED + b"\r\n3\r\nabc\n0\r\n\r\n"),
    "last-chunk-bare-lf": (400, HEAD + CHUNKED + b"\r\n3\r\nabc\r\n0\n\n"),
    "chunk-extension-bare-lf": (400, HEAD + CHUNKED + b"\r\n3;a=b\nabc\r\n0\r\n\r\n"),
    "chunk-extension-with-nul": (400, HEAD + CHUNKED + b"\r\n3;a=\0\r\nabc\r\n0\r\n\r\n"),
    "chunk-without-end": (400, HEAD + CHUNKED + b"\r\n3\r\nabcX0\r\n\r\n"),
    "chunk-longer-than-said": (400, HEAD + CHUNKED + b"\r\n2\r\nabc\r\n0\r\n\r\n"),
    "chunk-extension-endless": (
        400,
        HEAD + CHUNKED + b"\r\n" + b"1;" + b"a" * 20_000,
    ),
    "chunk-extensions-on-every-byte": (
        400,
        HEAD + CHUNKED + b"\r\n" + b"1;%b\r\n{\r\n" % (b"a" * 500) * 60,
    ),
    "trailer-folded": (400, HEAD + CHUNKED + b"\r\n0\r\nX: y\r\n z\r\n\r\n"),
    "trailer-endless": (400, HEAD + CHUNKED + b"\r\n0\r\nX: " + b"a" * 20_000),
    "trailer-with-length": (400, HEAD + CHUNKED + b"\r\n0\r\nContent-Length: 5\r\n\r\nabcde"),
    # Lines and headers.
    "bare-lf": (400, b"GET /health HTTP/1.1\nHost: a\n\n"),
    "bare-lf-after-header": (400, b"GET /health HTTP/1.1\r\nHost: a\n\r\n"),
    "bare-lf-hides-encoding": (400, HEAD + b"X: y\nTransfer-Encoding: chunked\r\n" + PLAIN),
    "bare-cr": (400, b"GET /health HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
    "folded-header": (400, headers(b"Host: a", b"X: b\r\n c")),
    "folded-encoding": (400, HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + ONE_CHUNK),
    "space-before-colon": (400, HEAD + b"Content-Length : 5\r\n\r\n" + BODY),
    "space-before-first-header": (400, headers(b" Host: a")),
    "no-colon": (400, headers(b"Host: a", b"nothing")),
    "empty-name": (400, headers(b"Host: a", b": x")),
    "nul-in-value": (400, headers(b"Host: a", b"X: a\0b")),
    "nul-in-name": (400, headers(b"Host: a", b"X\0: b")),
    "control-in-value": (400, headers(b"Host: a", b"X: a\x01b")),
    "bracket-in-name": (400, headers(b"Host: a", b"X(y): b")),
    "eight-bit-name": (400, headers(b"Host: a", b"X\xe9: b")),
    "no-host": (400, headers(b"X: y")),
    "two-hosts": (400, headers(b"Host: a", b"Host: b")),
    "two-equal-hosts": (400, headers(b"Host: a", b"Host: a")),
    "host-with-path": (400, headers(b"Host: a/b")),
    "host-with-user": (400, headers(b"Host: me@a")),
    "host-with-space": (400, headers(b"Host: a b")),
    "host-with-comma": (400, headers(b"Host: a,b")),
    "host-too-long": (400, headers(b"Host: " + b"a" * 300)),
    "delete-in-value": (400, headers(b"Host: a", b"X: a\x7fb")),
    "vertical-tab-before-value": (400, headers(b"Host: a", b"\x0bX: b")),
    "carriage-returns-only": (400, b"GET /health HTTP/1.1\rHost: a\r\r"),
    "carriage-return-twice": (400, b"GET /health HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    "expect-list": (417, HEAD + PLAIN + b"Expect: 100-continue, a-miracle\r\n\r\n"),
    "expect-101": (417, HEAD + PLAIN + b"Expect: 101-switching\r\n\r\n"),
    "expect-too-much": (
        413,
        HEAD + b"Content-Length: 50000000\r\nExpect: 100-continue\r\n\r\n",
    ),
    "expect-nowhere": (
        404,
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    ),
    "expect-other": (417, HEAD + PLAIN + b"Expect: a-miracle\r\n\r\n"),
    # The first line.
    "unknown-method": (400, b"BREW /health HTTP/1.1\r\nHost: a\r\n\r\n"),
    "lower-case-method": (400, b"get /health HTTP/1.1\r\nHost: a\r\n\r\n"),
    "tab-after-method": (400, b"GET\t/health HTTP/1.1\r\nHost: a\r\n\r\n"),
    "space-in-target": (400, b"GET /hea lth HTTP/1.1\r\nHost: a\r\n\r\n"),
    "nul-in-target": (400, b"GET /hea\0lth HTTP/1.1\r\nHost: a\r\n\r\n"),
    "eight-bit-target": (400, b"GET /hea\xfflth HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no-target": (400, b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    "space-before-method": (400, b" GET /health HTTP/1.1\r\nHost: a\r\n\r\n"),
    "space-after-version": (400, b"GET /health HTTP/1.1 \r\nHost: a\r\n\r\n"),
    "fragment-in-target": (
        404,
        b"POST /v1/chat/completions#x HTTP/1.1\r\n" + HOST + PLAIN + b"\r\n",
    ),
    "relative-target": (400, b"GET health HTTP/1.1\r\nHost: a\r\n\r\n"),
    "absolute-without-host": (400, b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n"),
    "absolute-of-no-scheme": (400, b"GET ://a/health HTTP/1.1\r\nHost: a\r\n\r\n"),
    "backslash-target": (400, b"GET \\health HTTP/1.1\r\nHost: a\r\n\r\n"),
    "percent-slash": (404, b"POST /v1%2fchat/completions HTTP/1.1\r\n" + HOST + PLAIN + b"\r\n"),
    "percent-letter": (404, b"POST /v1/ch%61t/completions HTTP/1.1\r\n" + HOST + PLAIN + b"\r\n"),
    "percent-nul": (404, b"POST /v1/chat/completions%00 HTTP/1.1\r\n" + HOST + PLAIN + b"\r\n"),
    "percent-question": (
        404,
        b"POST /v1/chat/completions%3fa=b HTTP/1.1\r\n" + HOST + PLAIN + b"\r\n",
    ),
    "percent-line-end": (
        404,
        b"POST /v1/chat/completions%0d%0aX:y HTTP/1.1\r\n" + HOST + PLAIN + b"\r\n",
    ),
    "dots-in-target": (
        405,
        b"POST /v1/models/../chat/completions HTTP/1.1\r\n" + HOST + PLAIN + b"\r\n",
    ),
    "path-parameter": (
        404,
        b"POST /v1/chat/completions;a=b HTTP/1.1\r\n" + HOST + PLAIN + b"\r\n",
    ),
    "slashes-doubled": (404, b"POST //v1/chat/completions HTTP/1.1\r\n" + HOST + PLAIN + b"\r\n"),
    "version-0-9-post": (505, b"POST /v1/chat/completions\r\n\r\n" + BODY),
    "version-11": (400, b"GET /health HTTP/11.1\r\nHost: a\r\n\r\n"),
    "version-1-without-minor": (400, b"GET /health HTTP/1\r\nHost: a\r\n\r\n"),
    "version-of-another-protocol": (400, b"GET /health ICE/1.0\r\nHost: a\r\n\r\n"),
    "rtsp": (405, b"DESCRIBE /health RTSP/1.0\r\nHost: a\r\n\r\n"),
    "answer-for-request": (400, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "proxy-protocol": (400, b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + HEAD + PLAIN + b"\r\n" + BODY),
    "version-0-9": (505, b"GET /health\r\n\r\n"),
    "version-1-2": (505, b"GET /health HTTP/1.2\r\nHost: a\r\n\r\n"),
    "version-2": (505, b"GET /health HTTP/2.0\r\nHost: a\r\n\r\n"),
    "version-lower-case": (400, b"GET /health http/1.1\r\nHost: a\r\n\r\n"),
    "http-2-preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "tls-hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "connect": (405, b"CONNECT other:443 HTTP/1.1\r\nHost: other\r\n\r\n"),
    "http-2-preface-with-settings": (
        400,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ),
    "http-2-frames": (400, b"\0\0\x04\x08\0\0\0\0\0\0\0\xff\xff"),
    "upgrade-with-body": (
        400,
        HEAD + PLAIN + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + BODY,
    ),
    # Too much.
    "long-target": (414, b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "long-target-unfinished": (414, b"GET /" + b"a" * 300),
    "long-header": (431, headers(b"Host: a", b"X: " + b"a" * 3000)),
    "long-header-unfinished": (431, b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 3000),
    "many-headers": (431, headers(b"Host: a", *[b"X: y"] * 30)),
    "many-trailers": (431, HEAD + CHUNKED + b"\r\n0\r\n" + b"X: y\r\n" * 30 + b"\r\n"),
    "body-too-large": (413, HEAD + b"Content-Length: 5000\r\n\r\n"),
    "body-of-50-mb": (413, HEAD + b"Content-Length: 50000000\r\n\r\n"),
    "chunks-too-large": (413, HEAD + CHUNKED + b"\r\n1388\r\n" + b"a" * 5000),
    # Wrong places are said before their body comes.
    "body-for-nowhere": (404, b"POST /v2/chat HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"),
    "body-for-a-page": (405, b"POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"),
    "compressed-body": (400, HEAD + PLAIN + b"Content-Encoding: gzip\r\n\r\n"),
    "body-in-utf-16": (
        400,
        HEAD + PLAIN + b"Content-Type: application/json; charset=utf-16\r\n\r\n",
    ),
}  # fmt: skip


ACCEPTED = {
    "plain": HEAD + PLAIN + b"\r\n" + BODY,
    "chunked": HEAD + CHUNKED + b"\r\n" + ONE_CHUNK,
    "chunked-upper-case": HEAD + b"TRANSFER-ENCODING: Chunked\r\n\r\n" + ONE_CHUNK,
    "chunk-of-each-byte": HEAD + CHUNKED + b"\r\n"
    + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n",
    "chunk-extension": HEAD + CHUNKED + b"\r\n%x;a=b\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY),
    "chunk-leading-zeros": HEAD + CHUNKED + b"\r\n000%x\r\n%b\r\n0\r\n\r\n" % (SIZE, BODY),
    "trailer": HEAD + CHUNKED + b"\r\n%x\r\n%b\r\n0\r\nX: y\r\n\r\n" % (SIZE, BODY),
    "length-with-trailing-space": HEAD + b"Content-Length: %d \r\n\r\n" % SIZE + BODY,
    "length-with-leading-zeros": HEAD + b"Content-Length: 000%d\r\n\r\n" % SIZE + BODY,
    "two-spaces-after-method": b"POST  /v1/chat/completions HTTP/1.1\r\n" + HOST + PLAIN
    + b"\r\n" + BODY,
    "absolute-target-with-port": b"POST http://a:80/v1/chat/completions?x=y HTTP/1.1\r\n" + HOST
    + PLAIN + b"\r\n" + BODY,
    "absolute-target-elsewhere": b"POST http://b/v1/chat/completions HTTP/1.1\r\n" + HOST + PLAIN
    + b"\r\n" + BODY,
    "trailer-with-framing-names": HEAD + CHUNKED + b"\r\n%x\r\n%b\r\n0\r\nX-Content-Length: 5\r\n"
    b"Host: b\r\nContent-Encoding: gzip\r\n\r\n" % (SIZE, BODY),
    "expect-continue": HEAD + PLAIN + b"Expect: 100-Continue\r\n\r\n" + BODY,
    "unknown-headers": HEAD + b"Cookie: a=b\r\nX-Forwarded-For: c\r\nAuthorization: Bearer d\r\n"
    b"TE: trailers\r\nConnection: x-hop\r\nX-Hop: e\r\n" + PLAIN + b"\r\n" + BODY,
    "empty-lines-first": b"\r\n\r\n" + HEAD + PLAIN + b"\r\n" + BODY,
    "absolute-target": b"POST http://a/v1/chat/completions HTTP/1.1\r\nHost: a\r\n" + PLAIN
    + b"\r\n" + BODY,
    "query": b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: a\r\n" + PLAIN + b"\r\n" + BODY,
    "empty-header": HEAD + b"X:\r\n" + PLAIN + b"\r\n" + BODY,
    "http-1-0": b"POST /v1/chat/completions HTTP/1.0\r\n" + PLAIN + b"\r\n" + BODY,
    "charset-utf-8": HEAD + PLAIN + b"Content-Type: application/json; charset=UTF-8\r\n\r\n" + BODY,
    "identity": HEAD + PLAIN + b"Content-Encoding: identity\r\n\r\n" + BODY,
}  # fmt: skip
