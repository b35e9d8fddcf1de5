"""What a fetched source is to those who start engines, and how its progress is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A model on this disk, whole and verified.

    path    the file or folder that an engine opens; of a GGUF in parts, the first
    format  `gguf`, `safetensors` or `unknown`
    bytes   of all its files
    sha256  of a model in one file that was fetched or checked, else None
    source  as it may be printed: without the query of a URL
    """

    path: Path
    format: str
    bytes: int
    sha256: str | None
    source: str


class Progress(Protocol):
    """Told now and then how far a source is, also while another process fetches it."""

    def __call__(self, *, source: str, done: int, total: int | None) -> None:
        """`done` bytes are here, of `total`, or None while nobody knows."""
        ...
