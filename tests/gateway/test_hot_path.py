"""What every request and chunk goes through leaves nothing behind and waits for nothing."""

from __future__ import annotations

import gc
import socket

from plimsoll.gateway.exchange import Exchange
from tests.gateway.stub import StubEngine, chat, rig, run


def test_small_writes_are_sent_at_once_to_both_sides() -> None:
    """No chunk waits until the one before it is acknowledged."""

    async def main() -> None:
        async with rig(StubEngine()) as the:
            client = await the.connect()
            client.send(chat())
            await client.reply()
            clients = [each._transport for each in the.gateway._service.connections]
            engines = [each._transport for each in the.gateway._pool._all]
            assert clients
            assert engines
            for transport in (*clients, *engines):
                its = transport.get_extra_info("socket")
                assert its.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(main)


def test_a_request_that_is_over_leaves_nothing_for_the_garbage_collector() -> None:
    async def main() -> None:
        async with rig(StubEngine()) as the:
            await the.ask(chat())
            gc.collect()
            gc.disable()
            try:
                for stream in (False, True):
                    await the.ask(chat(stream=stream))
                left = [each for each in gc.get_objects() if isinstance(each, Exchange)]
            finally:
                gc.enable()
            assert not left

    run(main)
