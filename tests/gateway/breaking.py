"""Stands before a real engine and resets connections in the middle of its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from plimsoll.gateway import Upstream


class Breaking:
    """See the module's docstring.

    after   events after which each of the next answers breaks off
    bodies  what was asked for
    """

    def __init__(self, engine: Upstream, *after: int) -> None:
        self._engine = engine
        self.after = list(after)
        self.bodies: list[dict[str, Any]] = []
        self._open: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Upstream]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield replace(self._engine, host="127.0.0.1", port=port)
        finally:
            server.close()
            for writer in list(self._open):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        there = await asyncio.open_connection(self._engine.host, self._engine.port)
        try:
            while request := await self._read(reader):
                there[1].write(request)
                cut = self.after.pop(0) if self.after and b"/v1/" in request[:30] else None
                await self._answer(there[0], writer, cut)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            there[1].transport.abort()
            writer.transport.abort()
            self._open.discard(writer)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(size)
        if b"/v1/" in head[:30]:
            self.bodies.append(json.loads(body))
        return head + body

    async def _answer(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int | None
    ) -> None:
        head = await there.readuntil(b"\r\n\r\n")
        writer.write(head)
        if b"chunked" not in head:
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            writer.write(await there.readexactly(size))
            return
        seen = 0
        while True:
            line = await there.readuntil(b"\r\n")
            chunk = line + await there.readexactly(int(line, 16) + 2)
            writer.write(chunk)
            seen += chunk.count(b'"choices"')
            if cut is not None and seen >= cut:
                await writer.drain()
                await asyncio.sleep(0.02)  # what was sent arrives before the reset
                raise ConnectionResetError
            if line == b"0\r\n":
                return
