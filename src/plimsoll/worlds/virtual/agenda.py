"""What is to be done when, in the order of time; at the same time, what was noted first."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

Action = Callable[[float], None]


class Agenda:
    """See the module's docstring."""

    __slots__ = ("_entries", "_number")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Action]] = []
        self._number = 0

    def at(self, time: float, action: Action) -> None:
        """Do it at this time; the time is handed in."""
        self._number += 1
        heappush(self._entries, (time, self._number, action))

    def every(self, seconds: float, action: Action, *, first: float) -> None:
        """Do it again and again."""

        def again(now: float) -> None:
            self.at(now + seconds, again)
            action(now)

        self.at(first, again)

    @property
    def next(self) -> float:
        """When something is to be done next; infinite: never."""
        return self._entries[0][0] if self._entries else inf

    def do(self) -> None:
        """The next thing."""
        time, _, action = heappop(self._entries)
        action(time)
