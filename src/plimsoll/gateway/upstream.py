"""Connections to replicas: one request at a time each, kept for the next, dropped on doubt."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from time import monotonic
from typing import Final, cast

import httptools
from mypy_extensions import mypyc_attr

from plimsoll.gateway.http_answer import Head, Receiver
from plimsoll.gateway.http_repeat import CHANCES, KnownHead, known_head
from plimsoll.policy.requests.types import Upstream
from plimsoll.policy.retry import Failure
from plimsoll.units import KIB

__all__ = ["Head", "Kept", "Opening", "Pool", "Receiver", "UpstreamConnection"]

_MAX_HEAD: Final = 64 * KIB
_DIGITS: Final = 19  # of a length
_VERSIONS = ("1.1", "1.0")


class UpstreamConnection(asyncio.Protocol):
    """One connection to one replica.

    upstream  the replica
    kept      the kept connections to it
    used      whether it has carried an answer before
    since     since when it is kept, seconds of the monotonic clock
    """

    def __init__(self, pool: Pool, kept: Kept) -> None:
        self.upstream = kept.upstream
        self.kept = kept
        self.used = False
        self.since = 0.0
        self._pool = pool
        self._receiver: Receiver | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._dropped = False
        self._unread = select.poll()
        self._parser = httptools.HttpResponseParser(self)
        self._known: KnownHead | None = None  # head of the last whole answer
        self._known_as = Head()
        self._chances = CHANCES
        self._begin()

    def _begin(self) -> None:
        self._head = Head()
        self._framing = 0  # bytes since the last of a body
        self._head_done = False
        self._head_told = False
        self._any = False
        self._framed = False
        self._chunked = False
        self._keep = False
        self._whole = False
        self._pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses
        self._unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        if self._dropped:
            self._transport.abort()

    def send(self, head: bytes, body: bytes, receiver: Receiver) -> None:
        """Send one request; its answer goes to `receiver`."""
        assert self._transport is not None
        assert self._receiver is None
        self._receiver = receiver
        if len(body) < _MAX_HEAD:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    @property
    def idle(self) -> bool:
        """Whether it can carry a request now: the replica has closed it no more than it has said
        something that nobody asked for, which would be taken for the next answer. The system may
        know of either before the event loop tells.
        """
        transport = self._transport
        return (
            self._receiver is None
            and transport is not None
            and not transport.is_closing()
            and not self._unread.poll(0)
        )

    def pause(self) -> None:
        """Read no more for now; the replica feels it."""
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection at once, so that the replica stops its work; nobody is told."""
        self._receiver = None
        self._dropped = True
        self._pool.gone(self)
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer and hand it on, in one piece."""
        receiver = self._receiver
        if receiver is None:
            self.abort()  # an answer that nobody asked for
            return
        first = not self._any
        if first:
            if self._known is not None:
                body = self._known.body(data)
                if body:
                    self._hand_on_whole(receiver, body)
                    return
            self._any = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._whole:
                self._fail(Failure.GARBAGE, f"not HTTP: {error}")
                return
            self._keep = False  # bytes after a whole answer: it counts, the connection does not
        if self._pieces or self._whole:
            self._framing = 0
        else:  # headers, trailers, or the extensions of chunks
            self._framing += len(data)
            if self._framing > _MAX_HEAD:
                self._fail(Failure.GARBAGE, "endless headers")
                return
        if self._head_done:
            if first and self._whole and self._keep:
                self._learn(data)
            self._hand_on(receiver)

    def _learn(self, data: bytes) -> None:
        """Remember the head of an answer that was whole in one read."""
        if self._chances and len(self._pieces) == 1 and not self._chunked:
            self._chances -= 1
            self._known = known_head(data, b"HTTP/1.1 200 ", len(self._pieces[0]))
            self._known_as = self._head

    def _hand_on_whole(self, receiver: Receiver, body: bytes) -> None:
        """Hand on an answer whose head came before; the parser has not seen it."""
        self._chances = CHANCES
        receiver.upstream_head(self._known_as)
        if self._receiver is receiver:
            receiver.upstream_data(body)
        if self._receiver is receiver:
            self._give_back()
            receiver.upstream_done()

    def _hand_on(self, receiver: Receiver) -> None:
        if not self._head_told:
            self._head_told = True
            receiver.upstream_head(self._head)
        pieces = self._pieces
        if pieces and self._receiver is receiver:
            self._pieces = []
            receiver.upstream_data(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._whole and self._receiver is receiver:
            self._end(receiver)

    def _end(self, receiver: Receiver) -> None:
        keep = self._keep
        self._begin()
        if keep:
            self._give_back()
        else:
            self.abort()
        receiver.upstream_done()

    def _give_back(self) -> None:
        """Keep the connection for the next request, unless it is doubtful."""
        self._receiver = None
        transport = self._transport
        assert transport is not None
        if transport.is_closing() or transport.get_write_buffer_size():
            self.abort()
            return
        if self._paused:
            self.resume()
        self.used = True
        self._pool.give(self)

    def _fail(self, failure: Failure, detail: str) -> None:
        receiver = self._receiver
        self.abort()
        if receiver is not None:
            receiver.upstream_failed(failure, detail)

    def eof_received(self) -> bool:
        """The replica sends no more: the transport closes, and `connection_lost` follows."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: an answer without a length is whole now, others are lost."""
        receiver = self._receiver
        if receiver is None:
            self._pool.gone(self)
        elif self._head_told and not self._framed and exc is None:
            self._keep = False
            self._end(receiver)
        elif self.used and not self._any:
            self._fail(Failure.STALE, "a kept connection was closed")
        else:
            self._fail(Failure.LOST, str(exc or "the replica closed the connection"))

    # What follows is called by the parser, in the order of the bytes.

    def on_message_begin(self) -> None:
        """An answer begins; one that nobody asked for spoils the connection."""
        if self._whole:
            raise ValueError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header or trailer."""
        if self._head_done:
            return
        name = name.lower()
        if name == b"content-type":
            self._head.content_type = value.lower()
        elif name in (b"content-length", b"transfer-encoding"):
            self._frame(value, chunked=name == b"transfer-encoding")
        elif name == b"content-encoding" and value.lower() != b"identity":
            self._head.encoded = True

    def _frame(self, value: bytes, *, chunked: bool) -> None:
        """How the end of the body is found: said once, and in one way."""
        plain = value.lower() == b"chunked" if chunked else len(value) <= _DIGITS
        if self._framed or not plain:
            raise ValueError("a body framed in no plain way")
        self._framed = True
        self._chunked = chunked

    def on_headers_complete(self) -> None:
        """The headers are whole."""
        version = self._parser.get_http_version()
        if version not in _VERSIONS or (self._chunked and version == "1.0"):
            raise ValueError("an answer of another version")
        self._head.status = self._parser.get_status_code()
        self._head_done = self._head.status >= 200
        self._keep = self._head_done and self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an interim one."""
        if self._head_done:
            self._whole = True
        else:
            self._head = Head()
            self._framed = self._chunked = False


