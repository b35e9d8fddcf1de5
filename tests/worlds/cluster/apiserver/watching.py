"""Watches of the mocked API server: what each one sees, bookmarks, 410, and breaking them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp.web
import msgspec

from tests.worlds.cluster.apiserver.kinds import Kind
from tests.worlds.cluster.apiserver.selectors import Match
from tests.worlds.cluster.apiserver.store import Change, Object, Refusal, Store


class Dropped(Exception):
    """The watch is to be broken."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One watch.

    namespace       None: every one
    match           None: every object
    since           resource version; 0: what is there now comes first
    seconds         how long it stays open
    bookmark_every  seconds without a change between two bookmarks
    """

    store: Store
    kind: Kind
    namespace: str | None
    match: Match | None
    since: int
    seconds: float
    bookmark_every: float
    stream: aiohttp.web.StreamResponse
    dropped: asyncio.Event

    async def run(self, queue: asyncio.Queue[Change]) -> None:
        """Write changes until the time is over. Raises Dropped."""
        ends = asyncio.get_running_loop().time() + self.seconds
        if self.since and self.since < self.store.oldest:
            text = f"too old resource version: {self.since}"
            await self._write("ERROR", Refusal(410, "Expired", text).body)
            return
        seen = self.store.version
        for change in self._earlier(seen):
            await self._tell(change)
        while (left := ends - asyncio.get_running_loop().time()) > 0:
            change = await _next(queue, self.dropped, min(left, self.bookmark_every))
            if change is None:
                await self._bookmark()
            elif change.version > seen:
                await self._tell(change)

    def _earlier(self, seen: int) -> list[Change]:
        if self.since:
            past = self.store.history(self.kind)
            return [change for change in past if self.since < change.version <= seen]
        return [
            Change(version=seen, before=None, after=one)
            for one in self.store.all(self.kind, self.namespace)
        ]

    async def _bookmark(self) -> None:
        body = {
            "kind": self.kind.kind,
            "apiVersion": self.kind.api_version,
            "metadata": {"resourceVersion": str(self.store.version)},
        }
        await self._write("BOOKMARK", body)

    async def _tell(self, change: Change) -> None:
        """Write a change as this watch sees it: what leaves its selector is deleted."""
        one = change.after or change.before
        assert one is not None
        if self.namespace is not None and one["metadata"].get("namespace") != self.namespace:
            return
        was = self._takes(change.before)
        if self._takes(change.after):
            await self._write("MODIFIED" if was else "ADDED", one)
        elif was:
            await self._write("DELETED", one)

    def _takes(self, one: Object | None) -> bool:
        return one is not None and (self.match is None or self.match(one))

    async def _write(self, type_: str, body: Object) -> None:
        await self.stream.write(msgspec.json.encode({"type": type_, "object": body}) + b"\n")


async def _next(
    queue: asyncio.Queue[Change], dropped: asyncio.Event, longest: float
) -> Change | None:
    """The next change; None: none came in `longest` seconds. Raises Dropped."""
    if dropped.is_set():
        raise Dropped
    if not queue.empty():
        return queue.get_nowait()
    getting = asyncio.ensure_future(queue.get())
    breaking = asyncio.ensure_future(dropped.wait())
    try:
        await asyncio.wait(
            {getting, breaking}, timeout=longest, return_when=asyncio.FIRST_COMPLETED
        )
        if dropped.is_set():
            raise Dropped
        return getting.result() if getting.done() else None
    finally:
        getting.cancel()
        breaking.cancel()
