"""How fast the tickets of a model end, and how long its replicas take to come: for Retry-After."""

from __future__ import annotations

from math import exp
from typing import Final

_MEMORY: Final = 30.0  # seconds over which ends are averaged
_LOOK: Final = 1.0  # seconds between two looks at what ended
_LEARNS: Final = 0.3  # weight of the newest start in the expectation of the next
_LONGEST_START: Final = 3600.0  # seconds; what took longer came for another reason
_LONGEST: Final = 60.0  # seconds of a Retry-After where a model names no other bound


class Pace:
    """What was measured of one model.

    coming  since when replicas are called for, or None
    start   seconds that replicas take to come, or None before it was seen
    """

    __slots__ = ("_at", "_average", "_ended", "_since", "coming", "start")

    def __init__(self) -> None:
        self.coming: float | None = None
        self.start: float | None = None
        self._ended = 0  # since the last look
        self._average = 0.0  # those before it, of which older ones count less
        self._at = 0.0
        self._since: float | None = None

    def end(self, now: float) -> None:
        """A ticket gave its place up for good."""
        self._ended += 1
        if self._since is None:
            self._since = self._at = now
        elif now - self._at >= _LOOK:
            self._look(now)

    def _look(self, now: float) -> None:
        self._average = self._average * exp((self._at - now) / _MEMORY) + self._ended
        self._at = now
        self._ended = 0

    def rate(self, now: float) -> float:
        """Tickets that end a second; 0.0 where none has ended yet."""
        if self._since is None:
            return 0.0
        self._look(now)
        seen = max(now - self._since, _LOOK)
        return self._average / (_MEMORY * (1.0 - exp(-seen / _MEMORY)))

    def called(self, now: float) -> None:
        """Somebody waits and no replica is ready."""
        if self.coming is None:
            self.coming = now

    def came(self, now: float) -> None:
        """Replicas are ready."""
        if self.coming is not None:
            took, self.coming = now - self.coming, None
            if took <= _LONGEST_START:
                before = took if self.start is None else self.start
                self.start = before + _LEARNS * (took - before)

    def start_left(self, now: float) -> float | None:
        """Seconds until replicas may be ready, if it takes what it took; None: not known."""
        if self.start is None:
            return None
        since = now if self.coming is None else self.coming
        return max(0.0, since + self.start - now)

    def retry_after(self, now: float, *, before: float, ready: bool, hold: float | None) -> float:
        """Seconds after which a request may be worth sending again, 1 or more; 0.0: no word.

        before  tickets that would get a place before it
        ready   whether a replica is ready
        hold    seconds that a request may wait for the first replica; None: not said
        """
        longest = max(1.0, _LONGEST if hold is None else hold)
        if not ready:
            left = self.start_left(now)
            if left is None:
                left = hold
            return 0.0 if left is None else min(max(1.0, left), longest)
        if self._since is None:
            return 0.0
        rate = self.rate(now)
        if rate * longest <= before + 1.0:
            return longest
        return max(1.0, (before + 1.0) / rate)
