"""A head that came before is read as it was read then, and nothing else is taken for one."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plimsoll.gateway.access import ANYONE
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.http_repeat import RepeatReader
from plimsoll.gateway.http_request import Request, RequestReader
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.upstream import Head, Pool, UpstreamConnection
from plimsoll.policy.requests.types import Upstream
from plimsoll.policy.retry import Failure
from tests.gateway.http_cases import ACCEPTED, BODY, HEAD, PLAIN, REFUSED_AND_CLOSED

SMALL = GatewaySettings(max_body=2000, max_head=1000, max_headers=10)
AUTHORIZED = HEAD + b"Authorization: Bearer key\r\n"
PLAINEST = AUTHORIZED + PLAIN + b"\r\n" + BODY


def fields_of(request: Request) -> dict[str, object]:
    """What a request says, whether its class is compiled or not."""
    values = {name: getattr(request, name) for name in dir(request) if not name.startswith("_")}
    return {name: value for name, value in values.items() if not callable(value)}


class Told:
    """Everything that a reader tells, in its order."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def head_read(self, request: Request) -> None:
        self.events.append(("head", {**fields_of(request), "body": b""}))

    def body_grew(self, count: int) -> None:
        self.events.append(("body", count))

    def request_read(self, request: Request) -> None:
        self.events.append(("request", fields_of(request)))


def told(reader: type[RequestReader], pieces: list[bytes]) -> list[object]:
    """What is told about pieces of one connection, refusals too, and where it stands then."""
    sink = Told()
    made = reader(sink, SMALL)
    for piece in pieces:
        try:
            sink.events.append(("begun", made.feed(piece)))
        except Refused as refused:
            sink.events.append(("refused", refused.code, refused.message))
            break
        sink.events.append((made.reading, made.in_head))
    return [event if event[0] != "head" else ("head", _plain(event[1])) for event in sink.events]


def _plain(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name != "body"}


ROWS = [data for _, data in REFUSED_AND_CLOSED.values()] + list(ACCEPTED.values())


@pytest.mark.parametrize("row", ROWS)
def test_what_follows_an_accepted_head_is_judged_as_if_it_came_first(row: bytes) -> None:
    pieces = [PLAINEST, PLAINEST, row, PLAINEST, row]
    assert told(RepeatReader, pieces) == told(RequestReader, pieces)


LENGTHS = [
    b"0", b"1", b"01", b"+1", b"-1", b" 1", b"1 ", b"1\t", b"", b"1_0", b"0x1", b"\xb2", b"1\x00",
    b"2001", b"99999999999999999999999", b"00000000000000000001", b"1\r\nContent-Length: 1",
    b"1, 1", b"1\n",
]  # fmt: skip
FIELDS = [
    b"Host: b", b"Authorization: Bearer key", b"Expect: 100-continue", b"Connection: close",
    b"Connection: upgrade\r\nUpgrade: x", b"Transfer-Encoding: chunked", b"x-request-id: 1",
    b"Content-Encoding: gzip", b" folded",
]  # fmt: skip
BODIES = [b"1", b"", b"\r\n\r\n", b"12", b"x" * 1999, b"x" * 2001, b"1" + PLAINEST]


def plain(*, length: bytes | None = None, field: bytes = b"", body: bytes = b"1") -> bytes:
    """A request of which only what is said differs from all others."""
    rows = [b"POST /a HTTP/1.1", b"Host: a"]
    rows.append(b"Content-Length: " + (b"%d" % len(body) if length is None else length))
    rows.extend([field] if field else [])
    return b"\r\n".join([*rows, b"", b""]) + body


VARIANTS = [
    *(plain(length=length) for length in LENGTHS),
    *(plain(field=field) for field in FIELDS),
    *(plain(body=body) for body in BODIES),
    *(plain(field=b"x-request-id: 1", length=length) for length in LENGTHS),
    *(plain(length=b"1", body=body) for body in BODIES),
    plain(length=b"2001", body=b"x" * 2001),
    b"\r\n" + plain(),
    plain().replace(b"HTTP/1.1", b"HTTP/1.0"),
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
]


@pytest.mark.parametrize("first", VARIANTS)
def test_one_head_after_another_is_judged_as_if_it_came_first(first: bytes) -> None:
    for second in VARIANTS:
        pieces = [first, second, first, first]
        assert told(RepeatReader, pieces) == told(RequestReader, pieces), (first, second)


