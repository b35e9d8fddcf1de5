"""A fleet file half read: typed values, each with its place, and holes where something was wrong.

Rules and cross-references look at this rather than at finished records, so that one wrong field
hides no other problem.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.fleet.shapes import Field, Record, RecordShape, field_named
from plimsoll.fleet.syntax import Mark


class Place(msgspec.Struct, frozen=True):
    """Where something stands: file, line and column from 1, and its JSON path."""

    file: str
    mark: Mark
    path: str

    def __str__(self) -> str:
        return f"{self.file}:{self.mark.line}:{self.mark.column}"


class Leaf(msgspec.Struct, frozen=True):
    """A scalar or table that was read."""

    value: Any
    place: Place


class Group(msgspec.Struct, frozen=True):
    """A list that was read; entries that could not be are left out, and then broken is True."""

    items: tuple[Leaf | Branch, ...]
    place: Place
    broken: bool


class Branch(msgspec.Struct, frozen=True):
    """A record as far as it could be read.

    record  its class
    place   where it begins
    fields  what was read, by Python name
    broken  Python names of fields that are written but wrong, or required but missing
    """

    record: Record
    place: Place
    fields: dict[str, Leaf | Branch | Group]
    broken: frozenset[str] = frozenset()

    def at(self, *attributes: str) -> Place:
        """Where a field stands, or the nearest record around it that is written."""
        here: Leaf | Branch | Group = self
        for attribute in attributes:
            inner = here.fields.get(attribute) if isinstance(here, Branch) else None
            if inner is None:
                break
            here = inner
        return here.place

    def get(self, attribute: str) -> Any:
        """A scalar's value, written or default; None when it is broken or has no default."""
        leaf = self.fields.get(attribute)
        if isinstance(leaf, Leaf):
            return leaf.value
        return None if attribute in self.broken else field_named(self.record, attribute).default

    def inner(self, attribute: str) -> Branch:
        """A nested record; an empty one when it is not written."""
        found = self.fields.get(attribute)
        if isinstance(found, Branch):
            return found
        shape = field_named(self.record, attribute).shape
        assert isinstance(shape, RecordShape)
        return Branch(shape.record, self.place, {})

    def has(self, attribute: str) -> bool:
        """Whether a field is written and was read."""
        return attribute in self.fields

    def leaves(self, attribute: str) -> tuple[Leaf, ...]:
        """Entries of a list of scalars that is written."""
        group = self.fields.get(attribute)
        items = group.items if isinstance(group, Group) else ()
        return tuple(item for item in items if isinstance(item, Leaf))

    def branches(self, attribute: str) -> tuple[Branch, ...]:
        """Entries of a list of records that is written."""
        group = self.fields.get(attribute)
        items = group.items if isinstance(group, Group) else ()
        return tuple(item for item in items if isinstance(item, Branch))


class BrokenFieldError(Exception):
    """A rule looked at a field that could not be read; its problem is told already."""


class View:
    """A branch with the attributes of its record, defaults filled in, for rules to look at."""

    __slots__ = ("_branch",)

    def __init__(self, branch: Branch) -> None:
        self._branch = branch

    def __getattr__(self, attribute: str) -> Any:
        field = field_named(self._branch.record, attribute)
        found = self._branch.fields.get(attribute)
        if found is not None:
            return _seen(found)
        if attribute in self._branch.broken or field.required:
            raise BrokenFieldError(attribute)
        return _default(field)


def build(branch: Branch) -> Any:
    """The finished record of a branch without holes."""
    return branch.record(**{name: _built(value) for name, value in branch.fields.items()})


def _built(value: Leaf | Branch | Group) -> Any:
    if isinstance(value, Leaf):
        return value.value
    if isinstance(value, Branch):
        return build(value)
    return tuple(_built(item) for item in value.items)


def _seen(value: Leaf | Branch | Group) -> Any:
    if isinstance(value, Leaf):
        return value.value
    if isinstance(value, Branch):
        return View(value)
    if value.broken:
        raise BrokenFieldError
    return tuple(_seen(item) for item in value.items)


def _default(field: Field) -> Any:
    return field.default
