"""Questions and answers between two processes over a pair of sockets, both ways at once.

A frame is its length (4 bytes, big endian) and MessagePack. The end of the one process is the end
of the link for the other, however it ended.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from enum import StrEnum
from itertools import count
from typing import cast

import msgspec

from plimsoll.errors import Failed, PlimsollError

_LENGTH = 4
_LARGEST = 256 * 1024 * 1024  # bytes of a frame; the metrics of ten thousand models are 60 MiB
_log = logging.getLogger(__name__)


class Word(StrEnum):
    """What is asked and told.

    ALIVE    parent to worker: any sign of life
    EXPLAIN  either way: what is known of a request
    LAST     worker to parent: its last numbers, as it ends
    METRICS  worker to parent: the numbers of all
    NUMBERS  parent to worker: its own numbers
    READY    worker to parent: it serves
    """

    ALIVE = "alive"
    EXPLAIN = "explain"
    LAST = "last"
    METRICS = "metrics"
    NUMBERS = "numbers"
    READY = "ready"


class LinkEnded(Failed):
    """The other process is gone, or refused to answer."""

    default_code = "gateway.link"


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    """One message.

    number  of the question; 0 where no answer is wanted
    about   the question's word; empty in an answer
    body    what is asked, or answered
    failed  why there is no answer, empty where there is
    """

    number: int
    about: str
    body: bytes = b""
    failed: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Frame).decode

Answers = Callable[[str, bytes], Awaitable[bytes]]
"""(word, body) -> answer; a PlimsollError is told to who asked."""


class Link(asyncio.Protocol):
    """One end. Made by `linked`."""

    def __init__(self, answers: Answers, lost: Callable[[], None]) -> None:
        self._answers = answers
        self._lost = lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._ended = False

    async def ask(self, about: str, body: bytes = b"") -> bytes:
        """The other's answer. Raises LinkEnded when it is gone or says why it has none."""
        if self._ended:
            raise LinkEnded("the other process is gone")
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self._send(_Frame(number, about, body))
        try:
            return await answer
        finally:
            self._asked.pop(number, None)

    def tell(self, about: str, body: bytes = b"") -> None:
        """Say something that needs no answer; nothing if the other is gone."""
        if not self._ended:
            self._send(_Frame(0, about, body))

    def close(self) -> None:
        """End the link; what was said already is sent, and `lost` is not called."""
        self._lost = _nothing
        if self._transport is not None:
            self._transport.close()

    # What follows is told by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The link is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses

    def data_received(self, data: bytes) -> None:
        """Take the frames that are whole."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH:
            length = int.from_bytes(buffer[:_LENGTH], "big")
            if length > _LARGEST:
                self._break(f"a frame of {length} bytes")
                return
            if len(buffer) < _LENGTH + length:
                return
            raw = bytes(memoryview(buffer)[_LENGTH : _LENGTH + length])
            del buffer[: _LENGTH + length]
            try:
                frame = _decode(raw)
            except msgspec.MsgspecError as error:
                self._break(str(error))
                return
            self._take(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other process is gone."""
        self._ended = True
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(LinkEnded("the other process is gone"))
        for task in self._answering:
            task.cancel()
        self._lost()

    def _take(self, frame: _Frame) -> None:
        if frame.about:
            task = asyncio.get_running_loop().create_task(self._answer(frame))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            return
        answer = self._asked.get(frame.number)
        if answer is None or answer.done():
            return  # who asked did not wait so long
        if frame.failed:
            answer.set_exception(LinkEnded(frame.failed))
        else:
            answer.set_result(frame.body)

    async def _answer(self, frame: _Frame) -> None:
        try:
            answer = _Frame(frame.number, "", await self._answers(frame.about, frame.body))
        except PlimsollError as error:
            answer = _Frame(frame.number, "", failed=str(error))
        except Exception as error:  # noqa: BLE001 -- logged, and told to who asked
            _log.exception("a fault in answering `%s`", frame.about)
            answer = _Frame(frame.number, "", failed=f"a fault of ours: {type(error).__name__}")
        if frame.number and not self._ended:
            self._send(answer)

    def _send(self, frame: _Frame) -> None:
        assert self._transport is not None
        raw = _encode(frame)
        self._transport.write(len(raw).to_bytes(_LENGTH, "big") + raw)

    def _break(self, why: str) -> None:
        _log.error("the link to another process broke: %s", why)
        if self._transport is not None:
            self._transport.abort()


async def linked(end: socket.socket, answers: Answers, lost: Callable[[], None]) -> Link:
    """A link over one end of a pair of sockets, which it owns from now on.

    answers  what it answers; asked in a task of its own for each question
    lost     called once when the other process is gone
    """
    link = Link(answers, lost)
    await asyncio.get_running_loop().create_connection(lambda: link, sock=end)
    return link


def _nothing() -> None:
    pass
