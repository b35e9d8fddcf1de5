"""Files that are on their way: written at the end only, hashed as they come, resumable.

A partial folder is `state.json` and `files/`. What is there belongs to the holder of the fetch
lock. A beginning is trusted after a crash as far as a hash will prove it, or it was synced.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources import manifest
from plimsoll.worlds.local.sources.interrupt import Cancelled, stop_if
from plimsoll.worlds.local.sources.manifest import STATE, FileState, State, StoredFile
from plimsoll.worlds.local.sources.remote import Changed, RemoteFile, Stream, Transient
from plimsoll.worlds.local.sources.storage import is_full, on_disk, require_room, write_all

_SYNC_EVERY = 64 * 1024 * 1024  # bytes between two marks that survive a power cut
_READ = 1024 * 1024
_NOTE = 64 * 1024  # bytes that are given back on a full disk, enough for state.json
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


class Mismatch(Exception):
    """The content does not hash to what was promised.

    expected, found  `sha256 0123...`
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, got {found}")
        self.expected = expected
        self.found = found


class PartialFolder:
    """The files of one source on their way.

    where  the source as it may be printed
    """

    def __init__(self, root: Path, *, files: tuple[RemoteFile, ...], where: str) -> None:
        """Takes over what an earlier run left, and drops what cannot be continued.

        Raises SourceError.
        """
        self.where = where
        self.root = root
        with on_disk(root, where=where):
            self._files = root / "files"
            self._files.mkdir(parents=True, exist_ok=True)
            old = manifest.read(root / STATE, State)
            kept = {state.path: state for state in old.files} if old else {}
            self._started = old.started_at if old else time.time()
            self._states = {file.path: _merge(file, kept.get(file.path)) for file in files}
            self._drop_others(kept)
            self._drop_ends()
            self._save()

    def path(self, name: str) -> Path:
        """Where a file of the listing lies."""
        return self._files / name

    def state(self, name: str) -> FileState:
        """What is known of a file."""
        return self._states[name]

    def update(self, name: str, **known: object) -> None:
        """Remember more about a file. Raises OSError."""
        self._states[name] = msgspec.structs.replace(self._states[name], **known)
        self._save()

    def on_disk_bytes(self) -> int:
        """Bytes that need not be fetched again."""
        return sum(self.beginning(name) for name in self._states)

    def beginning(self, name: str) -> int:
        """Bytes of a file that can be trusted as its beginning."""
        state, path = self._states[name], self.path(name)
        length = path.stat().st_size if path.is_file() else 0
        trusted = length if state.digest else min(length, state.synced)
        return trusted if state.bytes is None else min(trusted, state.bytes)

    def adopt(self, name: str, same: Path, sha256: str) -> bool:
        """Take a file that another entry has, as one more name for the same content.

        False where the file system has no hard links, or the other file is gone or of another
        size. Raises SourceError.
        """
        fresh = self.root / "adopted"
        path = self.path(name)
        try:
            size = same.stat().st_size
            if self._states[name].bytes not in (None, size):
                return False
            fresh.unlink(missing_ok=True)
            os.link(same, fresh)
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.replace(path)
        except OSError:
            return False
        with on_disk(path, where=self.where):
            self.update(name, bytes=size, synced=size, sha256=sha256)
        return True

    def stored(self) -> tuple[StoredFile, ...]:
        """The whole files. Only when all are."""
        return tuple(
            StoredFile(path=state.path, bytes=state.bytes or 0, sha256=state.sha256 or "")
            for state in self._states.values()
        )

    def _save(self) -> None:
        files = tuple(self._states.values())
        state = State(source=self.where, started_at=self._started, files=files)
        manifest.write(self.root / STATE, state)

    def _drop_others(self, kept: dict[str, FileState]) -> None:
        for path in sorted(self._files.rglob("*"), reverse=True):
            name = path.relative_to(self._files).as_posix()
            if stat.S_ISDIR(path.lstat().st_mode):
                with contextlib.suppress(OSError):  # not empty: something in it is wanted
                    path.rmdir()
            elif kept.get(name) is None or self._states.get(name) != kept[name]:
                path.unlink()

    def _drop_ends(self) -> None:
        """What cannot be trusted must not take up the room that its replacement needs."""
        for name in self._states:
            path, trusted = self.path(name), self.beginning(name)
            if path.is_file() and path.stat().st_size > trusted:
                if path.stat().st_nlink > 1:
                    path.unlink()
                else:
                    os.truncate(path, trusted)


def _merge(file: RemoteFile, old: FileState | None) -> FileState:
    if old is not None and old.continues(file):
        return old
    return FileState(path=file.path, bytes=file.bytes, digest=file.digest, validator=file.validator)


