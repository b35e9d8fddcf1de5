"""The parent's side: adds up what its workers count, and passes questions on between them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from plimsoll.gateway.workers.link import Link, LinkEnded, Word, linked
from plimsoll.telemetry.exposition import Described
from plimsoll.telemetry.merged import Merged
from plimsoll.telemetry.worker_metrics import WORKER, worker_parts

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a worker is waited for, in seconds.

    numbers  for its metrics; after that its last ones are shown
    explain  for what it knows of a request
    alive    for any sign of life of one that serves
    every    between two looks whether they live
    """

    numbers: float = 3.0
    explain: float = 3.0
    alive: float = 30.0
    every: float = 5.0


@dataclass(slots=True, kw_only=True)
class _Worker:
    """One process.

    last    its metrics when it was last asked
    serves  whether it said that it is ready
    silent  whether it did not answer when it was last asked
    """

    link: Link | None = None
    last: bytes = b""
    serves: bool = False
    silent: bool = False


class Hub:
    """What the parent knows of its workers, by their numbers.

    families  of the workers' metrics
    ready     called when a worker serves: its number
    waits     see there

    Counters never go down: what a worker had counted when it was last asked stays when it dies.
    """

    def __init__(
        self,
        *,
        families: Iterable[Described],
        ready: Callable[[int], None],
        waits: Waits | None = None,
    ) -> None:
        self._families = (*families, *WORKER)
        self._ready = ready
        self._waits = waits or Waits()
        self._workers: dict[int, _Worker] = {}
        self._gone = Merged(self._families)
        self._ends = 0

    async def joined(self, number: int, end: socket.socket) -> None:
        """A worker was started; `end` is ours of the pair of sockets."""
        worker = self._workers[number] = _Worker()

        async def answers(about: str, body: bytes) -> bytes:
            return await self._answer(number, worker, about, body)

        worker.link = await linked(end, answers, lambda: None)

    def left(self, number: int, *, wanted: bool) -> None:
        """A worker has ended.

        wanted  as it was told to
        """
        worker = self._workers.pop(number, None)
        if worker is None:
            return
        if worker.link is not None:
            worker.link.close()
        self._gone.add(worker.last, gone=True)
        self._ends += not wanted

    @property
    def serving(self) -> int:
        """Workers that serve now."""
        return sum(worker.serves for worker in self._workers.values())

    async def metrics(self) -> bytes:
        """The numbers of all workers as those of one gateway."""
        await asyncio.gather(*map(self._refresh, list(self._workers.values())))
        # From here to the first await nobody can leave, so that nothing is counted twice.
        workers = list(self._workers.values())
        own = worker_parts(
            serving=self.serving,
            ends=self._ends,
            silent=sum(worker.silent for worker in workers),
        )
        texts = [*(worker.last for worker in workers), b"".join(own), self._gone.text()]
        merged = Merged(self._families)
        for text in texts:
            for _ in merged.adding(text):
                await asyncio.sleep(0)
        return merged.text()

    async def explain(self, request_id: bytes, *, asked_by: int) -> bytes:
        """What another worker knows of a request; empty where none does."""
        others = [
            worker.link
            for number, worker in self._workers.items()
            if number != asked_by and worker.link is not None
        ]
        answers = await asyncio.gather(
            *(_within(link, Word.EXPLAIN, request_id, self._waits.explain) for link in others)
        )
        return next(filter(None, answers), b"")

    async def watch(self, hung: Callable[[int], None]) -> None:
        """Look whether those that serve still do, until cancelled; `hung` is told who does not."""
        waits = self._waits
        while True:
            await asyncio.sleep(waits.every)
            serving = [
                (number, worker, worker.link)
                for number, worker in self._workers.items()
                if worker.serves and worker.link is not None
            ]
            signs = await asyncio.gather(
                *(_within(link, Word.ALIVE, b"", waits.alive) for _, _, link in serving)
            )
            for (number, worker, _), sign in zip(serving, signs, strict=True):
                if sign is None and self._workers.get(number) is worker:
                    _log.error("worker %d does not answer for %.0f s", number, waits.alive)
                    hung(number)

    async def _refresh(self, worker: _Worker) -> None:
        if worker.link is None or not worker.serves:
            return
        text = await _within(worker.link, Word.NUMBERS, b"", self._waits.numbers)
        worker.silent = text is None
        if text is not None:
            worker.last = text

    async def _answer(self, number: int, worker: _Worker, about: str, body: bytes) -> bytes:
        match about:
            case Word.METRICS:
                return await self.metrics()
            case Word.EXPLAIN:
                return await self.explain(body, asked_by=number)
            case Word.READY:
                worker.serves = True
                self._ready(number)
            case Word.LAST:
                worker.last, worker.serves = body, False
            case _:
                raise LinkEnded(f"nobody here knows what `{about}` means")
        return b""


async def _within(link: Link, about: str, body: bytes, seconds: float) -> bytes | None:
    """An answer, or None where none came in time."""
    try:
        async with asyncio.timeout(seconds):
            return await link.ask(about, body)
    except (LinkEnded, TimeoutError):
        return None