@settings(max_examples=300, deadline=None)
@given(
    order=st.lists(st.sampled_from(VARIANTS), min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 80) | st.none(), min_size=6, max_size=6),
)
@example(order=[plain()] * 2, cuts=[None] * 6)
def test_both_readers_tell_the_same(order: list[bytes], cuts: list[int | None]) -> None:
    parts = [
        part
        for each, cut in zip(order, cuts, strict=False)
        for part in (each[:cut], each[cut or len(each) :])
        if part
    ]
    assert told(RepeatReader, parts) == told(RequestReader, parts)


@pytest.mark.interpreted
def test_a_repeated_head_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Told()
    reader = RepeatReader(sink, SMALL)
    reader.feed(PLAINEST)
    monkeypatch.setattr(reader, "_parser", None)
    longer = BODY + b" " * 3
    reader.feed(AUTHORIZED + b"Content-Length: %d\r\n\r\n" % len(longer) + longer)
    name, fields = sink.events[-1]
    assert (name, fields["body"], fields["length"]) == ("request", longer, len(longer))
    assert fields["authorization"] == b"Bearer key"


@pytest.mark.interpreted
def test_a_caller_is_looked_up_for_each_request() -> None:
    sink = Told()
    reader = RepeatReader(sink, SMALL)

    class Admitting(Told):
        def head_read(self, request: Request) -> None:
            assert request.caller is None
            request.caller = ANYONE

    reader._sink = Admitting()
    for _ in range(3):
        reader.feed(PLAINEST)


class Line:
    """A transport that takes everything; stands in for one of the event loop."""

    def __init__(self) -> None:
        self.ends = socket.socketpair()
        self.aborted = False

    def get_extra_info(self, name: str) -> socket.socket:
        return self.ends[0]

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.aborted = True


class Answered:
    """Everything that an upstream connection tells."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def upstream_head(self, head: Head) -> None:
        self.events.append((head.status, head.content_type, head.encoded))

    def upstream_data(self, data: bytes) -> None:
        self.events.append(data)

    def upstream_done(self) -> None:
        self.events.append("done")

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        self.events.append(failure)


def answered(answers: list[bytes], *, repeats: bool) -> list[object]:
    """What is told about the answers of one connection, and whether it is kept after each."""
    upstream = Upstream(replica="r", host="127.0.0.1", port=1, capacity=1)
    pool = Pool(60.0)
    pool.keep_only(frozenset({upstream}))
    connection, line, receiver = UpstreamConnection(pool, pool._kept[upstream]), Line(), Answered()
    connection._chances = 4 if repeats else 0
    connection.connection_made(line)
    for answer in answers:
        if line.aborted:
            break
        connection.send(b"", b"", receiver)
        connection.data_received(answer)
        if not line.aborted and "done" not in receiver.events[-1:]:
            connection.connection_lost(None)
            line.abort()
        receiver.events.append(("kept", not line.aborted))
        pool.take(upstream, 0.0)
    for end in line.ends:
        end.close()
    return receiver.events


def answer(
    *, length: bytes | None = None, field: bytes = b"", body: bytes = b"{}", status: bytes = b"200"
) -> bytes:
    """An answer of which only what is said differs from all others."""
    rows = [b"HTTP/1.1 " + status + b" OK", b"content-type: application/json"]
    rows.append(b"content-length: " + (b"%d" % len(body) if length is None else length))
    rows.extend([field] if field else [])
    return b"\r\n".join([*rows, b"", b""]) + body


ANSWERS = [
    *(answer(length=length) for length in [*LENGTHS, b"2", b"02"]),
    *(answer(body=body) for body in BODIES),
    *(answer(field=field) for field in FIELDS),
    answer(field=b"content-encoding: gzip"),
    answer(status=b"500"),
    answer(status=b"204", body=b""),
    answer() + answer(),
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
    answer().replace(b"HTTP/1.1", b"HTTP/1.0"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n{}",
]


@pytest.mark.parametrize("first", ANSWERS)
def test_an_answer_after_another_is_judged_as_if_it_came_first(first: bytes) -> None:
    for second in ANSWERS:
        answers = [first, second, first, second]
        assert answered(answers, repeats=True) == answered(answers, repeats=False), second


def test_a_repeated_answer_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = []
    monkeypatch.setattr(
        UpstreamConnection, "on_headers_complete", _counted(heads, "on_headers_complete")
    )
    events = answered([answer(), answer(body=b"[1, 2, 3]"), answer()], repeats=True)
    assert events.count("done") == 3
    assert b"[1, 2, 3]" in events
    assert len(heads) == 1


def _counted(calls: list[str], name: str) -> Callable[[UpstreamConnection], None]:
    before = getattr(UpstreamConnection, name)

    def counted(self: UpstreamConnection) -> None:
        calls.append(name)
        before(self)

    return counted
