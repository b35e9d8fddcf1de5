"""How long replicas took to start, phase by phase: remembered, and appended to a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

_REMEMBERED = 256
_LARGEST = 1024 * 1024  # bytes of the file; it is started anew beyond that


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One start of a replica, measured.

    model    the model's name
    replica  the replica's name
    started  when, Unix time in seconds
    phases   seconds of `spawn` (until the engine's program runs), `load` (until it listens with
             the weights loaded) and `ready` (until its health says yes), in order
    """

    model: str
    replica: str
    started: float
    phases: Mapping[str, float]

    @property
    def total(self) -> float:
        """Seconds from the wish to the readiness."""
        return sum(self.phases.values())


class ColdStarts:
    """The cold starts of one world, kept in memory and in a file of JSON lines."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._all: deque[ColdStart] = deque(maxlen=_REMEMBERED)

    def all(self) -> tuple[ColdStart, ...]:
        """The last starts, oldest first."""
        return tuple(self._all)

    def add(self, start: ColdStart) -> str:
        """Remember a start and append it to the file. Returns why it could not, or nothing."""
        self._all.append(start)
        try:
            fresh = self._file.exists() and self._file.stat().st_size > _LARGEST
            with self._file.open("wb" if fresh else "ab") as file:
                file.write(msgspec.json.encode(start) + b"\n")
        except OSError as error:
            return f"{self._file} cannot be written: {error.strerror}"
        return ""
