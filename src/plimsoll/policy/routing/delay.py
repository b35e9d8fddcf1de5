"""What a second of reading costs those who come after it: measured, not tuned. Pure."""

from __future__ import annotations

from typing import Final

_KEPT: Final = 0.003  # weight of a new sample of how often requests come
_LONG: Final = 10.0  # seconds between two of them, at most: a night is no measurement
_SHORT: Final = 1e-3  # seconds between two requests of one place, at least
_BUSY: Final = 0.95  # share of places that read, at most
_SOON: Final = 0.5  # of the average queue: who finds a place empty does not find it so for long


class Delay:
    """A prompt that is read makes everybody wait who comes to its place until the queue there has
    run empty, and that takes the longer the longer the queue is and the less time is free. So a
    second of reading costs little where nobody waits, and many times itself behind others.

    each   seconds of others, per second of reading and second of queue there
    queue  seconds that the queue of a place is expected to have, besides what it has
    """

    __slots__ = ("_average", "_gap", "_last", "_seen", "_share", "each", "queue")

    def __init__(self) -> None:
        self._gap = 0.0
        self._last = 0.0
        self._seen = 0
        self._share = 0.0
        self._average = 0.0
        self.each = 0.0
        self.queue = 0.0

    def came(self, now: float, waits: float, reads: int, count: int) -> None:
        """A request was sent where so many seconds of reading waited before it.

        reads  places that have prompts to read, of
        count  all
        """
        seen = self._seen
        self._seen = seen + 1
        self._share += 0.01 * (reads / count - self._share)
        self._average += 0.01 * (waits - self._average)
        self.queue = _SOON * self._average
        if seen:
            gap = min(now - self._last, _LONG)
            self._gap += max(_KEPT, 1.0 / seen) * (gap - self._gap)
            free = 1.0 - min(self._share, _BUSY)
            self.each = 1.0 / (max(self._gap * count, _SHORT) * free)
        self._last = now
