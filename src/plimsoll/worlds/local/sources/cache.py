"""The models on this disk: whole ones, ready to use, and beginnings of others.

    entries/KEY/entry.json  what it is: source, format, files with size and SHA-256
    entries/KEY/files/...   the files, read-only; `used` beside them carries the time of last use
    partial/KEY/            the same on its way, with `state.json`; renamed to entries/ when whole
    locks/KEY.fetch         held by the one process that fetches
    locks/KEY.use           held, shared, by every process that uses or fetches; pruning excludes it
    trash/                  what is being deleted

KEY is a hash of the source text and the checksum that the fleet file demands, so another demand
is another entry. The same content in two entries is one file with two names (hard links), found
by its SHA-256 in the manifests; deleting an entry is deleting its folder, nothing is counted.
An entry is used as it is, without asking the network, until it is pruned.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from plimsoll.worlds.local.sources import manifest
from plimsoll.worlds.local.sources.interrupt import POLL, Cancelled, pause
from plimsoll.worlds.local.sources.locks import FileLock, try_lock
from plimsoll.worlds.local.sources.manifest import MANIFEST, STATE, Manifest, State
from plimsoll.worlds.local.sources.storage import on_disk, sync_folder

_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One source in the cache.

    key           its folder's name
    source        as it may be printed; `unknown` where the metadata is damaged
    path          its folder
    bytes         of its files on the disk
    files         how many
    fetched_at    seconds since the epoch; for a partial one, when it was begun
    last_used_at  seconds since the epoch; for a partial one, of its last progress
    sha256        of a model in one file, else None
    complete      whole and verified; else partial or damaged
    in_use        a live process uses or fetches it
    """

    key: str
    source: str
    path: Path
    bytes: int
    files: int
    fetched_at: float
    last_used_at: float
    sha256: str | None
    complete: bool
    in_use: bool


def default_root(environment: Mapping[str, str]) -> Path:
    """PLIMSOLL_CACHE, else `plimsoll/models` in XDG_CACHE_HOME or `~/.cache`."""
    if chosen := environment.get("PLIMSOLL_CACHE"):
        return Path(chosen).expanduser()
    home = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "plimsoll" / "models"


def key_of(source: str, sha256: str | None) -> str:
    """The name of the entry of a source with a demanded checksum."""
    return hashlib.sha256(f"{source}\n{sha256 or ''}".encode()).hexdigest()[:32]


