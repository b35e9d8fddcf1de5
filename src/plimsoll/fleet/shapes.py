"""The shape of every record, read from its class: field names, kinds, defaults, descriptions."""

from __future__ import annotations

import inspect
import re
import types
import typing
from functools import cache
from typing import Any, Literal, get_args, get_origin

import msgspec

from plimsoll.fleet.fields import Derived, Items, Table
from plimsoll.fleet.kinds import Choice, Flag, Kind, Text

Record = type[msgspec.Struct]
_TABLE_VALUE = Text(longest=1024, shortest=0)
_TABLE_KEY = Text(
    what="a key",
    shape=r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
    hint="use letters, digits, `.`, `_` and `-`, such as `example.com/team`",
    longest=317,
)
_ENTRY = re.compile(r"([A-Za-z][A-Za-z0-9]*)  +(\S.*)")


class RecordShape(msgspec.Struct, frozen=True):
    """A nested record."""

    record: Record


class ListShape(msgspec.Struct, frozen=True):
    """A list of scalars or records, with its bounds."""

    item: Shape
    bounds: Items


class TableShape(msgspec.Struct, frozen=True):
    """A mapping of strings, with its bounds and the kinds of its keys and values."""

    bounds: Items
    key: Text = _TABLE_KEY
    value: Text = _TABLE_VALUE


Shape = Kind | RecordShape | ListShape | TableShape


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a record.

    attribute    its name in Python
    name         its name in the file
    shape        what it holds
    required     whether it must be written
    default      its value when it is not written; meaningless when required
    derived      how the default follows from other fields, or None
    description  from the record's docstring
    """

    attribute: str
    name: str
    shape: Shape
    required: bool
    default: Any
    derived: str | None
    description: str


@cache
def fields_of(record: Record) -> tuple[Field, ...]:
    """The fields of a record, in the order of its class."""
    hints = typing.get_type_hints(record, include_extras=True)
    described = _descriptions(record)
    found = []
    for info in msgspec.structs.fields(record):
        shape, derived = _shape(hints[info.name])
        name = file_name(info.name)
        found.append(
            Field(
                attribute=info.name,
                name=name,
                shape=shape,
                required=info.required,
                default=None if info.required else info.default,
                derived=derived.words if derived else None,
                description=described.get(name, ""),
            )
        )
    return tuple(found)


@cache
def field_named(record: Record, attribute: str) -> Field:
    """The field with that Python name. Raises KeyError."""
    for field in fields_of(record):
        if field.attribute == attribute:
            return field
    raise KeyError(attribute)


def summary(record: Record) -> str:
    """What a record is: the first paragraph of its docstring, on one line."""
    return " ".join(inspect.cleandoc(record.__doc__ or "").partition("\n\n")[0].split())


def file_name(attribute: str) -> str:
    """CamelCase as Kubernetes writes it: `base_url` is `baseURL`, `class_` is `class`."""
    first, *others = attribute.rstrip("_").split("_")
    return first + "".join("URL" if part == "url" else part.capitalize() for part in others)


def _descriptions(record: Record) -> dict[str, str]:
    """`name  what it is` lines of a docstring; a line that is indented goes on."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(record.__doc__ or "").partition("\n\n")[2].splitlines():
        entry = _ENTRY.fullmatch(line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name and line.startswith(" "):
            found[name] += " " + line.strip()
    return found


def _shape(hint: Any) -> tuple[Shape, Derived | None]:
    if get_origin(hint) is typing.Annotated:
        inner, *notes = get_args(hint)
        kind = next((note for note in notes if isinstance(note, Kind)), None)
        derived = next((note for note in notes if isinstance(note, Derived)), None)
        bounds = next((note for note in notes if isinstance(note, Items)), Items())
        return (kind if kind is not None else _collection(inner, bounds)), derived
    if get_origin(hint) in (typing.Union, types.UnionType):
        (inner,) = [part for part in get_args(hint) if part is not type(None)]
        return _shape(inner)
    if get_origin(hint) is Literal:
        return Choice(words=get_args(hint)), None
    if hint is bool:
        return Flag(), None
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return RecordShape(hint), None
    raise TypeError(f"no shape is known for {hint}")


def _collection(hint: Any, bounds: Items) -> Shape:
    if hint is Table:
        return TableShape(bounds)
    if get_origin(hint) is tuple:
        return ListShape(_shape(get_args(hint)[0])[0], bounds)
    raise TypeError(f"no shape is known for {hint}")
