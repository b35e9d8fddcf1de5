"""The order of a trace: its time never falls, and it has no hole far beyond what is usual."""

from __future__ import annotations

from pathlib import Path

from plimsoll.errors import InputError
from plimsoll.units import duration

LEAST_GAP_SECONDS = 60.0
FAR_BEYOND = 300.0
"""Times the usual distance between arrivals: from here on a hole is a gap. Arrivals of the
burstiest traffic that ServeGen has, in sum, come that far apart less than once in 10^6."""
_REMEMBERED = 1000  # arrivals over which the usual distance is taken
_FEWEST = 100  # arrivals after which one can speak of what is usual


class Order:
    """Looks at the time of one arrival after the other.

    path        file, for the message
    allow_gaps  whether a hole is taken as time in which nobody asked
    """

    __slots__ = ("_allow_gaps", "_count", "_last", "_path", "_usual")

    def __init__(self, path: Path, *, allow_gaps: bool) -> None:
        self._path = path
        self._allow_gaps = allow_gaps
        self._last = 0.0
        self._count = 0
        self._usual = 0.0

    def take(self, at: float, line: int) -> None:
        """The next arrival, seconds since the first. Raises InputError that names its line."""
        distance = at - self._last
        if distance < 0:
            raise self._unsorted(at, line)
        count = self._count
        if distance > LEAST_GAP_SECONDS and count >= _FEWEST and not self._allow_gaps:
            self._refuse(distance, line)
        self._last = at
        self._count = count = count + 1
        if count > 1:
            self._usual += (distance - self._usual) / min(count - 1, _REMEMBERED)

    def _unsorted(self, at: float, line: int) -> InputError:
        return InputError(
            f"{duration(self._last - at)} earlier than the request before it",
            where=f"{self._path}:{line}",
            hint="sort the trace by its time",
            code="trace.unsorted",
        )

    def _refuse(self, distance: float, line: int) -> None:
        if distance <= FAR_BEYOND * self._usual:
            return
        raise InputError(
            f"no request in the {duration(distance)} before this one, where one in "
            f"{duration(self._usual)} is usual: part of the trace seems to be missing",
            where=f"{self._path}:{line}",
            hint="fill it, or use the part before or after it; `--allow-gaps` if nobody asked then",
            code="trace.gap",
        )
