"""What can go wrong on the disk, said clearly: full, read-only, not allowed, too large."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plimsoll.errors import SourceError
from plimsoll.units import size

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PRUNE = "free some space, for example with `plimsoll models prune`, and run it again"


def require_room(folder: Path, needed: int, *, where: str) -> None:
    """Raises SourceError when `needed` bytes do not fit into the disk that holds `folder`."""
    with on_disk(folder, where=where):
        free = shutil.disk_usage(folder).free
    if needed > free:
        raise _full(folder, needed, free, where)


@contextmanager
def on_disk(path: Path, *, where: str, needed: int | None = None) -> Iterator[None]:
    """Turns an OSError of the body into a SourceError.

    needed  bytes that are still to be written, for the message
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise _full(path, needed, _free(path), where) from error
        raise _failed(error, path, where) from error


def is_full(error: OSError) -> bool:
    """Whether a disk or a quota has no room left."""
    return error.errno in _FULL


def write_all(descriptor: int, data: bytes) -> int:
    """Bytes written: all of them, or OSError. The kernel may take several helpings."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


def replace_file(path: Path, data: bytes) -> None:
    """Write `path` so that a reader sees the old content or the new, never a part. OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free(path: Path) -> int:
    try:
        return shutil.disk_usage(path if path.is_dir() else path.parent).free
    except OSError:
        return 0


def _full(path: Path, needed: int | None, free: int, where: str) -> SourceError:
    wanted = f"{size(needed)} ({needed:,} bytes) more needed" if needed is not None else "full"
    return SourceError(
        f"not enough disk space at {path}: {wanted}, {size(free)} ({free:,} bytes) free",
        where=where,
        hint=_PRUNE,
        code="source.disk-full",
    )


def _failed(error: OSError, path: Path, where: str) -> SourceError:
    reason = error.strerror or type(error).__name__
    if error.errno == errno.EFBIG:
        hint = "the file system or a limit (`ulimit -f`) allows no file of this size"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "choose a folder that can be written with PLIMSOLL_CACHE"
    else:
        hint = "check the disk, or choose another folder with PLIMSOLL_CACHE"
    return SourceError(
        f"cannot write the model cache at {path}: {reason}",
        where=where,
        hint=hint,
        code="source.storage",
    )
