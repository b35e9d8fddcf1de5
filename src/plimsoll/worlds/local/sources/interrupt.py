"""Blocking network calls that the caller can leave within a fraction of a second.

The call runs in a worker thread; the caller polls. A worker that is left behind owns nothing
but its connection, and closes it when its own time-out ends.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources.remote import Stream

T = TypeVar("T")
Cancelled = Callable[[], bool]
POLL = 0.05  # seconds between two looks at `cancelled`
_AHEAD = 32  # chunks read ahead of the disk


def stop_if(cancelled: Cancelled) -> None:
    """Raises SourceError with code `source.cancelled` when the caller wants to stop."""
    if cancelled():
        raise SourceError(
            "the download was cancelled",
            hint="what has arrived is kept; the next run continues there",
            code="source.cancelled",
        )


def pause(seconds: float, cancelled: Cancelled) -> None:
    """Sleeps, but not past a cancellation. Raises SourceError."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        stop_if(cancelled)
        time.sleep(min(POLL, left))
    stop_if(cancelled)


@dataclass(frozen=True, slots=True)
class _End:
    """The worker is through; `error` is what it raised."""

    error: BaseException | None = None


def call(work: Callable[[], T], cancelled: Cancelled) -> T:
    """The result of `work`, or what it raised. Raises SourceError when cancelled."""
    box: queue.Queue[T | _End] = queue.Queue()

    def run() -> None:
        try:
            box.put(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            box.put(_End(error))

    stop_if(cancelled)
    threading.Thread(target=run, name="source-call", daemon=True).start()
    return _raised(_take(box, cancelled))


@contextmanager
def reading(
    opened: Callable[[], AbstractContextManager[Stream]], cancelled: Cancelled
) -> Iterator[tuple[Stream, Iterator[bytes]]]:
    """The head of an answer and its chunks, read ahead by a worker.

    Raises what `opened` or its chunks raise, and SourceError when cancelled.
    """
    stop_if(cancelled)
    reader = _Reader(opened)
    threading.Thread(target=reader.run, name="source-read", daemon=True).start()
    try:
        yield _raised(_take(reader.heads, cancelled)), reader.received(cancelled)
    finally:
        reader.left.set()


class _Reader:
    """The worker's side of `reading`: one head or an end, then chunks and an end."""

    def __init__(self, opened: Callable[[], AbstractContextManager[Stream]]) -> None:
        self._opened = opened
        self._chunks: queue.Queue[bytes | _End] = queue.Queue(_AHEAD)
        self.heads: queue.Queue[Stream | _End] = queue.Queue()
        self.left = threading.Event()

    def run(self) -> None:
        """Read until the end, an error, or until nobody wants more."""
        end = _End()
        try:
            with self._opened() as stream:
                self.heads.put(stream)
                for chunk in stream.chunks:
                    if not self._put(chunk):
                        return
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            end = _End(error)
        self.heads.put(end)
        self._put(end)

    def received(self, cancelled: Cancelled) -> Iterator[bytes]:
        """The chunks, in the caller's thread."""
        while True:
            item = _take(self._chunks, cancelled)
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _put(self, item: bytes | _End) -> bool:
        while not self.left.is_set():
            try:
                self._chunks.put(item, timeout=POLL)
            except queue.Full:
                continue
            return True
        return False


def _raised(result: T | _End) -> T:
    if isinstance(result, _End):
        raise result.error or AssertionError("a worker ends with a value or an error")
    return result


def _take(box: queue.Queue[T], cancelled: Cancelled) -> T:
    while True:
        stop_if(cancelled)
        try:
            return box.get(timeout=POLL)
        except queue.Empty:
            continue