class Kept:
    """The kept connections to one replica.

    authority  its `host:port` as the `Host` header says it
    wanted     whether the replica still gets requests
    idle       the latest kept last
    """

    __slots__ = ("authority", "idle", "upstream", "wanted")

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
        self.authority = f"{host}:{upstream.port}".encode()
        self.wanted = True
        self.idle: list[UpstreamConnection] = []


class Opening:
    """A connection that is being opened; `cancel` gives it up."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        """Stop opening it; `ready` will not be called."""
        self._task.cancel()


Ready = Callable[[UpstreamConnection | None, str], None]


@mypyc_attr(allow_interpreted_subclasses=True)
class Pool:
    """The connections to all replicas. What is given back is used again, the latest first.

    keep_seconds  not after so long
    """

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._kept: dict[Upstream, Kept] = {}
        self._all: set[UpstreamConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, upstream: Upstream, now: float) -> UpstreamConnection | None:
        """A kept connection to the replica, or None."""
        kept = self._kept.get(upstream)
        if kept is None:
            return None
        oldest = now - self._keep_seconds
        while kept.idle:
            connection = kept.idle.pop()
            if connection.since > oldest and connection.idle:
                return connection
            connection.abort()
        return None

    def open(self, upstream: Upstream, ready: Ready) -> Opening:
        """Open a connection; `ready` gets it, or None and the reason."""
        task = asyncio.get_running_loop().create_task(self._open(upstream, ready))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Opening(task)

    async def _open(self, upstream: Upstream, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        kept = self._kept.get(upstream)
        if kept is None:  # it left in the meantime; its connection is used once
            kept = Kept(upstream)
            kept.wanted = False
        connection = UpstreamConnection(self, kept)
        try:
            await loop.create_connection(lambda: connection, upstream.host, upstream.port)
        except OSError as error:
            ready(None, str(error))
            return
        except asyncio.CancelledError:
            connection.abort()
            raise
        self._all.add(connection)
        ready(connection, "")

    def give(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request, when its replica still gets any."""
        kept = connection.kept
        if kept.wanted and len(kept.idle) < kept.upstream.capacity:
            connection.since = monotonic()
            kept.idle.append(connection)
        else:
            connection.abort()

    def gone(self, connection: UpstreamConnection) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        if connection in connection.kept.idle:
            connection.kept.idle.remove(connection)

    def keep_only(self, upstreams: frozenset[Upstream]) -> None:
        """Drop the kept connections to every other replica."""
        for upstream in [known for known in self._kept if known not in upstreams]:
            kept = self._kept.pop(upstream)
            kept.wanted = False
            for connection in list(kept.idle):
                connection.abort()
        for upstream in upstreams:
            kept = self._kept.setdefault(upstream, Kept(upstream))
            kept.upstream = upstream  # its capacity may be another now

    def close(self) -> None:
        """Drop every connection."""
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._all):
            connection.abort()
