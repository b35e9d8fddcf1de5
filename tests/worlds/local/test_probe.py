from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from plimsoll.errors import EngineError
from plimsoll.worlds.local.probe import Answer, get

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ask(handler: Handler, *, seconds: float = 5.0) -> Answer:
    async def scene() -> Answer:
        ended = asyncio.Event()

        async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            except ConnectionError:
                pass  # the one who asked has heard enough
            finally:
                writer.transport.abort()
                ended.set()

        async with await asyncio.start_server(handled, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            try:
                return await get(f"127.0.0.1:{port}", "/health", seconds=seconds)
            finally:
                await ended.wait()

    return asyncio.run(scene())


def says(raw: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()
        await writer.wait_closed()

    return handler


def test_status_and_body_are_read() -> None:
    answer = ask(says(b"HTTP/1.1 503 Loading\r\nContent-Length: 2\r\n\r\nno"))
    assert answer == Answer(status=503, text="no")


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 great\r\n\r\n", b"\xff\x00"])
def test_what_is_not_http_is_an_engine_error(raw: bytes) -> None:
    with pytest.raises(EngineError, match="not HTTP"):
        ask(says(raw))


def test_nobody_there_is_an_engine_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EngineError, match="no answer to GET /health"):
        asyncio.run(get(f"127.0.0.1:{port}", "/health", seconds=1))


def test_silence_ends_after_the_given_time() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with pytest.raises(EngineError, match="no answer"):
        ask(handler, seconds=0.05)


def test_an_answer_without_end_is_cut() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    assert len(ask(handler).text) < 5 * 1024 * 1024
