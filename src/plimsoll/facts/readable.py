"""A file that somebody else reads for us, by ranges: facts/ itself does no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """A file by ranges, wherever it is: on disk, or behind HTTP.

    name  as messages call it
    size  bytes of the whole file
    read  (offset, size) -> bytes; fewer than `size` only where the file ends
    """

    name: str
    size: int
    read: Callable[[int, int], bytes]


def in_memory(name: str, content: bytes) -> Readable:
    """A file whose whole content is at hand."""
    return Readable(
        name=name,
        size=len(content),
        read=lambda offset, size: content[offset : offset + size],
    )
