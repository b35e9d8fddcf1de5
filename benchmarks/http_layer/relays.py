"""The servers that are compared: `python -m benchmarks.http_layer.relays NAME PORT UPSTREAM`."""

# ruff: noqa: PLC0415 -- a peer that is not installed must not hinder the others

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from benchmarks.http_layer.bare import bare
from plimsoll.gateway import Board, Gateway, GatewaySettings, Served, Upstream
from plimsoll.gateway.upstream import Head, Pool, UpstreamConnection
from plimsoll.policy.retry import Failure
from plimsoll.telemetry.metrics import GatewayMetrics

PATH = b"/v1/chat/completions"


async def ours(port: int, upstream: int) -> None:
    """The whole gateway: checks, queue, routing, metrics."""
    board = Board([Served(name="m", aliases=("chat",), task="chat", context=1)])
    gateway = Gateway(board=board, settings=GatewaySettings(), metrics=GatewayMetrics())
    await gateway.start("127.0.0.1", port)
    replica = Upstream(replica="m-0", host="127.0.0.1", port=upstream, capacity=512)
    board.update("m", (replica,))
    print("ready", flush=True)
    await asyncio.Event().wait()


class _Awaited:
    """One upstream answer for a coroutine: our own upstream client behind an ASGI app."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    def upstream_head(self, head: Head) -> None:
        """The headers are whole."""
        self.head = head

    def upstream_data(self, data: bytes) -> None:
        """More of the body."""
        self.pieces.put_nowait(data)

    def upstream_done(self) -> None:
        """The end."""
        self.pieces.put_nowait(None)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """The end, too early."""
        raise RuntimeError(f"{failure}: {detail}")


def _asgi(upstream: int) -> Callable[..., Awaitable[None]]:
    pool = Pool(4.0)
    replica = Upstream(replica="m-0", host="127.0.0.1", port=upstream, capacity=512)
    pool.keep_only(frozenset({replica}))

    async def connection() -> UpstreamConnection:
        kept = pool.take(replica, time.monotonic())
        if kept is not None:
            return kept
        opened: asyncio.Future[UpstreamConnection] = asyncio.get_running_loop().create_future()

        def ready(made: UpstreamConnection | None, reason: str) -> None:
            assert made is not None, reason
            opened.set_result(made)

        pool.open(replica, ready)
        return await opened

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = _Awaited()
        head = b"POST %b HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n" % PATH
        (await connection()).send(head + b"content-length: %d\r\n\r\n" % len(body), body, answer)
        piece = await answer.pieces.get()
        assert answer.head is not None
        rows = [(b"content-type", answer.head.content_type)]
        if not answer.head.content_type.startswith(b"text/event-stream"):
            rows.append((b"content-length", b"%d" % len(piece or b"")))
        start = {"type": "http.response.start", "status": answer.head.status, "headers": rows}
        await send(start)
        while piece is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = await answer.pieces.get()
        await send({"type": "http.response.body", "body": b""})

    return app


async def uvicorn_asgi(port: int, upstream: int) -> None:
    """uvicorn, a bare ASGI app, our upstream client: no checks, queue, routing or metrics."""
    import uvicorn  # type: ignore[import-not-found,unused-ignore]  # a peer, not a dependency

    await _uvicorn(uvicorn, _asgi(upstream), port)


async def starlette_httpx(port: int, upstream: int) -> None:
    """Starlette on uvicorn, httpx upstream: what most Python gateways are made of."""
    import httpx
    import uvicorn  # type: ignore[import-not-found,unused-ignore]  # a peer, not a dependency
    from starlette.applications import (  # type: ignore[import-not-found,unused-ignore]  # a peer
        Starlette,
    )
    from starlette.responses import (  # type: ignore[import-not-found,unused-ignore]  # a peer
        StreamingResponse,
    )
    from starlette.routing import (  # type: ignore[import-not-found,unused-ignore]  # a peer
        Route,
    )

    limits = httpx.Limits(max_connections=512, max_keepalive_connections=512)
    client = httpx.AsyncClient(limits=limits, timeout=60)

    async def relay(request: Any) -> Any:
        url = f"http://127.0.0.1:{upstream}{PATH.decode()}"
        asked = client.build_request(
            "POST", url, content=await request.body(),
            headers={"content-type": "application/json"},
        )  # fmt: skip
        answer = await client.send(asked, stream=True)

        async def pieces() -> Any:
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            finally:
                await answer.aclose()

        kind = {"content-type": answer.headers["content-type"]}
        return StreamingResponse(pieces(), status_code=answer.status_code, headers=kind)

    app = Starlette(routes=[Route(PATH.decode(), relay, methods=["POST"])])
    await _uvicorn(uvicorn, app, port)


async def _uvicorn(uvicorn: Any, app: Any, port: int) -> None:
    config = uvicorn.Config(app, port=port, log_level="error", http="httptools", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 -- it says so by a flag only
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await serving


async def aiohttp_both(port: int, upstream: int) -> None:
    """Aiohttp on both sides."""
    import aiohttp  # type: ignore[import-not-found,unused-ignore]  # a peer, not a dependency
    from aiohttp import (  # type: ignore[import-not-found,unused-ignore]  # a peer
        web,
    )

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=512))
    url = f"http://127.0.0.1:{upstream}{PATH.decode()}"
    kind = {"content-type": "application/json"}

    async def relay(request: Any) -> Any:
        async with session.post(url, data=await request.read(), headers=kind) as answer:
            if answer.content_type != "text/event-stream":
                body = await answer.read()
                return web.Response(body=body, content_type=answer.content_type)
            out = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await out.prepare(request)
            async for piece in answer.content.iter_any():
                await out.write(piece)
            await out.write_eof()
            return out

    app = web.Application()
    app.router.add_post(PATH.decode(), relay)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


RELAYS = {
    "bare": (bare, ()),
    "ours": (ours, ()),
    "uvicorn-asgi": (uvicorn_asgi, ("uvicorn",)),
    "aiohttp": (aiohttp_both, ("aiohttp",)),
    "starlette-httpx": (starlette_httpx, ("uvicorn", "starlette", "httpx")),
}


def installed() -> list[str]:
    """The relays whose libraries are here."""
    return [
        name
        for name, (_, needs) in RELAYS.items()
        if all(importlib.util.find_spec(each) for each in needs)
    ]


if __name__ == "__main__":
    uvloop.run(RELAYS[sys.argv[1]][0](int(sys.argv[2]), int(sys.argv[3])))
