"""A fetched model under a path of the caller's choosing: linked where it can be, else copied."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from plimsoll.errors import InputError
from plimsoll.worlds.local.sources.artifact import Artifact
from plimsoll.worlds.local.sources.selection import is_part
from plimsoll.worlds.local.sources.storage import on_disk, sync_folder


def place(artifact: Artifact, to: Path, *, copy: bool) -> None:
    """Let `to` be the file or folder that an engine opens; all at once, whoever looks.

    to    a file keeps its neighbours, such as the other parts of a GGUF file, where `to` has its
          name: then the folder of `to` becomes the file's folder
    copy  of what lies in the installation and is not there for others

    Several processes may do so at once. Raises InputError where something else lies at `to`,
    SourceError where the disk refuses.
    """
    target, link = artifact.path, to
    if target.is_file() and is_part(target.name) and to.name != target.name:
        raise InputError(
            f"the model has several parts, which find each other by name; `{to.name}` is another",
            where=artifact.source,
            hint=f"end `--to` with `/{target.name}`",
            code="fetch.parts",
        )
    if target.is_file() and to.name == target.name and not copy:
        target, link = target.parent, to.parent
    with on_disk(link, where=artifact.source):
        if link.is_dir() and not link.is_symlink():
            raise InputError(
                f"{link} holds something else",
                where=artifact.source,
                hint="name a path that is free",
                code="fetch.taken",
            )
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".{link.name}.{secrets.token_hex(6)}")
        try:
            _make(fresh, target, copy=copy)
            fresh.replace(link)
            sync_folder(link.parent)
        finally:
            _forget(fresh)


def _make(fresh: Path, target: Path, *, copy: bool) -> None:
    if copy:
        shutil.copyfile(target, fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.chmod(0o444)
    else:
        # Relative, so that it holds wherever the volume is mounted.
        fresh.symlink_to(os.path.relpath(target.resolve(), fresh.parent.resolve()))


def _forget(fresh: Path) -> None:
    fresh.unlink(missing_ok=True)