class PartialFile:
    """One open file, growing at its end.

    done     bytes written, and hashed
    resumed  whether some of them came with an earlier answer
    """

    def __init__(self, folder: PartialFolder, file: RemoteFile, *, cancelled: Cancelled) -> None:
        self._folder = folder
        self._name = file.path
        self._listed = file.bytes
        self.done = 0
        self.resumed = False
        self._synced = 0
        path = folder.path(file.path)
        with on_disk(path, where=folder.where):
            folder.update(file.path, sha256=None)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_nlink > 1:
                path.unlink()  # writing into it would damage the entry that shares it
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o644)
        try:
            self._start_hashes()
            self._take_beginning(cancelled)
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Sync, remember how far it came, let go of the file."""
        try:
            # A full disk may refuse the mark; then the next run trusts the mark before it.
            with contextlib.suppress(OSError):
                self._mark()
        finally:
            os.close(self._descriptor)

    @property
    def expected(self) -> int | None:
        """Bytes of the whole file, once somebody said."""
        return self._folder.state(self._name).bytes

    @property
    def validator(self) -> str | None:
        """The identity of the content that was begun."""
        return self._folder.state(self._name).validator

    @property
    def resume_at(self) -> int:
        """Where the next answer should begin: at 0 where nothing could tell another file."""
        state = self._folder.state(self._name)
        return self.done if state.digest or state.validator else 0

    @property
    def whole(self) -> bool:
        """Whether every byte is there."""
        return self.expected is not None and self.done == self.expected

    def begin(self, stream: Stream) -> None:
        """Prepare for an answer: start over if it does. Raises Transient, SourceError."""
        state = self._folder.state(self._name)
        if self._listed is not None and stream.total not in (None, self._listed):
            raise Transient(
                f"the server offers {stream.total:,} bytes where {self._listed:,} are right",
                code="source.size",
            )
        other = None not in (state.bytes, stream.total) and state.bytes != stream.total
        if stream.offset not in (0, self.done) or (stream.offset > 0 and other):
            raise Changed("the server answered with a part of another file")
        if stream.offset == 0:
            self.rewind()
        if stream.total is None and not stream.delimited and state.digest is None:
            raise SourceError(
                "the server does not say how long the file is, so a cut could not be noticed",
                where=self._folder.where,
                hint="add `#sha256=` with the checksum to the source",
                code="source.size",
            )
        self.resumed = stream.offset > 0
        total = stream.total if self._listed is None else self._listed
        if total is not None:
            require_room(self._folder.root, total - self.done, where=self._folder.where)
        with self._writing():
            self._folder.update(self._name, bytes=total, validator=stream.validator)

    def write(self, chunk: bytes) -> None:
        """Append. Raises SourceError when the disk does not take it, Transient when too long."""
        if self.expected is not None and self.done + len(chunk) > self.expected:
            raise Changed("the server sent more than it announced", code="source.size")
        with self._writing():
            write_all(self._descriptor, chunk)
            self.done += len(chunk)
            for digest in self._hashes.values():
                digest.update(chunk)
            if self.done - self._synced >= _SYNC_EVERY:
                self._mark()

    def ended(self) -> None:
        """The answer is over. Raises Transient when something is missing."""
        if self.expected is not None and self.done < self.expected:
            raise Transient(f"the connection ended after {self.done:,} of {self.expected:,} bytes")

    def retarget(self, file: RemoteFile) -> None:
        """Start over, with the content that the source has now. Raises SourceError."""
        self._listed = file.bytes
        with self._writing():
            self._folder.update(
                self._name, bytes=file.bytes, digest=file.digest, validator=file.validator
            )
        self.rewind()

    def rewind(self) -> None:
        """Start over. Raises SourceError."""
        with self._writing():
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self.done = self._synced = 0
            self.resumed = False
            if self._folder.state(self._name).synced:
                self._folder.update(self._name, synced=0)
        self._start_hashes()

    def finish(self) -> str:
        """The SHA-256 of the whole, synced and verified file. Raises Mismatch, SourceError."""
        digest = self._folder.state(self._name).digest
        if digest is not None:
            found = self._hashes[digest.algorithm].hexdigest()
            if found != digest.hex:
                kind = digest.algorithm
                raise Mismatch(f"{kind} {digest.hex}", f"{kind} {found}")
        with self._writing():
            os.fsync(self._descriptor)
            sha256 = self._hashes["sha256"].hexdigest()
            self._synced = self.done
            self._folder.update(self._name, bytes=self.done, synced=self.done, sha256=sha256)
        return sha256

    def delete(self) -> None:
        """Remove the bad content. Raises SourceError."""
        self.rewind()
        with self._writing():
            self._folder.path(self._name).unlink(missing_ok=True)

    def _mark(self) -> None:
        if self.done != self._synced:
            _sync(self._descriptor)
            self._synced = self.done
            self._folder.update(self._name, synced=self.done)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        needed = None if self.expected is None else self.expected - self._length()
        path = self._folder.path(self._name)
        with on_disk(path, where=self._folder.where, needed=needed):
            try:
                yield
            except OSError as error:
                # A helping of a chunk may be there that is not in the hashes: cut it off. On a full
                # disk cut a little more, so that how far it came can still be noted.
                self.done = max(0, self.done - _NOTE if is_full(error) else self.done)
                os.ftruncate(self._descriptor, self.done)
                raise

    def _length(self) -> int:
        return min(self.done, self.expected or 0)

    def _start_hashes(self) -> None:
        state = self._folder.state(self._name)
        self._hashes = {"sha256": hashlib.sha256()}
        algorithm = state.digest.algorithm if state.digest else "sha256"
        if algorithm == "md5":
            self._hashes["md5"] = hashlib.md5(usedforsecurity=False)
        if algorithm == "git-sha1":
            header = f"blob {state.bytes}\0".encode()
            self._hashes["git-sha1"] = hashlib.sha1(header, usedforsecurity=False)

    def _take_beginning(self, cancelled: Cancelled) -> None:
        length = self._folder.beginning(self._name)
        with on_disk(self._folder.path(self._name), where=self._folder.where):
            os.ftruncate(self._descriptor, length)
            while self.done < length:
                stop_if(cancelled)
                piece = os.read(self._descriptor, _READ)
                for digest in self._hashes.values():
                    digest.update(piece)
                self.done += len(piece)
        self._synced = min(length, self._folder.state(self._name).synced)
        self.resumed = length > 0