class Cache:
    """A cache on the disk. What was fetched through it stays in use until `close`.

    root  its folder, made when something is fetched
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._held: dict[str, FileLock] = {}
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the use of everything that was fetched through this object."""
        with self._guard:
            held, self._held = list(self._held.values()), {}
        for lock in held:
            lock.close()

    def entries(self) -> tuple[CacheEntry, ...]:
        """Everything there is, last used first. Raises SourceError."""
        with on_disk(self.root, where="cache"):
            # Partial ones first: what is published meanwhile is seen twice rather than never.
            found = {
                folder.name: self._entry(folder)
                for kind in ("partial", "entries")
                for folder in _folders(self.root / kind)
            }
        there = [entry for entry in found.values() if entry is not None]
        return tuple(sorted(there, key=lambda entry: (-entry.last_used_at, entry.key)))

    def prune(
        self,
        *,
        older_than: float | None = None,
        sources: Collection[str] | None = None,
        max_bytes: int | None = None,
        dry_run: bool = False,
    ) -> tuple[CacheEntry, ...]:
        """Delete entries that no live process uses; returns them.

        older_than  only what was last used that many seconds ago or longer
        sources     only these, as listed
        max_bytes   only as many, least recently used first, as bring the cache down to this
        dry_run     delete nothing
        With no bound given: everything, also what is partial or damaged. Raises SourceError.
        """
        entries = self.entries()
        latest = None if older_than is None else time.time() - older_than
        chosen = [
            entry
            for entry in reversed(entries)
            if not entry.in_use
            and (latest is None or entry.last_used_at <= latest)
            and (sources is None or entry.source in sources)
        ]
        with on_disk(self.root, where="cache"):
            if max_bytes is not None:
                chosen = _enough(entries, chosen, max_bytes)
            if dry_run:
                return tuple(chosen)
            gone = tuple(entry for entry in chosen if self._remove(entry.key))
            shutil.rmtree(self.root / "trash", ignore_errors=True)
        return gone

    # What follows is for fetch.

    def prepare(self, where: str) -> None:
        """Make the folders. Raises SourceError."""
        with on_disk(self.root, where=where):
            for name in ("entries", "partial", "locks"):
                (self.root / name).mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def using(self, key: str, *, where: str, cancelled: Cancelled) -> Iterator[None]:
        """Keep an entry from being pruned; kept until `close` when the body succeeds."""
        with contextlib.ExitStack() as stack:
            lock = self._lock(key, "use", shared=True, where=where)
            while lock is None:
                pause(POLL, cancelled)
                lock = self._lock(key, "use", shared=True, where=where)
            stack.enter_context(lock)
            yield
            with self._guard:
                if key not in self._held:
                    self._held[key] = lock
                    stack.pop_all()

    def try_fetching(self, key: str, *, where: str) -> FileLock | None:
        """The right to fetch an entry, or None while another has it. Raises SourceError."""
        return self._lock(key, "fetch", shared=False, where=where)

    def complete(self, key: str) -> Manifest | None:
        """The manifest of a whole entry; None when it is absent, damaged or cut."""
        folder = self.root / "entries" / key
        found = manifest.read(folder / MANIFEST, Manifest)
        return found if found is not None and _is_whole(folder, found) else None

    def touch(self, key: str) -> None:
        """Note the use of an entry."""
        with contextlib.suppress(OSError):  # a cache that is read-only now still serves
            (self.root / "entries" / key / "used").touch()

    def files(self, key: str) -> Path:
        """The folder of an entry's files."""
        return self.root / "entries" / key / "files"

    def partial(self, key: str) -> Path:
        """The folder of an entry that is on its way."""
        return self.root / "partial" / key

    def arrived(self, key: str) -> tuple[int, int | None]:
        """Bytes of a partial entry on the disk, and bytes in all, or None."""
        state = manifest.read(self.partial(key) / STATE, State)
        sizes = [file.bytes for file in state.files] if state else [None]
        known = [size for size in sizes if size is not None]
        total = sum(known) if len(known) == len(sizes) else None
        return _usage([self.partial(key) / "files"])[0], total

    def publish(self, key: str, entry: Manifest) -> None:
        """Turn a partial entry whose files are whole and synced into one to use. OSError."""
        folder, target = self.partial(key), self.root / "entries" / key
        for path in (folder / "files").rglob("*"):
            if path.is_file():
                path.chmod(0o444)
            else:
                sync_folder(path)
        sync_folder(folder / "files")
        manifest.write(folder / MANIFEST, entry)
        sync_folder(folder)
        if target.exists():
            self._discard(target)
        folder.rename(target)
        sync_folder(target.parent)
        (target / STATE).unlink(missing_ok=True)
        self.touch(key)

    def find_same(self, sha256: str) -> Path | None:
        """A whole file of any entry with that SHA-256."""
        for folder in _folders(self.root / "entries"):
            found = manifest.read(folder / MANIFEST, Manifest)
            for file in found.files if found else ():
                path = folder / "files" / file.path
                if file.sha256 == sha256 and _size(path) == file.bytes:
                    return path
        return None

    def _lock(self, key: str, kind: str, *, shared: bool, where: str) -> FileLock | None:
        path = self.root / "locks" / f"{key}.{kind}"
        with on_disk(path, where=where):
            return try_lock(path, shared=shared)

    def _in_use(self, key: str) -> bool:
        path = self.root / "locks" / f"{key}.use"
        if not path.exists():
            return False
        lock = try_lock(path, shared=False)
        if lock is not None:
            lock.close()
        return lock is None

    def _entry(self, folder: Path) -> CacheEntry | None:
        try:
            return self._described(folder)
        except FileNotFoundError:
            return None  # published or pruned by another process while we looked

    def _described(self, folder: Path) -> CacheEntry:
        size, count = _usage([folder / "files"])
        begun = folder.parent.name == "partial"
        found = None if begun else manifest.read(folder / MANIFEST, Manifest)
        state = manifest.read(folder / STATE, State) if begun else None
        changed = folder.stat().st_mtime
        stamp = folder / (STATE if begun else "used")
        one = found.files[0].sha256 if found and len(found.files) == 1 else None
        return CacheEntry(
            key=folder.name,
            source=found.source if found else state.source if state else _UNKNOWN,
            path=folder,
            bytes=size,
            files=count,
            fetched_at=found.fetched_at if found else state.started_at if state else changed,
            last_used_at=stamp.stat().st_mtime if stamp.exists() else changed,
            sha256=one,
            complete=found is not None and _is_whole(folder, found),
            in_use=self._in_use(folder.name),
        )

    def _remove(self, key: str) -> bool:
        (self.root / "locks").mkdir(parents=True, exist_ok=True)
        lock = try_lock(self.root / "locks" / f"{key}.use", shared=False)
        if lock is None:
            return False
        with lock:
            for kind in ("entries", "partial"):
                if (self.root / kind / key).exists():
                    self._discard(self.root / kind / key)
        return True

    def _discard(self, folder: Path) -> None:
        trash = self.root / "trash"
        trash.mkdir(exist_ok=True)
        # Renamed first: nobody finds half of an entry while its files are being deleted.
        doomed = trash / secrets.token_hex(8)
        folder.rename(doomed)
        shutil.rmtree(doomed)


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _is_whole(folder: Path, found: Manifest) -> bool:
    return bool(found.files) and all(
        _size(folder / "files" / file.path) == file.bytes for file in found.files
    )


def _usage(folders: Collection[Path]) -> tuple[int, int]:
    """Bytes on the disk, each content once, and the number of files."""
    seen: dict[tuple[int, int], int] = {}
    count = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # it may be renamed meanwhile
                    found = (Path(parent) / name).lstat()
                    seen[found.st_dev, found.st_ino] = found.st_size
                    count += 1
    return sum(seen.values()), count


def _enough(
    entries: Collection[CacheEntry], chosen: Collection[CacheEntry], max_bytes: int
) -> list[CacheEntry]:
    kept = {entry.path for entry in entries}
    doomed = []
    for entry in chosen:
        if _usage([path / "files" for path in kept])[0] <= max_bytes:
            break
        kept.discard(entry.path)
        doomed.append(entry)
    return doomed
