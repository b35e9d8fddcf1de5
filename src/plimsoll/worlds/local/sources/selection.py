"""Which files of a folder, repository or prefix make the model, and what format it has.

File names come from strangers: `safe_path` lets none of them leave the entry's folder.
"""

from __future__ import annotations

import difflib
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plimsoll.errors import SourceError
from plimsoll.units import size

GGUF = "gguf"
SAFETENSORS = "safetensors"
UNKNOWN = "unknown"

_PART = re.compile(r"(?P<stem>.+)-(?P<index>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.IGNORECASE)
# Files that lie beside a model in GGUF and are none: vision projectors, calibration matrices.
_BESIDE = re.compile(r"mmproj|imatrix", re.IGNORECASE)
_TOKENIZER = frozenset({"tokenizer.model", "vocab.txt", "merges.txt", "spiece.model"})
_CONFIGURATION = (".json", ".jinja", ".tiktoken")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_LISTED = 20  # names in an error message


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The files to take.

    format  `gguf` or `safetensors` or `unknown`
    files   paths as listed, in order
    main    what an engine opens, relative like `files`; empty for the folder itself
    """

    format: str
    files: tuple[str, ...]
    main: str


def safe_path(name: str, *, where: str) -> str:
    """`name` when it stays inside the folder it is put into. Raises SourceError."""
    parts = name.split("/")
    bad = (
        not name
        or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts)
        or any(ord(letter) < 32 or ord(letter) == 127 for letter in name)
        or "\\" in name
        or re.match(r"[A-Za-z]:", name) is not None
    )
    if bad:
        raise SourceError(
            f"the source lists a file with the unsafe name {name[:80]!r}",
            where=where,
            hint="nothing was fetched; whoever published this may mean harm",
            code="source.unsafe-name",
        )
    return name


def choose(listing: Mapping[str, int | None], *, named: str, where: str) -> Choice:
    """The model among the listed files.

    listing  bytes (or None) by path
    named    a file or a folder of the listing, or empty for all of it
    Raises SourceError when there is none, or several and none is named.
    """
    if named in listing:
        return _one_file(named, listing, where)
    folder = f"{named.rstrip('/')}/" if named else ""
    inside = {path: listing[path] for path in listing if path.startswith(folder)}
    if named and not inside:
        raise _absent(named, listing, where)
    models = _gguf_models(inside)
    if len(models) == 1:
        return _one_file(models[0], listing, where)
    if models:
        raise _ambiguous(models, inside, where)
    return _safetensors(inside, folder, where)


def everything(listing: Mapping[str, int | None], *, named: str, where: str) -> Choice:
    """Every file that the source names, whatever it is; arguments and errors as of `choose`."""
    if named in listing:
        return Choice(format=UNKNOWN, files=(named,), main=named)
    folder = f"{named.rstrip('/')}/" if named else ""
    inside = tuple(sorted(path for path in listing if path.startswith(folder)))
    if not inside:
        raise _absent(named, listing, where) if named else _no_model({}, where)
    return Choice(format=UNKNOWN, files=inside, main=named.rstrip("/"))


def format_of(path: Path) -> str:
    """`gguf`, `safetensors` or `unknown`, from the first bytes of a file or a folder's names.

    Raises OSError.
    """
    if path.is_dir():
        return SAFETENSORS if any(path.glob("*.safetensors")) else UNKNOWN
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(b"GGUF"):
        return GGUF
    if len(head) == 9 and head[8:] == b"{" and path.suffix == ".safetensors":
        (header,) = struct.unpack("<Q", head[:8])
        return SAFETENSORS if header <= path.stat().st_size else UNKNOWN
    return UNKNOWN


def is_part(name: str) -> bool:
    """Whether a name is that of one part of a GGUF in several files."""
    return _PART.fullmatch(name) is not None


def _one_file(name: str, listing: Mapping[str, int | None], where: str) -> Choice:
    part = _PART.fullmatch(name)
    if part is None:
        suffix = PurePosixPath(name).suffix.lower()
        known = {".gguf": GGUF, ".safetensors": SAFETENSORS}
        return Choice(format=known.get(suffix, UNKNOWN), files=(name,), main=name)
    files = [
        f"{part['stem']}-{index:05d}-of-{part['count']}{name[-5:]}"
        for index in range(1, int(part["count"]) + 1)
    ]
    missing = [file for file in files if file not in listing]
    if missing or not files:
        raise SourceError(
            f"the model has {len(files)} parts, of which {_names(missing)} cannot be found",
            where=where,
            hint="all parts must lie beside each other",
            code="source.incomplete",
        )
    return Choice(format=GGUF, files=tuple(files), main=files[0])


def _gguf_models(inside: Collection[str]) -> list[str]:
    names = sorted(
        name
        for name in inside
        if name.lower().endswith(".gguf") and not _BESIDE.search(PurePosixPath(name).name)
    )
    found: dict[str, str] = {}
    for name in names:
        part = _PART.fullmatch(name)
        found.setdefault(f"{part['stem']}/{part['count']}" if part else name, name)
    return sorted(found.values())


def _safetensors(inside: Mapping[str, int | None], folder: str, where: str) -> Choice:
    here = sorted(name for name in inside if "/" not in name[len(folder) :])
    weights = [name for name in here if name.endswith(".safetensors")]
    # Some publishers add the same weights a second time in their own layout.
    without_copies = [name for name in weights if "consolidated" not in name]
    weights = without_copies or weights
    if not weights:
        raise _no_model(inside, where)
    beside = [
        name
        for name in here
        if name.endswith(_CONFIGURATION) or PurePosixPath(name).name in _TOKENIZER
    ]
    return Choice(format=SAFETENSORS, files=(*beside, *weights), main=folder.rstrip("/"))


def _names(names: Collection[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in list(names)[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown


def _absent(named: str, listing: Collection[str], where: str) -> SourceError:
    near = difflib.get_close_matches(named, listing, n=3, cutoff=0.5)
    models = [name for name in listing if name.endswith((".gguf", ".safetensors"))]
    hint = (
        f"did you mean {_names(near)}?" if near else f"it has {_names(models) or 'no model file'}"
    )
    return SourceError(
        f"there is no file or folder `{named}`", where=where, hint=hint, code="source.not-found"
    )


def _ambiguous(
    models: Collection[str], listing: Mapping[str, int | None], where: str
) -> SourceError:
    shown = ", ".join(
        f"`{name}`"
        if (length := listing[name]) is None or is_part(name)
        else f"`{name}` ({size(length)})"
        for name in list(models)[:_LISTED]
    )
    more = f" and {len(models) - _LISTED} more" if len(models) > _LISTED else ""
    return SourceError(
        f"there are {len(models)} models in GGUF: {shown}{more}",
        where=where,
        hint="add the name of one of them to the source",
        code="source.ambiguous",
    )


def _no_model(inside: Collection[str], where: str) -> SourceError:
    if any(name.endswith(_PICKLED) for name in inside):
        return SourceError(
            "there are only PyTorch pickle files, which can run code when they are loaded",
            where=where,
            hint="use a source with safetensors or GGUF files, or convert this one",
            code="source.format",
        )
    return SourceError(
        "there is no GGUF and no safetensors file",
        where=where,
        hint=f"it has {_names(sorted(inside))}" if inside else "it is empty",
        code="source.not-found" if not inside else "source.format",
    )
