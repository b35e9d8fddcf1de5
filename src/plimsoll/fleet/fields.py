"""Types of field that several sections use, and what is said of lists, tables and defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from plimsoll.fleet.kinds import Kind, Plain, Schema, Text, wrong_type
from plimsoll.fleet.quantities import Duration, Size
from plimsoll.fleet.source import SCHEMES, Source, parse_source


class SourceText(Kind, frozen=True, kw_only=True):
    """A source of weights; see source.py."""

    def read(self, value: Plain) -> Source:
        """The parsed source."""
        if not isinstance(value, str):
            raise wrong_type("a source such as `hf://owner/name`", value)
        return parse_source(Text(longest=1024).read(value))

    def write(self, value: Source) -> Plain:
        """As it was written."""
        return value.text

    def schema(self) -> Schema:
        """A string that begins with a known scheme."""
        return {"type": "string", "maxLength": 1024, "pattern": f"^({'|'.join(SCHEMES)}):.+$"}

    def label(self) -> str:
        """For the reference page."""
        return "source, such as `hf://owner/name`"


class Items(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a list or a table.

    most      largest number of entries
    least     smallest number of entries
    key       for a list of records: the field that must differ between entries
    distinct  for a list of scalars: whether entries must differ
    """

    most: int = 64
    least: int = 0
    key: str | None = None
    distinct: bool = True


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """Marks a field whose default follows from others; `words` says how."""

    words: str


class Table(Mapping[str, str]):
    """An immutable mapping of strings that can be hashed, compared and pickled."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[str, str] | None = None) -> None:
        self._entries = dict(entries or {})

    def __getitem__(self, key: str) -> str:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        return hash(frozenset(self._entries.items()))

    def __repr__(self) -> str:
        return f"Table({self._entries!r})"


NAME_SHAPE = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"


MODEL_SHAPE = r"[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?"


REFERENCE_SHAPE = r"[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9])?"


_NAME = Text(
    what="a name",
    shape=NAME_SHAPE,
    hint="use small letters, digits and `-`, with a letter or digit at both ends",
    longest=50,
)


Name = Annotated[str, _NAME]


Namespace = Annotated[str, Text(what="a namespace", shape=NAME_SHAPE, hint=_NAME.hint, longest=63)]


Called = Annotated[
    str,
    Text(
        what="a model name",
        shape=MODEL_SHAPE,
        hint="use letters, digits, `.`, `_`, `:` and `-`, with a letter or digit at both ends",
        longest=128,
    ),
]


Reference = Annotated[
    str,
    Text(
        what="a model or `provider/model`",
        shape=REFERENCE_SHAPE,
        hint="name a model of the fleet, or write `provider/model`",
        longest=256,
    ),
]


Seconds = Annotated[float, Duration()]


Bytes = Annotated[int, Size()]


SourceField = Annotated[Source, SourceText()]


Sha256 = Annotated[
    str,
    Text(
        what="a SHA-256 sum",
        shape=r"[0-9a-f]{64}",
        hint="64 hexadecimal digits in small letters, as `sha256sum` prints them",
        longest=64,
    ),
]
