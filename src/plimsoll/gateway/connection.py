"""One client connection: requests in their order, one exchange at a time, every limit kept."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from time import monotonic
from typing import Final, cast

from mypy_extensions import mypyc_attr

from plimsoll.gateway import http_reply
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.http_repeat import RepeatReader
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.service import Service, Work

_HIGH_WATER: Final = 64 * 1024  # bytes for a slow client, after which its engine is slowed down too
_MOST_DISCARDED: Final = 64 * 1024 * 1024


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientConnection(asyncio.Protocol):
    """See the module's docstring.

    deadline  when something must have happened, seconds of the monotonic clock
    paused    whether the client takes no more bytes for now
    """

    def __init__(self, service: Service) -> None:
        self.deadline = monotonic() + service.settings.idle_seconds
        self.paused = False
        self._service = service
        self._settings = service.settings
        self._reader = RepeatReader(self, service.settings)
        self._transport: asyncio.Transport | None = None
        self._exchange: Work | None = None
        self._backlog: deque[Request | Refused] = deque()
        self._held = 0  # bytes of bodies
        self._owes_continue = False  # to a caller whose body waits behind another's answer
        self._deaf = False  # what still comes in is thrown away
        self._discarded = 0
        self._closing = False
        self._head: Request | None = None  # of a request whose body is being read

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        return self._exchange is not None or bool(self._backlog) or self._reader.reading

    @property
    def answering(self) -> bool:
        """Whether a request is being answered or waits to be."""
        return self._exchange is not None or bool(self._backlog)

    # What follows is told by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        try:
            self._service.opened(self)
        except Refused as refused:
            self._deaf = True
            self._refuse(refused, None)

    def data_received(self, data: bytes) -> None:
        """Read requests; the first that cannot be read is the last."""
        if self._deaf:
            self._discarded += len(data)
            if self._discarded > _MOST_DISCARDED:
                self.abort()
            return
        reader = self._reader
        try:
            begun = reader.feed(data)
        except Refused as refused:
            self._deaf = True
            self._submit(refused)
            return
        if begun and reader.in_head and not self.answering:
            self.deadline = monotonic() + self._settings.head_seconds

    def eof_received(self) -> bool:
        """The client sends no more. That is how a client leaves, so its work is stopped; one
        that only closed its sending side gets what was answered already.
        """
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and with it all that was held for it."""
        self._leave()
        self._service.bodies -= self._held
        self._held = 0
        self._service.closed(self)

    def pause_writing(self) -> None:
        """The client is slow: its engine waits too, and its patience begins."""
        self.paused = True
        if self._exchange is not None:
            self._exchange.pause()
        else:
            self.deadline = monotonic() + self._settings.write_seconds

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.paused = False
        if self._exchange is not None:
            self._exchange.resume()
        elif not self._closing:
            self._next()

    # What follows is told by the reader.

    def head_read(self, request: Request) -> None:
        """Refuse at once what its headers show to be wrong, before its body comes."""
        if not request.has_body:
            return
        self._head = request
        self._service.check_head(request)
        if self._exchange is None and not self._backlog:
            self.deadline = monotonic() + self._settings.body_seconds
            self._owes_continue = False
            if request.expects:
                self.write(http_reply.CONTINUE)
        else:
            self._owes_continue = request.expects

    def body_grew(self, count: int) -> None:
        """Count what is held, here and in the whole gateway."""
        self._held += count
        service = self._service
        service.bodies += count
        if service.bodies > self._settings.max_bodies:
            raise service.overloaded()

    def request_read(self, request: Request) -> None:
        """A request is whole."""
        self._head = None
        if self._exchange is None and not (self._backlog or self.paused or self._closing):
            self._serve(request)
            return
        if len(self._backlog) >= self._settings.max_pipelined:
            raise Refused("bad_http", "too many requests sent before their answers")
        self._backlog.append(request)

    # What follows is told by the exchange.

    def write(self, data: bytes) -> None:
        """Send bytes."""
        assert self._transport is not None
        self._transport.write(data)

    def keeps(self, request: Request) -> bool:
        """Whether the connection may be used again after this request."""
        return request.keep_alive and not self._service.draining

    def answered(self, request: Request, *, keep_alive: bool) -> None:
        """The answer is sent; the next request's turn, or the end."""
        self._exchange = None
        if request.body:
            self._held -= len(request.body)
            self._service.bodies -= len(request.body)
        if keep_alive:
            self._next()
        else:
            self._close()

    # What follows is told by the gateway.

    def tick(self, now: float) -> None:
        """Let time pass."""
        if self.deadline > now:
            return
        if self._closing or self.paused:
            self.abort()
        elif self._exchange is not None:
            self._exchange.expire(now)
        elif not self._reader.reading:
            self.abort()
        else:
            self._deaf = True
            self._submit(Refused("request_timeout", "the request came too slowly"))

    def retire(self, since: float) -> None:
        """Close if nothing has gone on since then, and no request is on its way to be read."""
        if self.busy or self._closing or self._transport is None:
            return
        if self.deadline - self._settings.idle_seconds <= since and not _has_bytes(self._transport):
            self._close()

    def cut(self) -> bool:
        """End what is going on with an error, then close. Whether anything was."""
        exchange, self._exchange = self._exchange, None
        self._backlog.clear()
        if exchange is None:
            self._close()
            return False
        exchange.cut(Refused("draining", "the gateway is shutting down"))
        self._close()
        return True

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _submit(self, refused: Refused) -> None:
        if self.answering or self.paused or self._closing:
            self._backlog.append(refused)
        else:
            self._serve(refused)

    def _next(self) -> None:
        """Serve what waits, else listen."""
        if self._backlog and not self.paused:
            self._serve(self._backlog.popleft())
        elif self._reader.in_head:
            self.deadline = monotonic() + self._settings.head_seconds
        elif self._reader.reading:
            self.deadline = monotonic() + self._settings.body_seconds
            if self._owes_continue:
                self._owes_continue = False
                self.write(http_reply.CONTINUE)
        else:
            self.deadline = monotonic() + self._settings.idle_seconds

    def _serve(self, item: Request | Refused) -> None:
        if isinstance(item, Refused):
            self._refuse(item, None)
            return
        try:
            exchange = self._service.serve(self, item)
        except Refused as refused:
            self._refuse(refused, item)
            return
        if exchange is not None:
            self._exchange = exchange
            exchange.begin()

    def _refuse(self, refused: Refused, request: Request | None) -> None:
        """Answer with an error; a connection whose requests cannot be read on is closed."""
        keep_alive = request is not None and request.keep_alive
        about = request or self._head
        self.write(self._service.refusal(refused, about, keep_alive=keep_alive))
        if request is None:
            self._close()
        else:
            self.answered(request, keep_alive=keep_alive)

    def _close(self) -> None:
        """Close so that the client can still read the answer: send, then listen to the rest
        of what it sends for a moment, for closing earlier would make its system drop the answer.
        """
        transport = self._transport
        if self._closing or transport is None or transport.is_closing():
            return
        self._closing = True
        self._backlog.clear()
        if self._deaf or self._reader.reading:
            self._deaf = True
            self.deadline = monotonic() + self._settings.linger_seconds
            if transport.can_write_eof():
                transport.write_eof()
        else:
            self.deadline = monotonic() + self._settings.write_seconds
            transport.close()

    def _leave(self) -> None:
        self._backlog.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()


def _has_bytes(transport: asyncio.Transport) -> bool:
    """Whether the system holds bytes that the event loop did not read yet."""
    descriptor = transport.get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(descriptor)) as raw:
        try:
            return bool(raw.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:  # nothing is there, or the connection is broken
            return False
