"""Whatever an engine answers, its caller gets a sound answer or a well-formed error, and the next
caller gets nothing of it.
"""

from __future__ import annotations

import asyncio
import socket
import struct

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


@pytest.mark.parametrize("behind", [b"more", GOOD.replace(b"slice", b"theft"), b"\r\n" * 9])
@pytest.mark.parametrize("waiting", ["pipelined", "queued"])
def test_an_answer_nobody_asked_for_never_reaches_a_request_that_waits(
    behind: bytes, waiting: str
) -> None:
    """The second answer lies in the system's buffer when the connection is free again."""

    async def main() -> None:
        engine = RawEngine()
        first = asyncio.Event()

        def answer(connection, _said: Said) -> None:
            if not first.is_set():
                first.set()
                # One write larger than what is read at once: what follows the answer is read later.
                body = REPLY[:-1] + b" " * (256 * KIB - len(REPLY) - 100) + b"}"
                head = GOOD.split(b"content-length")[0] + b"content-length: %d\r\n\r\n" % len(body)
                rest = 256 * KIB - len(head) - len(body)
                assert rest > 0
                body = body[:-1] + b" " * rest + b"}"
                head = GOOD.split(b"content-length")[0] + b"content-length: %d\r\n\r\n" % len(body)
                assert len(head) + len(body) == 256 * KIB
                connection.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * 1024 * KIB
                )
                connection.transport.write(head + body + behind)
            else:
                connection.transport.write(WHOLE)

        engine.answer = answer
        async with rig(engine, capacity=1) as the:
            client = await the.connect()
            other = client
            client.send(chat())
            if waiting == "queued":
                other = await the.connect()
            other.send(chat())
            replies = [await client.reply(), await other.reply()]
            assert replies[0].body.startswith(REPLY[:-1])
            assert replies[1].body == REPLY
            assert b"theft" not in replies[1].body
            await client.close()
            await other.close()

    run(main)
