"""Replicas that die, lie, hang or are too few: what the caller gets instead."""

from __future__ import annotations

import asyncio
import json

import pytest

from plimsoll.errors import PortTaken
from plimsoll.gateway import Board, Gateway, GatewaySettings
from plimsoll.telemetry.metrics import GatewayMetrics
from tests.gateway.stub import (
    CHAT,
    DONE,
    REPLY,
    Asked,
    StubEngine,
    chat,
    event,
    get,
    good,
    rig,
    run,
    until,
)  # fmt: skip


async def die(asked: Asked) -> None:
    asked.writer.transport.abort()
    raise ConnectionResetError


async def die_in_the_middle(asked: Asked) -> None:
    if asked.json.get("stream"):
        await asked.stream_head()
        await asked.event("A")
        await asked.chunk(event(" slice")[:20])  # half an event
        await asyncio.sleep(0.05)
    else:
        await asked.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
        )
    await die(asked)


async def die_after_head(asked: Asked) -> None:
    await asked.stream_head()
    await die(asked)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("death", [die, die_after_head])
def test_a_replica_that_dies_before_the_first_byte_is_replaced_unseen(death, stream) -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=death), StubEngine("chat-1")) as the:
            for _ in range(4):
                assert (await the.ask(chat(stream=stream))).status == 200
            assert the.engines[1].asked

    run(main)


def test_a_whole_answer_that_breaks_off_is_asked_for_again_elsewhere() -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=die_in_the_middle), StubEngine("chat-1")) as the:
            for _ in range(4):
                assert (await the.ask(chat())).body == REPLY
            assert 'retries_total{kind="lost",model="chat"}' in the.numbers()

    run(main)


def test_a_stream_that_breaks_off_ends_with_a_whole_error_event_and_no_done() -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=die_in_the_middle)) as the:
            client = await the.connect()
            client.send(chat(stream=True))
            reply = await client.reply()
            assert reply.status == 200
            assert reply.body.startswith(event("A"))
            last = reply.body.removeprefix(event("A"))
            error = json.loads(last.removeprefix(b"data: "))["error"]
            assert (error["code"], error["type"]) == ("replica_lost", "server_error")
            assert last.endswith(b"\n\n")
            assert b"[DONE]" not in reply.body
            the.engine.handler = good  # the connection to the caller is whole
            client.send(chat())
            assert (await client.reply()).status == 200

    run(main)


def test_a_stream_that_ends_without_done_ends_with_an_error_event() -> None:
    async def short(asked: Asked) -> None:
        await asked.stream_head()
        await asked.event("A")
        await asked.end()

    async def main() -> None:
        async with rig(StubEngine(handler=short)) as the:
            body = (await the.ask(chat(stream=True))).body
            assert b'"code":"replica_lost"' in body
            assert b"[DONE]" not in body

    run(main)


def test_one_replica_that_keeps_dying_is_tried_so_often_and_no_more() -> None:
    async def main() -> None:
        hasty = GatewaySettings(suspect_seconds=0.05)
        async with rig(StubEngine(handler=die), settings=hasty) as the:
            reply = await the.ask(chat())
            assert (reply.status, reply.code) == (502, "replica_lost")
            assert len(the.engine.asked) == 3

    run(main)


def test_a_replica_that_is_gone_is_waited_for_until_another_is_ready() -> None:
    async def main() -> None:
        engine = StubEngine()
        async with rig(engine) as the:
            await engine.kill()
            asking = asyncio.create_task(the.ask(chat()))
            await until(lambda: the.board.demand()["chat"].queued == 1)
            other = StubEngine("chat-1")
            await other.start()
            the.board.update("chat", (other.upstream(),))
            assert (await asking).status == 200
            await other.kill()

    run(main)


def test_a_kept_connection_that_was_closed_is_opened_anew_unseen() -> None:
    async def close_after_answer(asked: Asked) -> None:
        await good(asked)
        asked.writer.close()

    async def main() -> None:
        async with rig(StubEngine(handler=close_after_answer)) as the:
            for _ in range(20):
                assert (await the.ask(chat())).status == 200
            assert 'upstream_failures_total{kind="lost",model="chat"} 0.0' in the.numbers()

    run(main)


async def _raw(asked: Asked, data: bytes) -> None:
    await asked.send(data)
    asked.writer.close()


JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
GARBAGE = {
    "not-http": (False, b"SSH-2.0-OpenSSH\r\n\r\n"),
    "html": (False, b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\nabc"),
    "not-json": (False, JSON_HEAD + b"content-length: 3\r\n\r\nabc"),
    "empty": (False, JSON_HEAD + b"content-length: 0\r\n\r\n"),
    "list": (False, JSON_HEAD + b"content-length: 2\r\n\r\n[]"),
    "cut-json": (False, JSON_HEAD + b"content-length: 5\r\n\r\n" + b'{"a":'),
    "bad-utf-8": (False, JSON_HEAD + b"content-length: 9\r\n\r\n" + b'{"a":"\xff"}'),
    "compressed": (False, JSON_HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}"),
    "two-lengths": (False, JSON_HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
    "events-for-whole": (False, SSE_HEAD + b"content-length: 14\r\n\r\n" + DONE),
    "redirect": (False, b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n"),
    "no-content": (False, b"HTTP/1.1 204 No Content\r\n\r\n"),
    "json-for-stream": (True, JSON_HEAD + b"content-length: 2\r\n\r\n{}"),
    "no-events": (True, SSE_HEAD + b"content-length: 7\r\n\r\nhello\n\n"),
    "endless-head": (True, b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_from_a_replica_never_reaches_a_caller_as_a_success(name: str) -> None:
    stream, data = GARBAGE[name]

    async def main() -> None:
        hasty = GatewaySettings(suspect_seconds=0.05)
        engine = StubEngine(handler=lambda asked: _raw(asked, data))
        async with rig(engine, settings=hasty) as the:
            reply = await the.ask(chat(stream=stream))
            assert (reply.status, reply.code) == (502, "bad_answer")

    run(main)


def test_bytes_after_a_whole_answer_do_not_reach_the_next_caller() -> None:
    async def main() -> None:
        extra = JSON_HEAD + b"content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\nsecret"
        async with rig(StubEngine(handler=lambda asked: asked.send(extra))) as the:
            for _ in range(3):
                assert (await the.ask(chat())).body == b"{}"
            assert the.engine.connections == 3

    run(main)


@pytest.mark.parametrize(
    ("status", "body", "seen", "code"),
    [
        ("400 Bad Request", {"error": {"message": "too long", "type": "x"}}, 400, "engine_refused"),
        ("404 Not Found", {"error": "no such thing"}, 404, "engine_refused"),
        ("422 Unprocessable", {"detail": []}, 422, "engine_refused"),
        ("429 Too Many Requests", {}, 503, "engine_busy"),
        ("500 Internal Server Error", {"error": {"message": "oh"}}, 502, "engine_error"),
        ("501 Not Implemented", {"error": {"message": "no embeddings"}}, 502, "engine_error"),
        ("503 Service Unavailable", {"error": {"message": "Loading"}}, 503, "engine_busy"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_engines_error_is_passed_on_in_openais_shape(status, body, seen, code, stream) -> None:
    async def main() -> None:
        data = json.dumps(body).encode()
        engine = StubEngine(handler=lambda asked: asked.whole(data, status=status))
        async with rig(engine) as the:
            reply = await the.ask(chat(stream=stream))
            assert (reply.status, reply.code) == (seen, code)
            error = body.get("error")
            if isinstance(error, dict):
                assert error["message"] in reply.json["error"]["message"]

    run(main)


async def _silent(asked: Asked) -> None:
    await asyncio.Event().wait()


async def _falls_silent(asked: Asked) -> None:
    await asked.stream_head()
    await asked.event("A")
    await asyncio.Event().wait()


async def _endless(asked: Asked) -> None:
    await asked.stream_head()
    while True:
        await asked.event("A")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_does_not_begin_is_timed_out(stream: bool) -> None:
    async def main() -> None:
        hasty = GatewaySettings(first_byte_seconds=0.2)
        async with rig(StubEngine(handler=_silent), settings=hasty) as the:
            reply = await the.ask(chat(stream=stream))
            assert (reply.status, reply.code) == (504, "upstream_timeout")
            await asyncio.wait_for(the.engine.asked[0].gone.wait(), 1)

    run(main)


@pytest.mark.parametrize(
    ("engine", "settings", "code"),
    [
        (_falls_silent, GatewaySettings(between_seconds=0.2), "upstream_timeout"),
        (_endless, GatewaySettings(max_stream=0.3), "stream_too_long"),
    ],
)
def test_a_stream_that_stalls_or_never_ends_ends_with_an_error_event(
    engine, settings, code
) -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=engine), settings=settings) as the:
            body = (await the.ask(chat(stream=True))).body
            assert json.loads(body.split(b"data: ")[-1])["error"]["code"] == code
            await asyncio.wait_for(the.engine.asked[0].gone.wait(), 1)

    run(main)


def test_a_replica_never_has_more_than_its_capacity() -> None:
    running, most = 0, 0

    async def counting(asked: Asked) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        await good(asked)

    async def main() -> None:
        async with rig(StubEngine(handler=counting), capacity=3) as the:
            replies = await asyncio.gather(*(the.ask(chat()) for _ in range(30)))
            assert {reply.status for reply in replies} == {200}
            assert most == 3

    run(main)


def test_a_full_queue_says_429_and_when_to_try_again() -> None:
    async def main() -> None:
        tight = GatewaySettings(queue_requests=1)
        async with rig(StubEngine(handler=_silent), settings=tight, capacity=1) as the:
            for wanted in (1, 2):
                (await the.connect()).send(chat())
                await until(
                    lambda wanted=wanted: sum(
                        (each.queued + each.in_flight) for each in the.board.demand().values()
                    ) == wanted
                )  # fmt: skip
            reply = await the.ask(chat())
            assert (reply.status, reply.code) == (429, "queue_full")
            assert int(reply.headers["retry-after"]) >= 1
            for client in the.clients:
                await client.close()

    run(main)


def test_no_replica_within_the_wait_says_503_and_when_to_try_again() -> None:
    async def main() -> None:
        woken: list[str] = []
        async with rig(settings=GatewaySettings(queue_wait=0.2), wake=woken.append) as the:
            reply = await the.ask(chat())
            assert (reply.status, reply.code) == (503, "no_replica")
            assert int(reply.headers["retry-after"]) >= 1
            assert woken == ["chat"]

    run(main)


def test_a_request_for_a_sleeping_model_is_held_and_served_when_it_is_ready() -> None:
    async def main() -> None:
        woken = asyncio.Event()
        async with rig(wake=lambda _model: woken.set()) as the:
            asking = asyncio.create_task(the.ask(chat(stream=True)))
            await woken.wait()
            engine = StubEngine()
            await engine.start()
            the.board.update("chat", (engine.upstream(),))
            assert (await asking).body.endswith(DONE)
            await engine.kill()

    run(main)


def test_a_removed_replica_finishes_its_stream_and_gets_no_more() -> None:
    gate = asyncio.Event()

    async def gated(asked: Asked) -> None:
        await asked.stream_head()
        await asked.event("A")
        await gate.wait()
        await asked.chunk(DONE)
        await asked.end()

    async def main() -> None:
        async with rig(StubEngine(handler=gated)) as the:
            client = await the.connect()
            client.send(chat(stream=True))
            await until(lambda: the.board.in_flight("chat-0") == 1)
            other = StubEngine("chat-1")
            await other.start()
            the.board.update("chat", (other.upstream(),))
            assert (await the.ask(chat())).status == 200
            assert the.board.in_flight("chat-0") == 1
            gate.set()
            assert (await client.reply()).body.endswith(DONE)
            await until(lambda: the.board.in_flight("chat-0") == 0)
            assert len(other.asked) == 1
            await other.kill()

    run(main)


def test_a_drain_finishes_streams_refuses_new_work_and_tells_health() -> None:
    gate = asyncio.Event()

    async def gated(asked: Asked) -> None:
        await asked.stream_head()
        await asked.event("A")
        await gate.wait()
        await asked.chunk(DONE)
        await asked.end()

    async def main() -> None:
        async with rig(StubEngine(handler=gated)) as the:
            client, other = await the.connect(), await the.connect()
            client.send(chat(stream=True))
            await client.head()
            # In the middle of a request when the drain begins: read to its end, then refused.
            health = get("/health")
            other.send(health[:5])
            await until(lambda: len(the.gateway._service.connections) == 2)
            await asyncio.sleep(0.02)
            draining = asyncio.create_task(the.gateway.drain(5))
            await asyncio.sleep(0)
            other.send(health[5:])
            reply = await other.reply()
            assert (reply.status, reply.json) == (503, {"status": "draining"})
            assert await other.at_end()
            with pytest.raises(OSError, match=r"refused|Connect"):
                await the.connect()
            gate.set()
            assert await draining == 0
            assert b"[DONE]" in await client.reader.read()

    run(main)


def test_a_drain_cuts_what_is_not_done_at_its_deadline_with_an_error_event() -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=_falls_silent)) as the:
            client = await the.connect()
            client.send(chat(stream=True))
            await client.head()
            await client.chunk()
            assert await the.gateway.drain(0.1) == 1
            rest = await client.reader.read()
            assert b'"code":"draining"' in rest
            assert rest.endswith(b"0\r\n\r\n")

    run(main)


def test_a_taken_port_is_said_with_one_that_is_free() -> None:
    async def main() -> None:
        async with rig() as the:
            second = Gateway(
                board=Board([CHAT]), settings=GatewaySettings(), metrics=GatewayMetrics()
            )
            with pytest.raises(PortTaken) as caught:
                await second.start(the.host, the.port)
            free = int(str(caught.value.hint).split()[1])
            assert free != the.port
            assert await second.start(the.host, free) == (the.host, free)
            await second.close()

    run(main)
