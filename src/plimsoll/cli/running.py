"""What is up on this machine: one small file for each running `plimsoll up`.

The file is written whole (a rename), so a reader never sees half of it. A lock beside it is held
by the process that runs the fleet; the kernel gives it up when that process ends, however it
ends, so that nobody mistakes another process with the same number for it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec


class RunningReplica(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One replica: its state since `seconds` ago, its requests, why it is not ready."""

    name: str
    state: str
    seconds: float
    in_flight: int
    address: str | None
    reason: str


class RunningModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One model: its replicas, its demand, and the last decision with its reason."""

    name: str
    engine: str
    wanted: int
    queued: int
    in_flight: int
    reason: str
    replicas: tuple[RunningReplica, ...]


class ColdStartSeen(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One measured start: seconds by phase."""

    replica: str
    phases: dict[str, float]


class RunningFleet(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One `plimsoll up`: who runs it, where it listens, what it serves."""

    pid: int
    started: float
    fleet: str
    url: str
    state: str
    models: tuple[RunningModel, ...]
    cold_starts: tuple[ColdStartSeen, ...] = ()


class RunningFile:
    """The file of this process; `write` replaces it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = b""

    def write(self, fleet: RunningFleet) -> None:
        """Replace the file, unless nothing changed."""
        text = msgspec.json.encode(fleet)
        if text == self._last:
            return
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(text)
        fresh.replace(self._path)
        self._last = text


@contextmanager
def running_file(folder: Path) -> Iterator[RunningFile]:
    """A file that is gone when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{os.getpid()}.json"
    lock = path.with_suffix(".lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield RunningFile(path)
        finally:
            _remove(path)


def running_fleets(folder: Path) -> tuple[RunningFleet, ...]:
    """Every fleet that is up; files of processes that are gone are removed."""
    fleets = []
    for path in sorted(folder.glob("*.json")):
        if not _held(path.with_suffix(".lock")):
            _remove(path)
            continue
        try:
            fleets.append(msgspec.json.decode(path.read_bytes(), type=RunningFleet))
        except (FileNotFoundError, msgspec.MsgspecError):
            continue  # it ended just now, or another version of Plimsoll runs it
    return tuple(sorted(fleets, key=lambda fleet: fleet.started))


def _held(lock: Path) -> bool:
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _remove(path: Path) -> None:
    for suffix in (".json", ".new", ".lock"):
        path.with_suffix(suffix).unlink(missing_ok=True)
