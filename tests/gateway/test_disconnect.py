"""A caller that leaves is noticed at once, whatever its request is doing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from time import monotonic

import pytest

from plimsoll.gateway import GatewaySettings, Served, Upstream
from tests.gateway.stub import Asked, RawClient, Rig, StubEngine, chat, good, rig, run, until

AT_ONCE = 0.2  # seconds


async def silent(asked: Asked) -> None:
    await asyncio.Event().wait()


async def silent_after_head(asked: Asked) -> None:
    if asked.json.get("stream"):
        await asked.stream_head()
    else:
        await asked.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
    await asyncio.Event().wait()


async def silent_after_some(asked: Asked) -> None:
    if asked.json.get("stream"):
        await asked.stream_head()
        await asked.event("A")
    else:
        await asked.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
        )
    await asyncio.Event().wait()


async def freed(the: Rig, asked: Asked, since: float) -> float:
    """Seconds until the engine saw the end and the place was free."""
    async with asyncio.timeout(5):
        await asked.gone.wait()
    await until(the.idle)
    return monotonic() - since


@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("engine", [silent, silent_after_head, silent_after_some])
def test_leaving_stops_the_engine_at_once(engine, stream: bool, leave: str) -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=engine)) as the:
            client = await the.connect()
            client.send(chat(stream=stream))
            await until(lambda: len(the.engine.asked) == 1)
            if engine is silent_after_some and stream:
                await client.head()
                await client.chunk()
            since = monotonic()
            if leave == "close":
                client.writer.close()
            elif leave == "half-close":
                client.writer.write_eof()
            else:
                client.writer.transport.abort()
            assert await freed(the, the.engine.asked[0], since) < AT_ONCE
            assert 'cancelled_total{model="chat",phase=' in the.numbers()

    run(main)


def test_leaving_the_queue_gives_the_place_in_it_up() -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=silent), capacity=1) as the:
            first, second = await the.connect(), await the.connect()
            first.send(chat())
            await until(lambda: the.board.demand()["chat"].in_flight == 1)
            second.send(chat())
            await until(lambda: the.board.demand()["chat"].queued == 1)
            await second.close()
            await until(lambda: the.board.demand()["chat"].queued == 0, seconds=AT_ONCE)
            assert the.board.demand()["chat"].in_flight == 1
            await first.close()
            await until(the.idle, seconds=AT_ONCE)
            assert len(the.engine.asked) == 1

    run(main)


def test_leaving_while_a_replica_is_connected_to_gives_its_place_up() -> None:
    async def main() -> None:
        engine = StubEngine()
        async with rig(engine) as the:
            # A listener whose backlog is full accepts nothing more: connecting hangs.
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            fillers = []
            for _ in range(3):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
            engine.port = listener.getsockname()[1]
            the.board.update("chat", (engine.upstream(),))
            client = await the.connect()
            client.send(chat())
            await until(lambda: the.board.demand()["chat"].in_flight == 1)
            await client.close()
            await until(the.idle, seconds=AT_ONCE)
            assert 'cancelled_total{model="chat",phase="connecting"} 1.0' in the.numbers()
            for each in (*fillers, listener):
                each.close()

    run(main)


def test_leaving_a_pipelined_connection_drops_what_waits_on_it() -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=silent)) as the:
            client = await the.connect()
            client.send(chat() * 5)
            await until(lambda: len(the.engine.asked) == 1)
            await client.close()
            await until(the.idle, seconds=AT_ONCE)
            assert len(the.engine.asked) == 1
            await until(lambda: the.gateway._service.bodies == 0)

    run(main)


def test_leaving_in_the_middle_of_a_body_frees_its_memory() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            client.send(chat()[:-5])
            await until(lambda: the.gateway._service.bodies > 0)
            await client.close()
            await until(lambda: the.gateway._service.bodies == 0)
            assert the.engine.asked == []

    run(main)


def test_a_reader_that_stops_reading_slows_its_engine_down_and_is_cut() -> None:
    async def flood(asked: Asked) -> None:
        await asked.stream_head()
        while True:
            await asked.event("x" * 10_000)

    async def main() -> None:
        impatient = GatewaySettings(write_seconds=0.5)
        async with rig(StubEngine(handler=flood), settings=impatient) as the:
            client = await the.connect()
            client.writer.transport.pause_reading()
            client.send(chat(stream=True))
            await until(lambda: len(the.engine.asked) == 1)
            await asyncio.wait_for(the.engine.asked[0].gone.wait(), 5)
            await until(the.idle)
            assert 'cancelled_total{model="chat",phase="answering"} 1.0' in the.numbers()

    run(main)


def test_a_slow_reader_gets_every_byte_and_costs_bounded_memory() -> None:
    async def long(asked: Asked) -> None:
        await asked.stream_head()
        for number in range(2000):
            await asked.event(f"{number:06} " + "x" * 2000)
        await asked.chunk(b"data: [DONE]\n\n")
        await asked.end()

    async def main() -> None:
        async with rig(StubEngine(handler=long)) as the:
            client = await the.connect()
            client.send(chat(stream=True))
            await client.head()
            numbers, most = 0, 0
            connection = next(iter(the.gateway._service.connections))
            body = b""
            while piece := await client.chunk():
                body += piece
                most = max(most, connection._transport.get_write_buffer_size())
                if numbers % 50 == 0:
                    await asyncio.sleep(0.001)
                numbers += 1
            assert body.count(b"\n\n") == 2001
            assert most < 1024 * 1024

    run(main)


def test_counts_are_zero_after_a_storm_of_callers_that_leave_anywhere() -> None:
    async def main() -> None:
        async def slow(asked: Asked) -> None:
            await asyncio.sleep(0.01)
            await good(asked)

        async def one(the: Rig, number: int) -> None:
            client = await the.connect()
            client.send(chat(stream=bool(number % 2)))
            await asyncio.sleep((number % 17) * 0.001)
            if number % 3:
                await client.close()
            else:
                await client.reply()

        async with rig(StubEngine(handler=slow), StubEngine("chat-1", slow), capacity=3) as the:
            for start in range(0, 300, 50):
                await asyncio.gather(*(one(the, number) for number in range(start, start + 50)))
            await until(the.idle)
            assert the.board.in_flight("chat-0") == the.board.in_flight("chat-1") == 0
            await until(lambda: the.gateway._service.bodies == 0)

    run(main)


def test_an_assembled_answer_is_stopped_like_a_stream() -> None:
    served = Served(
        name="chat", task="chat", context=1, assemble=True, stream_fields={"return_progress": True}
    )

    async def main() -> None:
        async with rig(StubEngine(handler=silent_after_some), served=served) as the:
            client = await the.connect()
            client.send(chat())
            await until(lambda: len(the.engine.asked) == 1)
            assert the.engine.asked[0].json["stream"] is True
            since = monotonic()
            await client.close()
            assert await freed(the, the.engine.asked[0], since) < AT_ONCE

    run(main)


async def _leave(client: RawClient, how: str) -> None:
    if how == "half-close":
        client.writer.write_eof()
        return
    if how == "reset":
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize("phase", ["queued", "waiting", "answering"])
def test_leaving_behind_a_second_request_is_noticed_in_every_phase(phase: str, how: str) -> None:
    engine = silent_after_some if phase == "answering" else silent

    async def main() -> None:
        async with rig(StubEngine(handler=engine), capacity=1) as the:
            first = await the.connect()
            if phase == "queued":
                first.send(chat())
                await until(lambda: len(the.engine.asked) == 1)
            client = await the.connect()
            client.send(chat(stream=True) + chat()[:-5])
            if phase == "queued":
                await until(lambda: the.board.demand()["chat"].queued == 1)
            else:
                await until(lambda: len(the.engine.asked) == 1)
            if phase == "answering":
                await client.head()
                await client.chunk()
            since = monotonic()
            await _leave(client, how)
            if phase == "queued":
                await until(lambda: the.board.demand()["chat"].queued == 0, seconds=AT_ONCE)
                await first.close()
            else:
                assert await freed(the, the.engine.asked[0], since) < AT_ONCE
            await until(lambda: the.gateway._service.bodies == 0)
            assert len(the.engine.asked) == 1
            assert f'cancelled_total{{model="chat",phase="{phase}"}} 1.0' in the.numbers()

    run(main)


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_leaving_an_engine_that_does_not_read_its_request_is_noticed(how: str) -> None:
    async def main() -> None:
        async with rig() as the:
            with socket.create_server(("127.0.0.1", 0)) as deaf:
                port = deaf.getsockname()[1]
                upstream = Upstream(replica="deaf", host="127.0.0.1", port=port, capacity=1)
                the.board.update("chat", (upstream,))
                client = await the.connect()
                client.send(chat(x="a" * 20_000_000))
                await until(lambda: _sending(the))
                theirs, _ = deaf.accept()
                with theirs:
                    await _leave(client, how)
                    await until(the.idle, seconds=AT_ONCE)
                    await until(lambda: not the.gateway._pool._all, seconds=AT_ONCE)
                    theirs.settimeout(2)
                    with contextlib.suppress(ConnectionResetError):
                        while theirs.recv(1 << 20):
                            pass

    run(main)


def _sending(the: Rig) -> bool:
    """Whether bytes wait to be sent to an engine."""
    transports = [each._transport for each in the.gateway._pool._all]
    return any(each is not None and each.get_write_buffer_size() for each in transports)
