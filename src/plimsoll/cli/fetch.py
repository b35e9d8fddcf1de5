"""`plimsoll fetch`: one model to a path, as the containers of a cluster do it before an engine."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from plimsoll.cli.demand import on_demand
from plimsoll.cli.prepare import open_cache
from plimsoll.cli.progress import fetch_progress
from plimsoll.errors import InputError
from plimsoll.fleet.source import parse_source
from plimsoll.units import size
from plimsoll.worlds.local.sources import Artifact, fetch, place

_LOOK = 1.0  # seconds between two looks for a path that somebody else makes


@click.command("fetch")
@click.argument("source", metavar="SOURCE")
@click.option(
    "--to", required=True, type=click.Path(path_type=Path), metavar="PATH",
    help="What an engine will open: becomes the model's file or folder, all at once",
)  # fmt: skip
@click.option("--sha256", metavar="SUM", help="Checksum of a single file; another one is refused")
@click.option("--whole", is_flag=True, help="Every file of the source, whatever its format")
@click.option("--wait", is_flag=True, help="Fetch nothing: wait until somebody else has")
@click.option(
    "--label", metavar="KEY",
    help="Inside a pod: put this label on it, `loading` at first, `ready` at last",
)  # fmt: skip
@click.option("--stay", is_flag=True, help="Do not end before a signal, so that a pod stays ready")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def fetch_command(
    source: str,
    *,
    to: Path,
    sha256: str | None,
    whole: bool,
    wait: bool,
    label: str | None,
    stay: bool,
    as_json: bool,
) -> None:
    """Fetch SOURCE (`hf://`, `https://`, `s3://`, `gs://`, `builtin:`) to a path.

    Safe to repeat and to run several times at once on one volume: what is there is used, one
    process downloads, an interrupted download goes on. Downloads are kept in PLIMSOLL_CACHE.
    """
    to = to.absolute()
    mark = on_demand("own_label").OwnLabel(label, os.environ) if label else None
    with _until_signal() as stopped:
        if wait:
            _wait(to, stopped)
            _say({"source": source, "path": str(to)}, f"{to} is there", as_json=as_json)
            return
        if mark is not None:
            mark.loading()
        artifact = _fetched(source, to, sha256, stopped, whole=whole)
        told = dataclasses.asdict(artifact) | {"path": str(to)}
        _say(told, f"{to}: {size(artifact.bytes)} of {artifact.source}", as_json=as_json)
        if mark is not None:
            mark.ready()
        if stay:
            stopped.wait()


def _fetched(
    source: str, to: Path, sha256: str | None, stopped: threading.Event, *, whole: bool
) -> Artifact:
    """Raises InputError, SourceError."""
    scheme = parse_source(source).scheme
    if whole and scheme in ("builtin", "file"):
        raise InputError(
            f"`--whole` is for what is downloaded, not for a `{scheme}:` source",
            where=source,
            hint="leave it out",
            code="fetch.whole",
        )
    with fetch_progress() as progress, open_cache() as cache:
        artifact = fetch(
            source,
            cache=cache,
            sha256=sha256,
            progress=progress,
            cancelled=stopped.is_set,
            whole=whole,
        )
        place(artifact, to, copy=scheme == "builtin")
    return artifact


def _wait(to: Path, stopped: threading.Event) -> None:
    click.echo(f"waiting for {to}", err=True)
    while not to.exists():
        if stopped.wait(_LOOK):
            raise click.Abort


def _say(told: dict[str, object], line: str, *, as_json: bool) -> None:
    click.echo(json.dumps(told, indent=2) if as_json else line)
    sys.stdout.flush()


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the first process of a container ignores them else."""
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
