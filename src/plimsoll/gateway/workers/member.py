"""A worker's side: what it tells its parent, and what it asks the others."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Protocol

from plimsoll.gateway.scrape import in_slices
from plimsoll.gateway.workers.link import Link, LinkEnded, Word, linked


class Siblings(Protocol):
    """The other workers of the same gateway, as one of them sees them."""

    async def metrics(self) -> bytes:
        """The numbers of all workers together. Raises LinkEnded."""
        ...

    async def explain(self, key: bytes) -> bytes:
        """What another worker knows of a request, empty where none does. Raises LinkEnded."""
        ...


class Member:
    """One worker among others.

    numbers  its own metrics, in parts
    explain  what it knows of a request, empty for one that it does not know
    """

    def __init__(
        self, *, numbers: Callable[[], Iterator[bytes]], explain: Callable[[bytes], bytes]
    ) -> None:
        self._numbers = numbers
        self._explain = explain
        self._link: Link | None = None

    async def join(self, end: socket.socket, orphaned: Callable[[], None]) -> None:
        """Link to the parent; `orphaned` is called when it is gone."""
        self._link = await linked(end, self._answer, orphaned)

    def ready(self) -> None:
        """Say that this worker serves."""
        self._linked.tell(Word.READY)

    async def leave(self) -> None:
        """Say the last numbers, and end the link; nothing if the parent is gone."""
        with contextlib.suppress(LinkEnded):
            await self._linked.ask(Word.LAST, b"".join(self._numbers()))
        self._linked.close()

    async def metrics(self) -> bytes:
        """As Siblings has it."""
        return await self._linked.ask(Word.METRICS)

    async def explain(self, key: bytes) -> bytes:
        """As Siblings has it."""
        return await self._linked.ask(Word.EXPLAIN, key)

    @property
    def _linked(self) -> Link:
        assert self._link is not None, "`join` comes first"
        return self._link

    async def _answer(self, about: str, body: bytes) -> bytes:
        match about:
            case Word.NUMBERS:
                return await in_slices(self._numbers())
            case Word.EXPLAIN:
                return self._explain(body)
            case Word.ALIVE:
                return b"yes"
            case _:
                raise LinkEnded(f"nobody here knows what `{about}` means")
