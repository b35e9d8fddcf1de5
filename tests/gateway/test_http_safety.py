"""Requests that two readers could understand in two ways, or that never end: each is answered
with its own status at once, the connection is closed, and nothing of it reaches an engine.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from time import monotonic

import pytest

from plimsoll.gateway import GatewaySettings
from plimsoll.gateway.errors import TABLE
from tests.gateway.http_cases import ACCEPTED, BODY, CHUNKED, HEAD, PLAIN, REFUSED_AND_CLOSED
from tests.gateway.raw_engine import RawEngine
from tests.gateway.stub import MESSAGES, StubEngine, chat, get, post, rig, run, until

SMALL = GatewaySettings(max_body=4096, max_target=256, max_head=2048, max_headers=20)


def test_the_table_is_long_enough() -> None:
    assert len(REFUSED_AND_CLOSED) >= 140


@pytest.mark.parametrize("pieces", ["whole", "bytes"])
@pytest.mark.parametrize("name", REFUSED_AND_CLOSED)
def test_a_request_that_cannot_be_trusted_is_refused_and_its_connection_closed(
    name: str, pieces: str
) -> None:
    status, data = REFUSED_AND_CLOSED[name]

    async def main() -> None:
        async with rig(RawEngine(), settings=SMALL) as the:
            client = await the.connect()
            single = 0 if pieces == "whole" else 500
            for byte in data[:single]:
                client.send(bytes([byte]))
                await asyncio.sleep(0)
            client.send(data[single:])
            reply = await client.reply()
            assert reply.status == status
            assert reply.headers["connection"] == "close"
            assert TABLE[reply.code].status == status
            # Whatever follows is not read as a request.
            client.send(chat())
            assert await client.at_end()
            await client.close()
            assert the.engine.connections == []

    run(main)


@pytest.mark.parametrize("pieces", ["whole", "bytes"])
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_request_that_is_only_unusual_reaches_an_engine_as_one_plain_one(
    name: str, pieces: str
) -> None:
    data = ACCEPTED[name]

    async def main() -> None:
        async with rig(RawEngine()) as the:
            client = await the.connect()
            if pieces == "whole":
                client.send(data)
            else:
                for byte in data:
                    client.send(bytes([byte]))
                    await asyncio.sleep(0)
            if b"100-Continue" in data:
                assert await client.head() == (100, {})
            assert (await client.reply()).status == 200
            await client.close()
            assert [said.body for said in the.engine.heard()] == [BODY]

    run(main)


@pytest.mark.parametrize("name", REFUSED_AND_CLOSED)
def test_behind_a_right_request_a_wrong_one_changes_neither_its_answer_nor_its_engine(
    name: str,
) -> None:
    status, data = REFUSED_AND_CLOSED[name]

    async def main() -> None:
        async with rig(RawEngine(), settings=SMALL) as the:
            client = await the.connect()
            client.send(ACCEPTED["plain"] + data + chat())
            assert [(await client.reply()).status for _ in range(2)] == [200, status]
            assert await client.at_end()
            await client.close()
            assert [said.body for said in the.engine.heard()] == [BODY]

    run(main)


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("name", ["plain", "chunked", "http-1-0"])
def test_a_caller_that_hangs_up_before_its_request_is_whole_leaves_nothing_behind(
    name: str, leave: str
) -> None:
    data = ACCEPTED[name]

    async def main() -> None:
        async with rig(RawEngine()) as the:
            for size in range(0, len(data), 3):
                client = await the.connect()
                client.send(data[:size])
                await asyncio.sleep(0)
                if leave == "close":
                    client.writer.close()
                else:
                    linger = struct.pack("ii", 1, 0)
                    sock = client.writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    await client.close()
            service = the.gateway._service
            await until(lambda: not service.connections)
            assert service.bodies == 0
            assert the.engine.connections == []

    run(main)


@pytest.mark.parametrize(
    "parts",
    [
        (b"", b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 500),
        (HEAD + PLAIN + b"\r\n", BODY * 9),
        (HEAD + CHUNKED + b"\r\n", b"1\r\na\r\n" * 100),
        (b"\r\n", b"\r\n" * 500),
    ],
    ids=["head", "body", "chunks", "empty-lines"],
)
def test_a_request_that_comes_byte_by_byte_has_no_more_time_than_another(parts) -> None:
    first, slowly = parts

    async def main() -> None:
        hasty = GatewaySettings(head_seconds=0.3, body_seconds=0.3, idle_seconds=0.3)
        async with rig(RawEngine(), settings=hasty) as the:
            client = await the.connect()
            client.send(first)
            since = monotonic()
            reading = asyncio.ensure_future(client.reader.read())
            for byte in slowly:
                if reading.done() or monotonic() - since > 4:
                    break
                client.send(bytes([byte]))
                await asyncio.sleep(0.01)
            try:
                said = await reading
            except ConnectionResetError:  # bytes that it had not read yet when it closed
                said = b""
            assert monotonic() - since < 3  # of 5 and more that the bytes take
            assert said == b"" or said.startswith(b"HTTP/1.1 408 ")
            await client.close()
            assert the.engine.connections == []

    run(main)


def test_a_request_that_begins_behind_another_has_only_its_own_time() -> None:
    """Each read ends one request and begins the next, so that a reader is never idle."""
    whole = get("/health")

    async def main() -> None:
        hasty = GatewaySettings(head_seconds=0.2, idle_seconds=30.0)
        async with rig(RawEngine(), settings=hasty) as the:
            client = await the.connect()
            client.send(whole[:5])
            await asyncio.sleep(0.05)
            client.send(whole[5:] + whole[:5])
            assert (await client.reply()).status == 200
            since = monotonic()
            assert (await client.reply()).status == 408
            assert monotonic() - since < 1

    run(main)


def test_a_caller_that_waits_for_100_behind_another_request_is_told_to_go_on() -> None:
    head, body = chat().split(b"\r\n\r\n", 1)

    async def main() -> None:
        async with rig(RawEngine()) as the:
            client = await the.connect()
            client.send(chat() + head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert (await client.reply()).status == 200
            assert await client.head() == (100, {})
            client.send(body)
            assert (await client.reply()).status == 200
            await client.close()

    run(main)


def test_a_length_of_thousands_of_zeros_is_refused() -> None:
    async def main() -> None:
        async with rig(RawEngine()) as the:
            reply = await the.ask(HEAD + b"Content-Length: %b5\r\n\r\n" % (b"0" * 6000))
            assert (reply.status, reply.code) == (400, "bad_http")

    run(main)


WRONG_BODIES = {
    "not-json": (b"hello", "malformed_json", None),
    "cut-short": (b'{"model":"chat","mess', "malformed_json", None),
    "after-the-end": (BODY + b"x", "malformed_json", None),
    "two-documents": (BODY + BODY, "malformed_json", None),
    "nan": (b'{"model":"chat","messages":[{"role":"user"}],"x":NaN}', "malformed_json", None),
    "single-quotes": (b"{'model':'chat'}", "malformed_json", None),
    "deep": (b'{"model":"chat","x":' + b"[" * 50_000, "malformed_json", None),
    "byte-order-mark": (b"\xef\xbb\xbf" + BODY, "malformed_json", None),
    "utf-16": (BODY.decode().encode("utf-16"), "bad_encoding", None),
    "latin-1": (b'{"model":"chat","messages":[],"x":"\xe9"}', "bad_encoding", None),
    "utf-8-cut": (b'{"model":"chat","messages":[],"x":"\xc3"}', "bad_encoding", None),
    "list": (b"[]", "invalid_type", None),
    "string": (b'"chat"', "invalid_type", None),
    "null": (b"null", "invalid_type", None),
    "no-model": (b'{"messages":[{"role":"user"}]}', "missing_parameter", "model"),
    "model-number": (b'{"model":5,"messages":[]}', "invalid_type", "model"),
    "model-null": (b'{"model":null,"messages":[]}', "invalid_type", "model"),
    "no-messages": (b'{"model":"chat"}', "missing_parameter", "messages"),
    "messages-object": (b'{"model":"chat","messages":{}}', "invalid_type", "messages"),
    "messages-string": (b'{"model":"chat","messages":"hi"}', "invalid_type", "messages"),
    "messages-empty": (b'{"model":"chat","messages":[]}', "invalid_value", "messages"),
    "message-string": (b'{"model":"chat","messages":["hi"]}', "invalid_type", "messages[0]"),
    "no-role": (b'{"model":"chat","messages":[{}]}', "missing_parameter", "messages[0].role"),
    "stream-string": (
        b'{"model":"chat","messages":[{"role":"user"}],"stream":"yes"}', "invalid_type", "stream",
    ),
    "wrong-task": (b'{"model":"embed","messages":[{"role":"user"}]}', "wrong_task", "model"),
    "unknown-model": (b'{"model":"gpt","messages":[{"role":"user"}]}', "model_not_found", "model"),
    "empty-model": (b'{"model":"","messages":[{"role":"user"}]}', "model_not_found", "model"),
    "no-body": (b"", "missing_body", None),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_BODIES)
def test_a_wrong_body_is_refused_and_the_connection_goes_on(name: str) -> None:
    body, code, param = WRONG_BODIES[name]

    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            client.send(post(body))
            reply = await client.reply()
            error = reply.json["error"]
            assert (error["code"], error["param"]) == (code, param)
            assert reply.status == TABLE[code].status
            assert set(error) == {"message", "type", "param", "code"}
            assert the.engine.asked == []
            client.send(chat())
            assert (await client.reply()).status == 200
            await client.close()

    run(main)


def test_an_unknown_model_is_told_the_names_that_exist() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            reply = await the.ask(post({"model": "chta", "messages": MESSAGES}))
            assert reply.status == 404
            message = reply.json["error"]["message"]
            assert "Did you mean `chat`?" in message
            assert "`embed`" in message

    run(main)


@pytest.mark.parametrize(
    ("data", "status", "allow"),
    [
        (get("/nowhere"), 404, None),
        (get("/v1/chat/completions"), 405, "POST"),
        (get("/health", method="DELETE"), 405, "GET, HEAD"),
        (get("*", method="OPTIONS"), 404, None),
        (get("//v1/models"), 404, None),
    ],
)
def test_a_wrong_place_is_said_and_the_connection_goes_on(
    data: bytes, status: int, allow: str | None
) -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            client.send(data)
            reply = await client.reply()
            assert (reply.status, reply.headers.get("allow")) == (status, allow)
            client.send(get("/health"))
            assert (await client.reply()).status == 200
            await client.close()

    run(main)


def test_a_50_mb_body_is_refused_while_it_is_still_being_sent() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            client.send(HEAD + b"Content-Length: 50000000\r\n\r\n" + b"a" * 1_000_000)
            assert (await client.reply()).status == 413
            await client.close()

    run(main)


@pytest.mark.parametrize(
    "data",
    [b"GET /health HTT", HEAD + PLAIN + b"\r\n" + BODY[:-1], HEAD + CHUNKED + b"\r\n5\r\nab"],
    ids=["head", "body", "chunk"],
)
def test_a_request_that_does_not_end_is_timed_out(data: bytes) -> None:
    async def main() -> None:
        hasty = GatewaySettings(head_seconds=0.2, body_seconds=0.2)
        async with rig(StubEngine(), settings=hasty) as the:
            reply = await the.ask(data)
            assert (reply.status, reply.code) == (408, "request_timeout")

    run(main)


def test_a_client_that_says_nothing_is_closed() -> None:
    async def main() -> None:
        async with rig(StubEngine(), settings=GatewaySettings(idle_seconds=0.2)) as the:
            client = await the.connect()
            assert await client.at_end()

    run(main)


def test_more_connections_than_allowed_are_told_so() -> None:
    async def main() -> None:
        async with rig(StubEngine(), settings=GatewaySettings(max_connections=2)) as the:
            kept = [await the.connect() for _ in range(2)]
            for client in kept:
                client.send(get("/health"))
                assert (await client.reply()).status == 200
            reply = await the.ask(b"")
            assert (reply.status, reply.code) == (503, "too_many_connections")
            assert "retry-after" in reply.headers
            for client in kept:
                await client.close()

    run(main)


def test_bodies_over_the_memory_for_all_are_refused() -> None:
    async def main() -> None:
        async with rig(StubEngine(), settings=GatewaySettings(max_bodies=10)) as the:
            reply = await the.ask(chat())
            assert (reply.status, reply.code) == (503, "overloaded")
            await until(lambda: the.gateway._service.bodies == 0)

    run(main)


def test_more_pipelined_requests_than_allowed_end_the_connection() -> None:
    async def main() -> None:
        async with rig(StubEngine(), settings=GatewaySettings(max_pipelined=3)) as the:
            client = await the.connect()
            client.send(chat() * 10)
            replies = [await client.reply() for _ in range(5)]
            assert [reply.status for reply in replies] == [200] * 4 + [400]
            assert await client.at_end()

    run(main)


def test_an_upgrade_is_not_made_but_the_request_is_answered() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            client.send(get("/health", "Connection: upgrade", "Upgrade: h2c"))
            assert (await client.reply()).status == 200
            assert await client.at_end()

    run(main)
