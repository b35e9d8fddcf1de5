"""An engine that costs nearly nothing: fixed answers, whole or streamed at a fixed pace."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

CHUNKS = 200
CHUNK = (
    b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
    b'{"content":" token"},"finish_reason":null}],"created":1}\n\n'
)
FRAMED = b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK)
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
BODY = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello there."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}'
)
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Engine(asyncio.Protocol):
    """Answers every request at once; it finds their ends by their lengths."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The gateway has connected."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(stream=b'"stream":true' in body)

    def _answer(self, *, stream: bool) -> None:
        assert self._transport is not None
        if not stream:
            self._transport.write(WHOLE)
            return
        self._transport.write(HEAD)
        self._tell(CHUNKS)

    def _tell(self, left: int) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not left:
            transport.write(END)
            return
        transport.write(FRAMED)
        loop = asyncio.get_running_loop()
        loop.call_later(self._interval, self._tell, left - 1)


async def main(port: int, interval: float) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Engine(interval), "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2])))
