"""Reads the shape of a model on this disk: opens the files, and lets facts/ read the headers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from plimsoll.errors import FormatError
from plimsoll.facts.gguf import read_gguf, split_part
from plimsoll.facts.readable import Readable
from plimsoll.facts.safetensors import read_safetensors
from plimsoll.facts.shape import ModelShape

LARGEST_CONFIG = 4 * 1024 * 1024  # bytes of a config.json; real ones have a few kilobytes


def read_shape(path: Path) -> ModelShape:
    """The shape of a GGUF file (all parts of a split one) or of a safetensors folder.

    Raises FormatError for what is broken, truncated or of a kind that is not known here.
    """
    try:
        return _folder_shape(path) if path.is_dir() else _gguf_shape(_parts(path))
    except OSError as error:
        raise FormatError(
            f"cannot be read: {error.strerror}", where=str(path), code="model.unreadable"
        ) from error


def _folder_shape(folder: Path) -> ModelShape:
    weights = sorted(folder.glob("*.safetensors"))
    if weights:
        config = folder / "config.json"
        if not config.is_file():
            raise FormatError(
                "the folder has safetensors and no config.json",
                where=str(folder),
                hint="fetch the whole repository",
                code="model.no-config",
            )
        with _opened(weights) as files:
            return read_safetensors(
                config.read_bytes()[:LARGEST_CONFIG],
                *files,
                tokenizer=any((folder / name).exists() for name in _TOKENIZERS),
                chat_template=_has_chat_template(folder),
            )
    models = sorted(folder.glob("*.gguf"))
    wholes = [m for m in models if (part := split_part(m.name)) is None or part.number == 1]
    if len(wholes) != 1:
        found = ", ".join(model.name for model in wholes) or "none"
        raise FormatError(
            f"the folder should hold one model; its GGUF files: {found}",
            where=str(folder),
            hint="name the file in `source`",
            code="model.which",
        )
    return _gguf_shape(_parts(wholes[0]))


_TOKENIZERS = ("tokenizer.json", "tokenizer.model")


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").exists():
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and b'"chat_template"' in config.read_bytes()


def _parts(path: Path) -> list[Path]:
    part = split_part(path.name)
    return [path] if part is None else [path.with_name(name) for name in part.names()]


def _gguf_shape(paths: list[Path]) -> ModelShape:
    with _opened(paths) as files:
        return read_gguf(*files)


@contextlib.contextmanager
def _opened(paths: list[Path]) -> Iterator[list[Readable]]:
    with contextlib.ExitStack() as stack:
        yield [
            Readable(
                name=path.name,
                size=path.stat().st_size,
                read=_reader(stack.enter_context(path.open("rb"))),
            )
            for path in paths
        ]


def _reader(file: BinaryIO) -> Callable[[int, int], bytes]:
    def read(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    return read
