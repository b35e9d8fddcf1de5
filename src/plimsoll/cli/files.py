"""Fleet files from disk or standard input; none means the demo fleet."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from plimsoll.errors import InputError
from plimsoll.fleet import Document, Fleet, load_fleet

LARGEST_FILE = 16 * 1024 * 1024  # bytes; a fleet of 1,000 models is about 1 MiB
SUFFIXES = (".yaml", ".yml", ".json")

DEMO = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata:
  name: demo
spec:
  models:
    - name: demo
      source: builtin:demo
      engine: llamacpp
      task: chat
    - name: demo-embedding
      source: builtin:demo
      engine: llamacpp
      task: embedding
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFleet:
    """A fleet with where it came from.

    base   folder that relative `file:` sources are relative to
    title  the files, for a reader
    """

    fleet: Fleet
    base: Path
    title: str


def read_fleet(paths: tuple[str, ...]) -> LoadedFleet:
    """Read, decode and add up fleet files; `-` is standard input, no path the demo fleet.

    Raises InputError when a file cannot be read, FleetError with every problem in them.
    """
    if not paths:
        fleet = load_fleet([Document(file="demo", text=DEMO)])
        return LoadedFleet(fleet=fleet, base=Path.cwd(), title="the demo fleet")
    names = [name for path in paths for name in _expand(path)]
    fleet = load_fleet([Document(file=name, text=_read(name)) for name in names])
    first = Path(names[0])
    base = Path.cwd() if names[0] == "-" else first.resolve().parent
    return LoadedFleet(fleet=fleet, base=base, title=", ".join(names))


def _expand(path: str) -> list[str]:
    """A folder stands for the fleet files in it, by name."""
    if path == "-" or not Path(path).is_dir():
        return [path]
    found = sorted(str(file) for file in Path(path).iterdir() if file.suffix in SUFFIXES)
    if not found:
        raise InputError(
            "no fleet file in this folder",
            where=path,
            hint="fleet files end in .yaml, .yml or .json",
        )
    return found


def _read(name: str) -> bytes:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot be read: {reason}", where=name, hint="check the path", code="input.file"
        ) from error
    if len(data) > LARGEST_FILE:
        raise InputError(
            "is larger than 16 MiB, which no fleet file is", where=name, code="input.file"
        )
    return data
