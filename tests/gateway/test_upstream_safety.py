"""Whatever an engine answers, its caller gets a sound answer or a well-formed error, and the next
caller gets nothing of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from time import monotonic

import pytest

from plimsoll.gateway import GatewaySettings
from plimsoll.units import KIB
from tests.gateway.answer_cases import CASES, GOOD, Case
from tests.gateway.raw_engine import WHOLE, RawEngine, Said
from tests.gateway.stub import REPLY, chat, rig, run, until
from tests.gateway.verdicts import SOUND, verdict

TIGHT = GatewaySettings(
    tries=1, suspect_seconds=0.001, max_event=256 * KIB, max_reply=100_000,
    first_byte_seconds=5.0, between_seconds=5.0,
)  # fmt: skip


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 120


class Once:
    """Says what a case says to the first request, and a right answer to every other."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.saying: asyncio.Task[None] | None = None

    def __call__(self, connection, said: Said) -> None:
        if self.saying is not None:
            connection.transport.write(WHOLE)
            return
        self.saying = asyncio.get_running_loop().create_task(self._say(connection))

    async def _say(self, connection) -> None:
        case, transport = self.case, connection.transport
        for part in case.parts:
            transport.write(part)
            await asyncio.sleep(0.002 if len(case.parts) < 5 else 0)
        if case.then == "closes":
            transport.close()
        elif case.then == "resets":
            await asyncio.sleep(0.02)
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
            transport.abort()
        while case.then == "repeats" and not connection.ended:
            transport.write(case.parts[-1])
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("name", CASES)
def test_no_answer_of_an_engine_reaches_a_caller_unless_it_is_one(name: str) -> None:
    case = CASES[name]

    async def main() -> None:
        once = Once(case)
        async with rig(RawEngine(answer=once), settings=TIGHT) as the:
            client = await the.connect()
            client.send(chat(stream=case.asked == "stream"))
            reply = await client.reply()
            assert verdict(reply) in case.wanted
            if case.wanted == (SOUND,) and case.asked == "whole":
                assert reply.body.startswith(REPLY[:-1])
            await once.saying
            # The next request gets its own answer, over a connection that is beyond doubt.
            await asyncio.sleep(0.01)
            client.send(chat())
            assert (await client.reply()).body == REPLY
            await client.close()
            if not case.keeps:
                assert len(the.engine.connections) == 2
            assert len(the.engine.heard()) == 2
            await until(lambda: len(the.gateway._pool._all) == 1)

    run(main)


@pytest.mark.parametrize("behind", [GOOD, b"more", b""], ids=["answer", "bytes", "end"])
def test_a_connection_with_more_to_read_is_not_used_again(behind: bytes) -> None:
    """What lies in the system's buffer would be taken for the answer to the next request, which
    may be another caller's; the event loop has not told of it yet.
    """

    async def main() -> None:
        async with rig(RawEngine()) as the:
            assert (await the.ask(chat())).body == REPLY
            pool, upstream = the.gateway._pool, the.engine.upstream()
            kept = pool.take(upstream, monotonic())
            assert kept is not None
            pool.give(kept)
            engine = the.engine.connections[0].transport.get_extra_info("socket")
            with socket.socket(fileno=os.dup(engine.fileno())) as sock:
                # Not a moment passes for the event loop between this and the next request.
                sock.setblocking(True)
                if behind:
                    sock.sendall(behind)
                else:
                    sock.shutdown(socket.SHUT_WR)
                assert pool.take(upstream, monotonic()) is None
            assert (await the.ask(chat())).body == REPLY
            assert len(the.engine.connections) == 2

    run(main)
