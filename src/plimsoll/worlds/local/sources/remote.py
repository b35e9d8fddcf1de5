"""What an adapter offers to the transfer: a listing, and the bytes of a file from an offset on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What the content must hash to.

    algorithm  `sha256`, `md5`, or `git-sha1` (SHA-1 over git's blob header and the content)
    hex        lower-case hexadecimal
    """

    algorithm: str
    hex: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file of a source.

    path       where it goes, relative to the entry's folder, with `/`
    address    what the adapter needs to get it: a URL or a key; never printed
    bytes      its size, or None where only the answer will tell
    digest     what it must hash to, or None where nobody says
    pinned     whether the digest is the user's, and so stays when the content changes
    validator  an identity that changes with the content (a strong ETag), or None
    """

    path: str
    address: str
    bytes: int | None = None
    digest: Digest | None = None
    pinned: bool = False
    validator: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An answer that is being read.

    offset     position in the file of its first byte; 0 when the server starts over
    total      size of the whole file in bytes, or None where the server does not say
    validator  identity of the content, to be sent when the rest is asked for
    delimited  whether a cut in the middle can be told from the end
    chunks     the bytes; iterating raises Transient when the connection breaks
    """

    offset: int
    total: int | None
    validator: str | None
    delimited: bool
    chunks: Iterator[bytes]


class Transient(Exception):
    """This try failed, another may not.

    reason       a phrase for the reader, free of secrets
    retry_after  seconds that the server asked for, or None
    code         of the SourceError when no try is left
    """

    def __init__(
        self,
        reason: str,
        *,
        retry_after: float | None = None,
        code: str = "source.unreachable",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.code = code


class Changed(Transient):
    """The remote content is not what the partial file was begun with: start over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a source has.

    files  everything; the caller selects
    named  the file or folder of it that the source names, or empty for all
    """

    files: tuple[RemoteFile, ...]
    named: str


class Origin(Protocol):
    """An opened source. Every method blocks, raises Transient or SourceError."""

    def listing(self) -> Listing:
        """The files, with what is known of them without asking for each."""
        ...

    def describe(self, file: RemoteFile) -> RemoteFile:
        """The same file with its size, digest and validator filled in, as far as known."""
        ...

    def open(
        self, file: RemoteFile, *, offset: int, validator: str | None
    ) -> AbstractContextManager[Stream]:
        """The bytes from `offset` on, if the content is still what `validator` names."""
        ...
