"""Whatever bytes come, in whatever pieces: a valid answer or a closed connection, never a crash."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz.__main__ import fuzz
from plimsoll.gateway import Board, GatewaySettings
from plimsoll.gateway.connection import ClientConnection
from plimsoll.gateway.errors import TABLE
from plimsoll.gateway.one_try import Means
from plimsoll.gateway.pages import Pages
from plimsoll.gateway.service import Service
from plimsoll.gateway.upstream import Pool
from plimsoll.telemetry.metrics import GatewayMetrics
from tests.gateway.http_cases import ACCEPTED, REFUSED_AND_CLOSED
from tests.gateway.stub import CHAT, DONE, EMBED, StubEngine, chat, event, get, post, rig, run

SMALL = GatewaySettings(max_body=2000, max_target=100, max_head=1000, max_headers=10)


class Wire:
    """A transport that keeps what is written; stands in for one of the event loop."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.ended = False

    def write(self, data: bytes) -> None:
        assert not self.ended
        self.written += data

    def set_write_buffer_limits(self, *, high: int) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def gateway() -> Service:
    """A gateway without replicas: requests for a model wait in its queue."""
    metrics = GatewayMetrics()
    board = Board([CHAT, EMBED])
    means = Means(board=board, pool=Pool(1.0), settings=SMALL, metrics=metrics, log=None)
    return Service(means=means, pages=Pages(board, metrics.recent, created=0))


def answers(written: bytes) -> list[int]:
    """The statuses of whole, well-framed answers; fails when anything else is there."""
    statuses = []
    while written:
        if written.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            written = written[25:]
            continue
        head, found, written = written.partition(b"\r\n\r\n")
        assert found
        status = int(re.match(rb"HTTP/1\.1 (\d{3}) [A-Za-z' -]+\r\n", head)[1])
        length = int(re.search(rb"\r\ncontent-length: (\d+)", head)[1])
        assert b"\r\nx-request-id: " in head
        body, written = written[:length], written[length:]
        assert len(body) == length
        if status >= 400 and b"application/json" in head:
            error = json.loads(body)["error"]
            assert TABLE[error["code"]].status == status
        statuses.append(status)
    return statuses


PARTS = st.sampled_from(
    [
        *(data for _, data in REFUSED_AND_CLOSED.values()), *ACCEPTED.values(),
        chat(), chat(stream=True), post(b"{"), get("/health"), get("/v1/models"), get("/nowhere"),
        b"\r\n", b"\r\n\r\n", b"\0", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
    ]
)  # fmt: skip


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Requests, right and wrong, one after another, with some bytes changed."""
    data = bytearray(b"".join(draw(st.lists(PARTS | st.binary(max_size=30), max_size=5))))
    for _ in range(draw(st.integers(0, 4))):
        if data:
            at = draw(st.integers(0, len(data) - 1))
            data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.large_base_example,
          HealthCheck.data_too_large, HealthCheck.too_slow])  # fmt: skip
@given(data=conversations(), cuts=st.lists(st.integers(0, 100_000), max_size=12), eof=st.booleans())
@example(data=chat() + get("/health"), cuts=[5], eof=True)
def test_any_bytes_in_any_pieces_get_valid_answers_and_hold_nothing(data, cuts, eof) -> None:
    service = gateway()
    connection, wire = ClientConnection(service), Wire()
    connection.connection_made(wire)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        if end > start and not wire.closed:
            connection.data_received(data[start:end])
    answers(wire.written)
    connection.tick(1e12)
    answers(wire.written)
    if eof:
        connection.eof_received()
    connection.connection_lost(None)
    assert service.bodies == 0
    assert service.connections == set()
    assert all(not each.queued and not each.in_flight for each in _demand(service))


def _demand(service: Service) -> list:
    return list(service.means.board.demand().values())


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 400), max_size=40),
    texts=st.lists(st.text(max_size=30), max_size=20),
)
def test_a_relayed_stream_is_equal_whatever_its_pieces(cuts: list[int], texts: list[str]) -> None:
    stream = b"".join(map(event, texts)) + DONE
    framed, at = b"", 0
    for cut in [*cuts, len(stream)]:
        piece = stream[at : at + cut]
        at += cut
        if piece:
            framed += b"%x\r\n%b\r\n" % (len(piece), piece)
    framed += b"0\r\n\r\n"

    async def answer(asked) -> None:
        await asked.stream_head()
        start = 0
        for cut in [*cuts, len(framed)]:
            await asked.send(framed[start : start + cut])
            start += cut

    async def main() -> None:
        async with rig(StubEngine(handler=answer)) as the:
            assert (await the.ask(chat(stream=True))).body == stream

    run(main)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), stream=st.booleans())
def test_any_bytes_from_an_engine_give_a_valid_answer_or_an_error(data, stream: bool) -> None:
    good = st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 500 X\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
            b"content-type: application/json\r\n", b"content-type: text/event-stream\r\n",
            b"content-length: 2\r\n", b"transfer-encoding: chunked\r\n", b"\r\n", b"{}",
            b"2\r\n{}\r\n", b"0\r\n\r\n", DONE, event("A"), b"connection: close\r\n",
        ]
    )  # fmt: skip
    sent = data.draw(st.lists(good | st.binary(max_size=10), max_size=12))

    async def answer(asked) -> None:
        for piece in sent:
            await asked.send(piece)
        asked.writer.close()

    async def main() -> None:
        hasty = GatewaySettings(suspect_seconds=0.001, tries=1)
        async with rig(StubEngine(handler=answer), settings=hasty) as the:
            reply = await the.ask(chat(stream=stream))
            if reply.headers["content-type"] == "application/json":
                body = json.loads(reply.body)
                assert (reply.status == 200) == ("error" not in body)
            else:
                assert reply.status == 200
                assert reply.body.endswith(b"\n\n")
                assert reply.body.endswith(DONE) or b'"error"' in reply.body

    run(main)


@pytest.mark.parametrize("kind", ["conversations", "translations"])
def test_nothing_that_peers_say_in_any_order_crashes_hangs_or_stays(kind: str) -> None:
    """A short run of `python -m benchmarks.fuzz`."""
    assert asyncio.run(fuzz(kind, seconds=60.0, seed="ci", cases=600)) == 600
