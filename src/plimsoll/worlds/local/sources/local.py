"""`builtin:` and `file:`: models that lie on this disk already, used in place."""

from __future__ import annotations

import difflib
import hashlib
from importlib import resources
from pathlib import Path

from plimsoll.errors import InputError, SourceError
from plimsoll.fleet.source import Source
from plimsoll.worlds.local.sources.artifact import Artifact
from plimsoll.worlds.local.sources.interrupt import Cancelled, stop_if
from plimsoll.worlds.local.sources.selection import choose, format_of, is_part

_READ = 1024 * 1024


def builtin(name: str) -> Path:
    """The file of a model in the package. Raises InputError, SourceError."""
    folder = Path(str(resources.files("plimsoll"))) / "worlds" / "local" / "builtin"
    path = folder / f"{name}.gguf"
    if path.is_file():
        return path
    known = sorted(found.stem for found in folder.glob("*.gguf"))
    where = f"builtin:{name}"
    if not known:
        raise SourceError(
            "this installation has no built-in models",
            where=where,
            hint="install plimsoll from a wheel, or train the model as the README says",
            code="source.not-found",
        )
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean `builtin:{near[0]}`?" if near else f"there is `builtin:{known[0]}`"
    raise InputError(f"no built-in model `{name}`", where=where, hint=hint, code="source.builtin")


def on_this_disk(
    source: Source, *, base: Path, sha256: str | None, cancelled: Cancelled
) -> Artifact:
    """The artifact of a `builtin:` or `file:` source.

    base    folder that a relative path starts from
    sha256  checked when given, by reading the whole file
    Raises InputError, SourceError.
    """
    path = builtin(source.path) if source.scheme == "builtin" else _path(source, base)
    try:
        return _artifact(path, source.text, sha256, cancelled)
    except OSError as error:
        raise SourceError(
            f"cannot read {error.filename or path}: {error.strerror}",
            where=source.text,
            hint="check the path and its permissions",
            code="source.storage",
        ) from error


def _path(source: Source, base: Path) -> Path:
    try:
        path = base / Path(source.path).expanduser()
        if path.exists():
            return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(
            "the path cannot be followed", where=source.text, hint=str(error), code="source.storage"
        ) from error
    siblings = [found.name for found in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "a relative path starts at the fleet file"
    raise SourceError(
        f"there is no file or folder {path}", where=source.text, hint=hint, code="source.not-found"
    )


def _artifact(path: Path, where: str, sha256: str | None, cancelled: Cancelled) -> Artifact:
    folder = path if path.is_dir() else path.parent
    named = "" if path.is_dir() else path.name
    lone = bool(named) and not is_part(named)
    names = [named] if lone else [found.name for found in folder.iterdir() if found.is_file()]
    listing: dict[str, int | None] = {name: (folder / name).stat().st_size for name in names}
    choice = choose(listing, named=named, where=where)
    if sha256 is not None:
        if len(choice.files) != 1:
            raise several(len(choice.files), where)
        _check(folder / choice.files[0], sha256, where, cancelled)
    main = folder / choice.main if choice.main else folder
    return Artifact(
        path=main,
        format=format_of(main),
        bytes=sum(listing[name] or 0 for name in choice.files),
        sha256=sha256,
        source=where,
    )


def several(count: int, where: str) -> InputError:
    """The error for one checksum and several files."""
    return InputError(
        f"the checksum is for one file, and the source has {count}",
        where=where,
        hint="leave it out, or name one file",
        code="source.checksum",
    )


def _check(path: Path, sha256: str, where: str, cancelled: Cancelled) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ):
            stop_if(cancelled)
            digest.update(piece)
    if digest.hexdigest() != sha256:
        raise SourceError(
            f"{path} has the wrong checksum: expected sha256 {sha256}, "
            f"got sha256 {digest.hexdigest()}",
            where=where,
            hint="the file was left as it is, and is not used",
            code="source.checksum",
        )
