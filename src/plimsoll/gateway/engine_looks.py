"""Looks at the metrics of ready replicas, so that the board knows what others put on them.

No request waits for a look, and no look takes the event loop for long: the text is searched for
a few metrics as it comes, and everything is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import NoReturn

from plimsoll.engines.metrics_text import Excerpt
from plimsoll.engines.protocol import Counts
from plimsoll.errors import EngineError, PlimsollError
from plimsoll.gateway.board import Board
from plimsoll.gateway.upstream import Head, Pool, UpstreamConnection
from plimsoll.policy.requests.types import Upstream
from plimsoll.policy.retry import Failure
from plimsoll.telemetry.engine_metrics import EngineSeen

_OK = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """How the replicas of a model tell their counts.

    path     of their Prometheus text, on the port of requests
    metrics  names of the metrics that `read` needs
    read     text -> counts; raises FormatError
    """

    path: str
    metrics: tuple[str, ...]
    read: Callable[[str], Counts] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookPace:
    """How often is looked, and how much a look may take.

    interval  seconds between two looks at one replica
    rate      looks a second at most, over all replicas: many are looked at less often
    at_once   looks that run at the same time
    seconds   of one look
    largest   bytes of a text
    believed  intervals for which a word is believed while later looks fail
    jitter    a number from 0 to 1, another one at each call, so that several gateways do not look
              at the same moment
    """

    interval: float
    rate: float
    at_once: int
    seconds: float
    largest: int
    believed: float
    jitter: Callable[[], float]


@dataclass(slots=True, kw_only=True)
class _Word:
    """What a replica said last.

    counts  None: nothing that is still believed
    at      when, or when it was first asked, seconds of the monotonic clock
    failing whether the last look failed
    """

    counts: Counts | None = None
    at: float
    failing: bool = False


class EngineLooks:
    """Looks at every ready replica of some models in turn; `follow` says at which models'.

    A replica that several models share is left out: what it says is of all of them together.
    """

    def __init__(self, board: Board, pace: LookPace) -> None:
        self._board = board
        self._pace = pace
        self._models: Mapping[str, Spoken] = {}
        self._words: dict[str, dict[Upstream, _Word]] = {}
        self._failed: dict[str, int] = {}
        # A kept connection is used as long as the engine keeps it, too.
        self._pool = Pool(2 * pace.interval)
        self._spread = pace.interval  # seconds that the round takes

    def follow(self, models: Mapping[str, Spoken]) -> None:
        """Look at the replicas of exactly these models from now on."""
        for name in self._models.keys() - models.keys():
            for upstream in self._words.pop(name, {}):
                self._tell(name, upstream, None)
            self._failed.pop(name, None)
        self._models = dict(models)

    def seen(self) -> Iterator[EngineSeen]:
        """What is known of every model that is looked at."""
        now = monotonic()
        for name in self._models:
            words = [word for word in self._words.get(name, {}).values() if word.counts]
            counts = [word.counts for word in words if word.counts]
            shares = [each.kv_usage for each in counts if each.kv_usage is not None]
            yield EngineSeen(
                model=name,
                known=len(counts),
                running=sum(each.running for each in counts),
                waiting=sum(each.waiting for each in counts),
                kv_usage=max(shares, default=None),
                age=max((now - word.at for word in words), default=0.0),
                failed=self._failed.get(name, 0),
            )

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        pace = self._pace
        room = asyncio.Semaphore(pace.at_once)
        try:
            async with asyncio.TaskGroup() as group:
                await asyncio.sleep(pace.interval * pace.jitter())
                while True:
                    targets = self._targets()
                    pause = max(pace.interval / max(1, len(targets)), 1.0 / pace.rate)
                    self._spread = max(pace.interval, pause * len(targets))
                    for name, upstream in targets:
                        await room.acquire()
                        look = group.create_task(self._look(name, upstream))
                        look.add_done_callback(lambda _: room.release())
                        await asyncio.sleep(pause * (0.9 + 0.2 * pace.jitter()))
                    if not targets:
                        await asyncio.sleep(pause)
        finally:
            self._pool.close()

    def _targets(self) -> list[tuple[str, Upstream]]:
        """Whom to look at in this round; what is known of others is forgotten."""
        ready = {name: self._ready(name) for name in self._models}
        models = Counter(upstream for upstreams in ready.values() for upstream in upstreams)
        ready = {name: tuple(up for up in ups if models[up] == 1) for name, ups in ready.items()}
        for name, words in self._words.items():
            for upstream in words.keys() - set(ready.get(name, ())):
                del words[upstream]
                self._tell(name, upstream, None)
        self._pool.keep_only(frozenset(up for upstreams in ready.values() for up in upstreams))
        return [(name, upstream) for name, upstreams in ready.items() for upstream in upstreams]

    def _ready(self, name: str) -> tuple[Upstream, ...]:
        return tuple(place.upstream for place in self._board.places(name))

    async def _look(self, name: str, upstream: Upstream) -> None:
        """Look once and tell the board. Whatever goes wrong is counted, and said once."""
        spoken = self._models.get(name)
        if spoken is None or upstream not in self._ready(name):
            return  # it went since the round began
        own = self._board.in_flight(upstream.replica)
        words = self._words.setdefault(name, {})
        word = words.setdefault(upstream, _Word(at=monotonic()))
        try:
            async with asyncio.timeout(self._pace.seconds):
                counts = await self._ask(upstream, spoken)
        except (PlimsollError, TimeoutError) as error:
            self._failed_look(name, upstream, word, str(error) or "it did not answer in time")
            return
        except Exception as error:  # noqa: BLE001 -- logged, and counted as a failed look
            _log.exception("a fault in looking at %s", upstream.replica)
            self._failed_look(name, upstream, word, type(error).__name__)
            return
        word.counts, word.at, word.failing = counts, monotonic(), False
        requests = counts.running + counts.waiting
        self._tell(name, upstream, requests, own=own, kv_usage=counts.kv_usage)

    def _failed_look(self, name: str, upstream: Upstream, word: _Word, why: str) -> None:
        self._failed[name] = self._failed.get(name, 0) + 1
        if not word.failing:
            word.failing = True
            _log.warning("the metrics of %s tell nothing: %s", upstream.replica, why)
        if monotonic() - word.at > self._pace.believed * self._spread:
            word.counts = None
            self._tell(name, upstream, None)

    def _tell(
        self,
        name: str,
        upstream: Upstream,
        requests: int | None,
        *,
        own: int = 0,
        kv_usage: float | None = None,
    ) -> None:
        self._board.told(name, upstream.replica, requests, own=own, kv_usage=kv_usage)

    async def _ask(self, upstream: Upstream, spoken: Spoken) -> Counts:
        """Its counts. Raises EngineError and FormatError."""
        kept = self._pool.take(upstream, monotonic())
        if kept is not None:
            try:
                return await self._get(kept, spoken)
            except _Stale:
                pass  # the engine closed it meanwhile, which says nothing of the engine
        return await self._get(await self._open(upstream), spoken)

    async def _open(self, upstream: Upstream) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[UpstreamConnection] = loop.create_future()

        def ready(connection: UpstreamConnection | None, reason: str) -> None:
            if opened.done():
                if connection is not None:
                    connection.abort()
            elif connection is None:
                opened.set_exception(_silent(upstream, f"no connection: {reason}"))
            else:
                opened.set_result(connection)

        opening = self._pool.open(upstream, ready)
        try:
            return await opened
        except asyncio.CancelledError:
            opening.cancel()
            raise

    async def _get(self, connection: UpstreamConnection, spoken: Spoken) -> Counts:
        reply = _Reply(connection, Excerpt(spoken.metrics), self._pace.largest)
        head = b"GET %b HTTP/1.1\r\nhost: %b\r\naccept: text/plain\r\n\r\n"
        connection.send(head % (spoken.path.encode(), connection.kept.authority), b"", reply)
        try:
            excerpt = await reply.whole
        except asyncio.CancelledError:
            connection.abort()
            raise
        return spoken.read(excerpt.text())


class _Stale(EngineError):
    """A kept connection was closed before the engine got the question."""


class _Reply:
    """One answer while it comes, as a Receiver; `whole` is its excerpt."""

    def __init__(self, connection: UpstreamConnection, excerpt: Excerpt, largest: int) -> None:
        self.whole: asyncio.Future[Excerpt] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._excerpt = excerpt
        self._left = largest

    def upstream_head(self, head: Head) -> None:
        """Take no answer but a good one."""
        if head.status != _OK or head.encoded:
            self._refuse(_silent(self._connection.upstream, f"it answered {head.status}"))

    def upstream_data(self, data: bytes) -> None:
        """Search a piece."""
        self._left -= len(data)
        if self._left < 0:
            self._refuse(_silent(self._connection.upstream, "its text has no end"))
            return
        try:
            self._excerpt.feed(data)
        except PlimsollError as error:
            self._refuse(error)

    def upstream_done(self) -> None:
        """The answer is whole."""
        if not self.whole.done():
            self.whole.set_result(self._excerpt)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        """The answer broke off."""
        if not self.whole.done():
            where = self._connection.upstream
            stale = failure is Failure.STALE
            self.whole.set_exception(_Stale(detail) if stale else _silent(where, detail))

    def _refuse(self, error: PlimsollError) -> None:
        self._connection.abort()
        if not self.whole.done():
            self.whole.set_exception(error)


def _silent(upstream: Upstream, why: str) -> EngineError:
    where = f"{upstream.host}:{upstream.port}"
    return EngineError(f"no metrics: {why}", where=where, code="engine.no-answer")
