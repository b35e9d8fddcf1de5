"""From a source in a fleet file to a whole, verified model on this disk."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from plimsoll.errors import InputError, SourceError
from plimsoll.fleet.source import Source, parse_source
from plimsoll.worlds.local.sources import gs, hub, s3, web
from plimsoll.worlds.local.sources.artifact import Artifact, Progress
from plimsoll.worlds.local.sources.cache import Cache, key_of
from plimsoll.worlds.local.sources.interrupt import Cancelled, pause, stop_if
from plimsoll.worlds.local.sources.local import on_this_disk, several
from plimsoll.worlds.local.sources.manifest import Manifest
from plimsoll.worlds.local.sources.partial import PartialFolder
from plimsoll.worlds.local.sources.patience import Caller, Patience
from plimsoll.worlds.local.sources.remote import Digest, Origin, RemoteFile
from plimsoll.worlds.local.sources.selection import (
    Choice,
    choose,
    everything,
    format_of,
    safe_path,
)
from plimsoll.worlds.local.sources.storage import on_disk
from plimsoll.worlds.local.sources.transfer import download

Connect = Callable[[Source, str], AbstractContextManager[Origin]]

IN_PLACE = frozenset({"builtin", "file"})
REMOTE: MappingProxyType[str, Connect] = MappingProxyType(
    {
        "hf": hub.connect,
        "https": web.connect,
        "http": web.connect,
        "s3": s3.connect,
        "gs": gs.connect,
    }
)
_CLUSTER_ONLY = frozenset({"pvc", "oci"})
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WAIT = 0.1  # seconds between two looks at another process's download


def fetch(
    source: str,
    *,
    cache: Cache,
    sha256: str | None = None,
    base: Path | None = None,
    progress: Progress,
    cancelled: Cancelled,
    patience: Patience | None = None,
    whole: bool = False,
) -> Artifact:
    """The model of a source, from the cache or the network; blocks until it is whole.

    sha256    what its one file must hash to, in hexadecimal; or `#sha256=` in the source
    base      folder that `file:` starts from; the current one if None
    progress  called with bytes, also while another process or thread fetches the same
    whole     every file of the source, whatever it is, not those of one known weight format
    Raises InputError for a source that makes no sense here, MissingExtra, and SourceError, with
    code `source.cancelled` within a second after `cancelled` says so.
    """
    parsed = parse_source(source)
    where = shown(parsed)
    wanted = _checksum(parsed, sha256, where)
    if parsed.scheme in IN_PLACE:
        return on_this_disk(parsed, base=base or Path.cwd(), sha256=wanted, cancelled=cancelled)
    if parsed.scheme in _CLUSTER_ONLY:
        raise InputError(
            f"a `{parsed.scheme}:` source is for the cluster world, and this is the local one",
            where=where,
            hint="use `hf://`, `s3://`, `https://` or `file:` here",
            code="source.world",
        )
    caller = Caller(where=where, cancelled=cancelled, patience=patience or Patience())
    fetching = _Fetching(parsed, wanted, cache, caller, progress, whole=whole)
    return fetching.run()


def locate(
    source: str, *, cache: Cache, sha256: str | None = None, base: Path | None = None
) -> Artifact:
    """The model of a source as it is on this disk already; asks no network.

    Raises SourceError, with code `source.not-here`, when it must be fetched first.
    """
    parsed = parse_source(source)
    where = shown(parsed)
    if parsed.scheme in REMOTE:
        wanted = _checksum(parsed, sha256, where)
        if cache.complete(key_of(parsed.text.partition("#")[0], wanted)) is None:
            raise SourceError(
                "the model is not on this machine",
                where=where,
                hint="fetch it with `plimsoll models pull FILE`",
                code="source.not-here",
            )
    return fetch(
        source, cache=cache, sha256=sha256, base=base, progress=_silent, cancelled=lambda: False
    )


def _silent(*, source: str, done: int, total: int | None) -> None:
    """Nothing is fetched, so there is nothing to tell."""


def shown(source: Source) -> str:
    """The source as it may be printed: the query of a URL can be a secret."""
    if source.scheme not in ("https", "http"):
        return source.text
    plain = source.text.partition("#")[0]
    head, mark, _ = plain.partition("?")
    return f"{head}?..." if mark else head


class _Fetching:
    """One source on its way into one cache."""

    def __init__(
        self,
        source: Source,
        sha256: str | None,
        cache: Cache,
        caller: Caller,
        progress: Progress,
        *,
        whole: bool,
    ) -> None:
        self._whole = whole
        self._source = source
        self._sha256 = sha256
        self._cache = cache
        self._caller = caller
        self._progress = progress
        self._where = caller.where
        text = source.text.partition("#")[0]
        # A line that no source has: every file of a source is another entry than a choice of them.
        self._key = key_of(f"{text}\nwhole" if whole else text, sha256)

    def run(self) -> Artifact:
        stop_if(self._caller.cancelled)
        self._cache.prepare(self._where)
        with self._cache.using(self._key, where=self._where, cancelled=self._caller.cancelled):
            return self._cached() or self._fetched()

    def _cached(self) -> Artifact | None:
        found = self._cache.complete(self._key)
        if found is None:
            return None
        self._cache.touch(self._key)
        total = sum(file.bytes for file in found.files)
        folder = self._cache.files(self._key)
        self._report(total, total)
        return Artifact(
            path=folder / found.main if found.main else folder,
            format=found.format,
            bytes=total,
            sha256=found.files[0].sha256 if len(found.files) == 1 else None,
            source=self._where,
        )

    def _fetched(self) -> Artifact:
        while (lock := self._cache.try_fetching(self._key, where=self._where)) is None:
            self._report(*self._cache.arrived(self._key))
            pause(_WAIT, self._caller.cancelled)
            if (artifact := self._cached()) is not None:
                return artifact
        with lock:
            if self._cached() is None:
                self._download()
        artifact = self._cached()
        if artifact is None:
            raise SourceError(
                "the model vanished from the cache",
                where=self._where,
                hint="something else deletes files there; run it again",
                code="source.storage",
            )
        return artifact

    def _download(self) -> None:
        connect = REMOTE[self._source.scheme]
        with connect(self._source, self._where) as origin:
            choice, files = self._select(origin)
            folder = PartialFolder(self._cache.partial(self._key), files=files, where=self._where)
            download(
                origin,
                files,
                folder,
                caller=self._caller,
                find_same=self._cache.find_same,
                report=self._report,
            )
        with on_disk(folder.root, where=self._where):
            main = folder.path(choice.main) if choice.main else folder.path("")
            entry = Manifest(
                source=self._where,
                format=format_of(main),
                main=choice.main,
                files=folder.stored(),
                fetched_at=time.time(),
            )
            self._cache.publish(self._key, entry)

    def _select(self, origin: Origin) -> tuple[Choice, tuple[RemoteFile, ...]]:
        listing = self._caller.ask(origin.listing)
        by_path = {safe_path(file.path, where=self._where): file for file in listing.files}
        sizes = {path: file.bytes for path, file in by_path.items()}
        select = everything if self._whole else choose
        choice = select(sizes, named=listing.named, where=self._where)
        if self._sha256 is not None and len(choice.files) != 1:
            raise several(len(choice.files), self._where)
        described = (
            self._caller.ask(partial(origin.describe, by_path[path])) for path in choice.files
        )
        return choice, tuple(self._pin(file) for file in described)

    def _pin(self, file: RemoteFile) -> RemoteFile:
        if self._sha256 is None:
            return file
        digest = Digest(algorithm="sha256", hex=self._sha256)
        listed = file.digest
        if listed and listed.algorithm == "sha256" and listed != digest:
            raise SourceError(
                f"`{file.path}` has the wrong checksum: expected sha256 {digest.hex}, "
                f"the server lists sha256 {listed.hex}",
                where=self._where,
                hint="nothing was fetched; check the checksum, or name the right revision",
                code="source.checksum",
            )
        return replace(file, digest=digest, pinned=True)

    def _report(self, done: int, total: int | None) -> None:
        self._progress(source=self._where, done=done, total=total)


def _checksum(source: Source, sha256: str | None, where: str) -> str | None:
    mark = "#sha256="
    inline = source.text.partition(mark)[2] if mark in source.text else None
    if source.scheme not in ("https", "http"):
        inline = None
    for given in (sha256, inline):
        if given is not None and not _SHA256.fullmatch(given.lower()):
            raise InputError(
                f"`{given[:80]}` is not a SHA-256",
                where=where,
                hint="give 64 hexadecimal digits, as `sha256sum` prints them",
                code="source.checksum",
            )
    if sha256 and inline and sha256.lower() != inline.lower():
        raise InputError(
            f"two checksums are given: {sha256.lower()} and {inline.lower()}",
            where=where,
            hint="keep one",
            code="source.checksum",
        )
    found = sha256 or inline
    return found.lower() if found else None
