"""Logs of replicas: one file per run, bounded in size, the last runs kept; and what they tell."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

RUNS_KEPT = 5
LIMIT = 1024 * 1024  # bytes of one run; the newest half is kept when it is reached
_LINES_REMEMBERED = 60
_LONGEST_LINE = 4096  # bytes; what is longer is cut when it is remembered
_CUT = b"... older lines dropped ...\n"
_TROUBLE = re.compile(r"(?:^|\s)[EF]\s|(?i:error|fail|fatal|assert|abort|terminate|cannot)")
_STAMP = re.compile(r"^[\d.:TZ+-]+\s+(?:[A-Z]\s+)?")


class RunLog:
    """The log of one run of a replica; a context manager that closes its file.

    path     the file
    problem  why it could not be written, or empty; the run goes on without its log
    """

    def __init__(self, path: Path, *, limit: int = LIMIT) -> None:
        self.path = path
        self.problem = ""
        self._limit = limit
        self._file = path.open("w+b", buffering=0)
        self._size = 0
        self._lines: deque[str] = deque(maxlen=_LINES_REMEMBERED)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        """Append output of the engine, dropping the oldest half when the limit is reached."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LONGEST_LINE]
        self._lines.extend(line[:_LONGEST_LINE].decode(errors="replace") for line in lines)
        if self.problem:
            return
        try:
            if self._size + len(data) > self._limit:
                self._drop_oldest(room=len(data))
            self._file.write(data[-self._limit :])
            self._size = self._file.tell()
        except OSError as error:
            self.problem = f"its log {self.path} cannot be written: {error.strerror}"

    def lines(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        rest = self._rest.decode(errors="replace")
        return (*self._lines, rest) if rest else tuple(self._lines)

    def _drop_oldest(self, *, room: int) -> None:
        keep = max(0, min(self._limit // 2, self._limit - room - len(_CUT)))
        self._file.seek(max(0, self._size - keep))
        newest = self._file.read(keep)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(_CUT + newest.partition(b"\n")[2])


def new_run(folder: Path, replica: str) -> Path:
    """Make way for one more run's log: `r.log` becomes `r.1.log`, and so on; the oldest goes."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{replica}.log", *(f"{replica}.{age}.log" for age in range(1, RUNS_KEPT))]
    for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
        if (folder / newer).exists():
            (folder / newer).replace(folder / older)
    return folder / names[0]


def telling(lines: Iterable[str], *, first: bool) -> str:
    """The line that says what went wrong, without its time stamp; empty when there is none.

    first  the first such line (a failed start: the cause comes before its consequences),
           else the last one
    """
    troubles = [line for line in lines if _TROUBLE.search(line)]
    if not troubles:
        return ""
    return _STAMP.sub("", troubles[0 if first else -1]).strip()
