"""A drain loses no request whose bytes came, and tells callers by their answers."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.stub import DONE, Asked, RawClient, Rig, StubEngine, chat, get, rig, run, until


class Gated(StubEngine):
    """Streams one event, and the rest when its gate opens."""

    def __init__(self) -> None:
        super().__init__(handler=self._stream)
        self.gate = asyncio.Event()

    async def _stream(self, asked: Asked) -> None:
        await asked.stream_head()
        await asked.event("A")
        await self.gate.wait()
        await asked.chunk(DONE)
        await asked.end()


async def kept(the: Rig) -> RawClient:
    """A connection that had an answer and is idle."""
    client = await the.connect()
    client.send(get("/v1/models"))
    assert (await client.reply()).headers.get("connection") != "close"
    return client


def test_a_request_on_an_idle_connection_is_served_and_told_of_the_end() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await kept(the)
            draining = asyncio.create_task(the.gateway.drain(5, idle=1.0))
            await asyncio.sleep(0.1)
            client.send(chat())
            reply = await client.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert await client.at_end()
            assert await draining == 0

    run(main)


def test_an_idle_connection_is_closed_when_its_time_is_over_and_not_before() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await kept(the)
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert await the.gateway.drain(5, idle=0.3) == 0
            assert 0.3 <= loop.time() - began < 2
            assert await client.at_end()

    run(main)


def test_a_request_whose_bytes_came_is_served_although_nobody_waits() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            clients = [await kept(the) for _ in range(8)]
            for client in clients:
                client.send(chat())
            # Nothing was read yet: the bytes are with the system.
            assert await the.gateway.drain(5) == 0
            replies = [await client.reply() for client in clients]
            assert [reply.status for reply in replies] == [200] * 8
            assert {reply.headers["connection"] for reply in replies} == {"close"}

    run(main)


def test_who_connected_before_the_drain_is_served() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            clients = [await the.connect() for _ in range(8)]
            for client in clients:
                client.send(chat())
            assert await the.gateway.drain(5, idle=0.1) == 0
            assert [(await client.reply()).status for client in clients] == [200] * 8

    run(main)


def test_new_connections_are_taken_while_others_learn_of_the_end_and_then_refused() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            draining = asyncio.create_task(the.gateway.drain(5, accept=0.4))
            await asyncio.sleep(0.05)
            health = await the.ask(get("/health"))
            assert (health.status, health.headers["connection"]) == (503, "close")
            reply = await the.ask(chat())
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert not draining.done()
            assert await draining == 0
            with pytest.raises(OSError, match=r"refused|Connect"):
                await the.connect()

    run(main)


def test_a_request_that_is_half_sent_is_read_and_served() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client, request = await the.connect(), chat()
            client.send(request[:-20])
            await asyncio.sleep(0.05)
            draining = asyncio.create_task(the.gateway.drain(5))
            await asyncio.sleep(0.1)
            client.send(request[-20:])
            assert (await client.reply()).status == 200
            assert await draining == 0

    run(main)


def test_a_stream_that_began_before_leaves_its_connection_time_for_one_more_request() -> None:
    async def main() -> None:
        engine = Gated()
        async with rig(engine) as the:
            client = await the.connect()
            client.send(chat(stream=True))
            _, headers = await client.head()
            assert headers.get("connection") != "close"  # what the caller believes
            await client.chunk()
            draining = asyncio.create_task(the.gateway.drain(5, idle=0.5))
            await asyncio.sleep(0.6)
            engine.gate.set()
            while await client.chunk():
                pass
            client.send(get("/v1/models"))
            reply = await client.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert await draining == 0

    run(main)


def test_a_slow_reader_gets_the_end_of_its_answer() -> None:
    async def large(asked: Asked) -> None:
        await asked.whole(b'{"x":"%b"}' % (b"y" * 8_000_000))

    async def main() -> None:
        async with rig(StubEngine(handler=large)) as the:
            client = await the.connect()
            client.send(chat())
            await until(lambda: bool(the.engine.asked))
            await asyncio.sleep(0.2)
            draining = asyncio.create_task(the.gateway.drain(20))
            await asyncio.sleep(0.5)
            reply = await client.reply()
            assert len(reply.body) == 8_000_008
            assert await draining == 0

    run(main)


def test_a_second_drain_cuts_while_the_first_one_still_waits() -> None:
    async def main() -> None:
        async with rig(Gated()) as the:
            client = await the.connect()
            client.send(chat(stream=True))
            await client.head()
            first = asyncio.create_task(the.gateway.drain(60, accept=60, idle=60))
            await asyncio.sleep(0.05)
            assert await the.gateway.drain(0.0) == 1
            assert b'"code":"draining"' in await client.reader.read()
            first.cancel()

    run(main)
