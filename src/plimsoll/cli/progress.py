"""Progress of downloads: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from plimsoll.units import size
from plimsoll.worlds.local.sources import Progress

LINE_SECONDS = 5.0


@contextmanager
def fetch_progress() -> Iterator[Progress]:
    """A progress callback for `fetch`; what it drew is finished when the block ends."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        tasks: dict[str, int] = {}

        def draw(*, source: str, done: int, total: int | None) -> None:
            if source not in tasks:
                tasks[source] = bars.add_task(source, total=total)
            bars.update(bars.task_ids[tasks[source]], completed=done, total=total)

        yield draw


class _Lines:
    """A line when a download starts and then every LINE_SECONDS."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, *, source: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._last.get(source, -LINE_SECONDS) < LINE_SECONDS:
            return
        self._last[source] = now
        share = f" of {size(total)} ({done / total:.0%})" if total else ""
        click.echo(f"fetching {source}: {size(done)}{share}", err=True)
