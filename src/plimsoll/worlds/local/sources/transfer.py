"""Brings the files of a source to the disk, whole and verified, however often the line breaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources.interrupt import pause, reading, stop_if
from plimsoll.worlds.local.sources.partial import Mismatch, PartialFile, PartialFolder
from plimsoll.worlds.local.sources.patience import Caller, Tries
from plimsoll.worlds.local.sources.remote import Changed, Origin, RemoteFile, Stream, Transient
from plimsoll.worlds.local.sources.storage import on_disk, require_room

Report = Callable[[int, int | None], None]
FindSame = Callable[[str], Path | None]
_REPORT_EVERY = 0.1  # seconds


class Meter:
    """Adds up the bytes of all files and reports them, not too often."""

    def __init__(
        self, folder: PartialFolder, files: tuple[RemoteFile, ...], report: Report
    ) -> None:
        self._folder = folder
        self._files = files
        self._report = report
        self._before = 0
        self._last = 0.0

    def start(self) -> None:
        """Tell what is there already."""
        self._report(self._folder.on_disk_bytes(), self._total())

    def at(self, done: int) -> None:
        """The current file has that many bytes."""
        now = time.monotonic()
        if now - self._last >= _REPORT_EVERY:
            self._last = now
            self._report(self._before + done, self._total())

    def finished(self, size: int) -> None:
        """The current file is whole."""
        self._before += size
        self._last = 0.0
        self.at(0)

    def _total(self) -> int | None:
        total = 0
        for file in self._files:
            size = self._folder.state(file.path).bytes
            if size is None:
                return None
            total += size
        return total


def download(
    origin: Origin,
    files: tuple[RemoteFile, ...],
    folder: PartialFolder,
    *,
    caller: Caller,
    find_same: FindSame,
    report: Report,
) -> None:
    """Make every file of the folder whole.

    find_same  the path of a file in the cache with that SHA-256, so that content is stored once
    report     gets bytes done and bytes in all, or None
    Raises SourceError; what has arrived stays in the folder, wrong content does not.
    """
    meter = Meter(folder, files, report)
    meter.start()
    for file in files:
        digest = folder.state(file.path).digest
        if folder.state(file.path).sha256 is None and digest and digest.algorithm == "sha256":
            _adopt(folder, file.path, digest.hex, find_same)
    with on_disk(folder.root, where=caller.where):
        whole = sum(folder.state(file.path).bytes or 0 for file in files)
        missing = max(0, whole - folder.on_disk_bytes())
    require_room(folder.root, missing, where=caller.where)
    for file in files:
        stop_if(caller.cancelled)
        state = folder.state(file.path)
        if state.sha256 is None or folder.beginning(file.path) != state.bytes:
            sha256 = _fetch_one(origin, file, folder, caller, meter)
            _adopt(folder, file.path, sha256, find_same)
        meter.finished(folder.state(file.path).bytes or 0)


def _adopt(folder: PartialFolder, name: str, sha256: str, find_same: FindSame) -> None:
    same = find_same(sha256)
    if same is not None:
        folder.adopt(name, same, sha256)


def _fetch_one(
    origin: Origin, file: RemoteFile, folder: PartialFolder, caller: Caller, meter: Meter
) -> str:
    tries = Tries(caller.patience, caller.where)
    with closing(PartialFile(folder, file, cancelled=caller.cancelled)) as part:
        while True:
            try:
                if not part.whole:
                    _one_try(origin, file, part, caller, meter)
                return part.finish()
            except Changed as problem:
                wait = tries.after(problem)
                listed = file
                file = caller.ask(lambda: origin.describe(listed))  # noqa: B023 - called at once
                part.retarget(file)
            except Transient as problem:
                wait = tries.after(problem, done=part.done)
            except Mismatch as problem:
                if not part.resumed:
                    part.delete()
                    raise _wrong(problem, file, caller) from problem
                # The beginning may be the bad half: get all of it in one go before judging.
                part.rewind()
                wait = tries.after(Transient(str(problem), code="source.checksum"))
            pause(wait, caller.cancelled)


def _one_try(
    origin: Origin, file: RemoteFile, part: PartialFile, caller: Caller, meter: Meter
) -> None:
    def opened() -> AbstractContextManager[Stream]:
        return origin.open(file, offset=part.resume_at, validator=part.validator)

    with reading(opened, caller.cancelled) as (stream, chunks):
        part.begin(stream)
        for chunk in chunks:
            part.write(chunk)
            meter.at(part.done)
    part.ended()


def _wrong(problem: Mismatch, file: RemoteFile, caller: Caller) -> SourceError:
    return SourceError(
        f"`{file.path}` has the wrong checksum: expected {problem.expected}, got {problem.found}",
        where=caller.where,
        hint="the bad file was deleted; check the checksum, or ask whoever publishes the file",
        code="source.checksum",
    )
