"""What is to be looked at next: each key once, at most one worker on it, the failing ones later.

Level-triggered: a key says that something may have changed, never what. Adding a key that waits
already changes nothing; adding one that is being worked on has it looked at once more after that.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast keys are handed out.

    first    seconds until a key that failed once is looked at again; doubles with each failure
    longest  seconds that this is never exceeded by
    rate     keys per second over all, in the long run
    burst    keys that may be handed out at once after a quiet time
    """

    first: float = 0.5
    longest: float = 120.0
    rate: float = 100.0
    burst: int = 200


class WorkQueue(Generic[K]):
    """The keys that wait, in the order in which they came.

    pace   how fast they are handed out
    clock  seconds, never set back
    random a number from 0 to 1, so that keys that failed together do not come back together
    """

    def __init__(
        self, *, pace: Pace, clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self._pace = pace
        self._clock = clock
        self._random = random
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()  # those in `_ready`
        self._busy: set[K] = set()
        self._again: set[K] = set()  # came while they were worked on
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}  # when a key of `_later` is due; others there are stale
        self._failures: dict[K, int] = {}
        self._count = itertools.count()
        self._tokens = float(pace.burst)
        self._filled = clock()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Keys that are due and that nobody works on."""
        return len(self._ready)

    @property
    def busy(self) -> int:
        """Keys that somebody works on."""
        return len(self._busy)

    @property
    def delayed(self) -> int:
        """Keys that are not due yet."""
        return len(self._due)

    def add(self, key: K, *, after: float = 0.0) -> None:
        """Have a key looked at in `after` seconds; the earliest of several wishes counts."""
        if after <= 0:
            self._due.pop(key, None)
            self._now(key)
            return
        due = self._clock() + after
        if key in self._waiting or self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._count), key))
        self._changed.set()

    async def take(self) -> K:
        """The next key that is due, when there is one; it is this worker's until `done`."""
        while True:
            wait = self._next()
            if wait == 0:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._busy.add(key)
                self._tokens -= 1
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        """Nobody works on the key any more."""
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self._now(key)

    def failed(self, key: K) -> float:
        """Have a key looked at again, later with every failure in a row. Returns the seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(self._pace.longest, self._pace.first * 2.0 ** min(failures - 1, 30))
        wait *= 0.5 + self._random() / 2
        self.add(key, after=wait)
        return wait

    def succeeded(self, key: K) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def forget(self, key: K) -> None:
        """The key is of no interest any more."""
        self._failures.pop(key, None)
        self._due.pop(key, None)
        self._again.discard(key)
        if key in self._waiting:
            self._waiting.discard(key)
            self._ready.remove(key)

    def _now(self, key: K) -> None:
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._changed.set()

    def _next(self) -> float | None:
        """Seconds until a key can be handed out; 0 where one can now; None: nothing waits."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self._now(key)
        if not self._ready:
            return self._later[0][0] - now if self._later else None
        pace = self._pace
        self._tokens = min(float(pace.burst), self._tokens + (now - self._filled) * pace.rate)
        self._filled = now
        return 0 if self._tokens >= 1 else (1 - self._tokens) / pace.rate
