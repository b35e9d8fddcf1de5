"""Tells over HTTP whether the operator lives and is ready, and its metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from plimsoll.errors import PortTaken
from plimsoll.worlds.cluster.operator.run import Operator

_SECONDS = 5.0  # for a request; whoever asks is a kubelet or Prometheus
_LONGEST = 16 * 1024  # bytes of a request
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}

Page = tuple[int, str, bytes]


@contextlib.asynccontextmanager
async def pages_of(operator: Operator, host: str, port: int) -> AsyncIterator[int]:
    """Serve `/healthz`, `/readyz` and `/metrics` meanwhile; yields the port.

    port  0 lets the system choose

    Raises PortTaken.
    """
    pages: dict[str, Callable[[], Page]] = {
        "/healthz": lambda: _text(200, "alive"),
        "/readyz": lambda: _text(200, "ready") if operator.ready else _text(503, "not synced yet"),
        "/metrics": lambda: (
            200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(operator.metrics.registry),
        ),
    }  # fmt: skip

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_SECONDS):
                    status, kind, body = await _page(reader, pages)
                    writer.write(_head(status, kind, len(body)) + body)
                    await writer.drain()
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, host, port, limit=_LONGEST)
    except OSError as error:
        raise PortTaken(
            f"port {port} is taken: {error.strerror}",
            hint="choose another with `--metrics-port`, or 0 for any",
        ) from error
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _page(reader: asyncio.StreamReader, pages: dict[str, Callable[[], Page]]) -> Page:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        return _text(400, "this is no request")
    page = pages.get(path.partition("?")[0])
    if page is None or method not in ("GET", "HEAD"):
        return _text(404, "there are /healthz, /readyz and /metrics")
    return page()


def _text(status: int, text: str) -> Page:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()


def _head(status: int, kind: str, length: int) -> bytes:
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    ).encode()
