"""How far a simulation is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from plimsoll.units import duration
from plimsoll.worlds.virtual.tally import Minute

LINE_SECONDS = 5.0
_DRAW_SECONDS = 0.1

Told = Callable[[Minute], None]


@contextmanager
def simulation_progress(what: str, seconds: float | None) -> Iterator[Told]:
    """Called with every simulated minute; what it drew is gone, or finished, at the block's end.

    seconds  that the workload lasts; None where that is not known
    """
    if not sys.stderr.isatty():
        yield _Lines(what, seconds)
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=seconds, done="")
        count = _Count()
        last = 0.0

        def draw(row: Minute) -> None:
            nonlocal last
            count.add(row)
            now = time.monotonic()
            if now - last >= _DRAW_SECONDS:
                last = now
                bar.update(task, completed=row.at, done=count.words(row))

        yield draw


class _Count:
    def __init__(self) -> None:
        self._arrived = 0

    def add(self, row: Minute) -> None:
        self._arrived += row.arrived

    def words(self, row: Minute) -> str:
        return f"{duration(row.at + 60)}, {self._arrived:,} requests"


class _Lines:
    """A line every LINE_SECONDS; nothing for what is over before."""

    def __init__(self, what: str, seconds: float | None) -> None:
        self._what = what
        self._seconds = seconds
        self._count = _Count()
        self._last = time.monotonic()

    def __call__(self, row: Minute) -> None:
        self._count.add(row)
        now = time.monotonic()
        if now - self._last < LINE_SECONDS:
            return
        self._last = now
        share = f" ({min(1.0, (row.at + 60) / self._seconds):.0%})" if self._seconds else ""
        click.echo(f"{self._what}: {self._count.words(row)}{share}", err=True)
