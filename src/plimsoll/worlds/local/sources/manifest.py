"""The JSON beside cached files: what is there, and what is still on its way. No secrets in it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from plimsoll.worlds.local.sources.remote import Digest, RemoteFile
from plimsoll.worlds.local.sources.storage import replace_file

MANIFEST = "entry.json"
STATE = "state.json"
_LARGEST = 16 * 1024 * 1024  # bytes; a larger file is not one of ours


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One whole, verified file: relative path, bytes, SHA-256 in hexadecimal."""

    path: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A complete entry.

    source      as it may be printed
    format      `gguf`, `safetensors` or `unknown`
    main        what an engine opens, relative to `files/`; empty for the folder
    fetched_at  seconds since the epoch
    """

    version: int = 1
    source: str
    format: str
    main: str
    files: tuple[StoredFile, ...]
    fetched_at: float


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """One file on its way.

    bytes      the whole, or None while nobody has said
    synced     bytes that are surely on the disk, also after a power cut
    sha256     set when the file is whole and verified
    """

    path: str
    bytes: int | None = None
    digest: Digest | None = None
    validator: str | None = None
    synced: int = 0
    sha256: str | None = None

    def continues(self, file: RemoteFile) -> bool:
        """Whether what is on the disk is a beginning of that remote file."""
        if None not in (file.bytes, self.bytes) and file.bytes != self.bytes:
            return False
        if file.digest or self.digest:
            return file.digest == self.digest
        if file.validator:
            return file.validator == self.validator
        return self.validator is not None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A download on its way: the source as it may be printed, start in seconds, files."""

    version: int = 1
    source: str
    started_at: float
    files: tuple[FileState, ...]


S = TypeVar("S", Manifest, State)


def read(path: Path, kind: type[S]) -> S | None:
    """The struct in a JSON file; None when it is absent or damaged. Never raises."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        found = msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.version == 1 else None


def write(path: Path, struct: Manifest | State) -> None:
    """Replace the JSON file whole. Raises OSError."""
    replace_file(path, msgspec.json.format(msgspec.json.encode(struct), indent=1) + b"\n")
