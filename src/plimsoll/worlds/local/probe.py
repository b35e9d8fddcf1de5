"""HTTP GETs to an engine on this machine: small, bounded, never through a proxy."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from plimsoll.errors import EngineError

_LARGEST = 4 * 1024 * 1024  # bytes of an answer; metrics are some kilobytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine answered.

    status  HTTP status
    text    body
    """

    status: int
    text: str


async def get(address: str, path: str, *, seconds: float) -> Answer:
    """GET a path of `host:port`.

    Raises EngineError when nobody answers in time, or not in HTTP.
    """
    try:
        async with asyncio.timeout(seconds):
            return _parsed(await _exchange(address, path), address)
    except (OSError, TimeoutError) as error:
        raise EngineError(
            f"no answer to GET {path}", where=address, code="engine.no-answer"
        ) from error


async def _exchange(address: str, path: str) -> bytes:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        # 1.0, so that the answer is neither chunked nor kept alive
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode("ascii"))
        answer = bytearray()
        while len(answer) <= _LARGEST and (chunk := await reader.read(65536)):
            answer += chunk
        return bytes(answer)
    finally:
        writer.transport.abort()


def _parsed(raw: bytes, address: str) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise EngineError("the answer is not HTTP", where=address, code="engine.no-answer")
    return Answer(status=int(words[1]), text=body.decode(errors="replace"))
