"""Small pieces are sent at once, on both sides; Nagle's algorithm would hold them for 40 ms."""

from __future__ import annotations

import asyncio
import socket
from time import perf_counter

from tests.gateway.stub import DONE, Asked, StubEngine, chat, rig, run

_TIMES = 12
_STEP = 0.030  # a delayed acknowledgement takes 40 ms


async def two_events(asked: Asked) -> None:
    """Two small events close behind each other: Nagle would hold the second, because a caller that
    has just asked acknowledges the first late.
    """
    await asked.stream_head()
    await asked.event("1")
    await asyncio.sleep(0.002)
    await asked.event("2")
    await asked.chunk(DONE)
    await asked.end()


def test_nagle_is_off_on_both_sides() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            client.send(chat())
            await client.reply()
            ours = [*the.gateway._service.connections, *the.gateway._pool._all]
            assert len(ours) == 2
            for connection in ours:
                sock = connection._transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await client.close()

    run(main)


def test_small_events_come_without_steps() -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=two_events)) as the:
            client = await the.connect()
            gaps = []
            for _ in range(_TIMES):
                client.send(chat(stream=True))
                await client.head()
                await client.chunk()
                began = perf_counter()
                await client.chunk()
                gaps.append(perf_counter() - began)
                while await client.chunk():
                    pass
            assert sorted(gaps)[_TIMES // 2] < _STEP, sorted(gaps)
            await client.close()

    run(main)


def test_a_request_in_two_packets_does_not_wait_for_an_acknowledgement() -> None:
    """A large body goes out behind its head; neither may wait for the other's receipt."""
    body = {"x": "a" * 200_000}

    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            took = []
            for _ in range(10):
                began = perf_counter()
                client.send(chat(**body))
                assert (await client.reply()).status == 200
                took.append(perf_counter() - began)
            assert sorted(took)[5] < _STEP, sorted(took)
            await client.close()

    run(main)
