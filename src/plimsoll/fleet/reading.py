"""One section of a file: nodes in, typed values with places out, every problem noted."""

from __future__ import annotations

import re

from plimsoll.errors import InputError
from plimsoll.fleet.branches import Branch, BrokenFieldError, Group, Leaf, Place, View
from plimsoll.fleet.fields import Table
from plimsoll.fleet.kinds import Kind, describe
from plimsoll.fleet.nodes import ListNode, MapNode, Node, ScalarNode
from plimsoll.fleet.problems import Problems
from plimsoll.fleet.rules import rules_of
from plimsoll.fleet.shapes import (
    Field,
    ListShape,
    Record,
    RecordShape,
    Shape,
    TableShape,
    fields_of,
    summary,
)
from plimsoll.fleet.suggest import did_you_mean
from plimsoll.fleet.syntax import Mark

_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Reader:
    """Reads the nodes of one file and keeps every problem that it meets."""

    def __init__(self, file: str, problems: Problems) -> None:
        self.file = file
        self.problems = problems

    def note(
        self,
        mark: Mark,
        path: str,
        message: str,
        hint: str | None = None,
        code: str = "fleet.invalid",
    ) -> None:
        """Keep one problem of this file."""
        self.problems.add(Place(self.file, mark, path), message, hint, code)

    def entries(self, node: MapNode, path: str) -> list[tuple[str, Mark, Node]]:
        """Keys with their places; keys that are no text or come twice are noted and left out."""
        found: dict[str, tuple[str, Mark, Node]] = {}
        for key, value in node.entries:
            if not isinstance(key, ScalarNode):
                self.note(key.mark, path, "a key must be text", code="fleet.type")
            elif not isinstance(key.value, str):
                hint = f'write it in quotes: "{key.text[:40]}"'
                self.note(
                    key.mark, path, f"the key `{key.text[:40]}` is not text", hint, "fleet.type"
                )
            elif key.value in found:
                first = found[key.value][1]
                self.note(
                    key.mark,
                    join(path, key.value),
                    f"is written twice; first at {self.file}:{first.line}:{first.column}",
                    "keep one of the two",
                    "fleet.duplicate",
                )
            else:
                found[key.value] = (key.value, key.mark, value)
        return list(found.values())

    def record(self, record: Record, node: Node, path: str, mark: Mark) -> Branch | None:
        """A record; None when the node is no mapping. `mark` is where its key or entry stands."""
        if not isinstance(node, MapNode):
            self._not_a(node, "a mapping", path, _written_out(record))
            return None
        if node.problem:
            self.note(node.mark, path, node.problem, "remove the tag", "fleet.type")
        known = {field.name: field for field in fields_of(record)}
        values: dict[str, Leaf | Branch | Group] = {}
        written: set[str] = set()
        for name, key_mark, inner in self.entries(node, path):
            field = known.get(name)
            if field is None:
                self._unknown(record, name, key_mark, path)
                continue
            written.add(field.attribute)
            value = self._field(field, inner, join(path, name), key_mark)
            if value is not None:
                values[field.attribute] = value
        missing = [f for f in known.values() if f.required and f.attribute not in written]
        for field in missing:
            self.note(mark, path, f"`{field.name}` is missing", field.description, "fleet.missing")
        broken = (written - values.keys()) | {field.attribute for field in missing}
        branch = Branch(record, Place(self.file, mark, path), values, frozenset(broken))
        self._check(branch)
        return branch

    def _field(
        self, field: Field, node: Node, path: str, mark: Mark
    ) -> Leaf | Branch | Group | None:
        if isinstance(node, ScalarNode) and node.value is None and node.problem is None:
            self.note(mark, path, "has no value", "give it one, or remove the line", "fleet.type")
            return None
        return self._value(field.shape, node, path, mark)

    def _value(
        self, shape: Shape, node: Node, path: str, mark: Mark
    ) -> Leaf | Branch | Group | None:
        if isinstance(shape, RecordShape):
            return self.record(shape.record, node, path, mark)
        if isinstance(shape, ListShape):
            return self._list(shape, node, path, mark)
        if isinstance(shape, TableShape):
            return self._table(shape, node, path, mark)
        return self._scalar(shape, node, path)

    def _scalar(self, kind: Kind, node: Node, path: str) -> Leaf | None:
        if not isinstance(node, ScalarNode):
            what = "a list" if isinstance(node, ListNode) else "a mapping"
            hint = kind.label().replace("\\|", "or")
            self.note(node.mark, path, f"must be a single value, not {what}", hint, "fleet.type")
            return None
        if node.problem is not None:
            self.note(node.mark, path, node.problem, node.hint, "fleet.ambiguous")
            return None
        try:
            value = kind.read(node.value)
        except InputError as error:
            self.note(node.mark, path, error.message, error.hint, _code(error))
            return None
        return Leaf(value, Place(self.file, node.mark, path))

    def _list(self, shape: ListShape, node: Node, path: str, mark: Mark) -> Group | None:
        if not isinstance(node, ListNode):
            hint = "begin each entry with `- `" if isinstance(node, MapNode) else "write `[entry]`"
            self._not_a(node, "a list", path, hint)
            return None
        if node.problem:
            self.note(node.mark, path, node.problem, "remove the tag", "fleet.type")
        count, bounds = len(node.items), shape.bounds
        if not bounds.least <= count <= bounds.most:
            wanted = f"at most {bounds.most}" if count > bounds.most else f"at least {bounds.least}"
            noun = "entry" if wanted.endswith(" 1") else "entries"
            self.note(mark, path, f"must have {wanted} {noun}, not {count}", code="fleet.range")
        read = [
            self._value(shape.item, item, f"{path}[{index}]", item.mark)
            for index, item in enumerate(node.items[: bounds.most])
        ]
        group = Group(
            tuple(item for item in read if item is not None and not isinstance(item, Group)),
            Place(self.file, mark, path),
            any(item is None for item in read),
        )
        self._distinct(shape, group)
        return group

    def _distinct(self, shape: ListShape, group: Group) -> None:
        """Entries differ; those of the sections are compared over all files elsewhere."""
        if re.fullmatch(r"spec\.\w+", group.place.path) or not shape.bounds.distinct:
            return
        seen: dict[object, Place] = {}
        for item in group.items:
            leaf = item.fields.get(shape.bounds.key or "") if isinstance(item, Branch) else item
            if not isinstance(leaf, Leaf):
                continue
            first = seen.setdefault(leaf.value, leaf.place)
            if first is not leaf.place:
                message = f"`{leaf.value}` is written twice; first at {first}"
                self.note(leaf.place.mark, leaf.place.path, message, code="fleet.duplicate")

    def _table(self, shape: TableShape, node: Node, path: str, mark: Mark) -> Leaf | None:
        if not isinstance(node, MapNode):
            self._not_a(node, "a mapping", path, "write `key: value` lines")
            return None
        if len(node.entries) > shape.bounds.most:
            message = f"must have at most {shape.bounds.most} entries, not {len(node.entries)}"
            self.note(mark, path, message, code="fleet.range")
            return None
        before = len(self.problems.found)
        found: dict[str, str] = {}
        for name, key_mark, inner in self.entries(node, path):
            try:
                shape.key.read(name)
            except InputError as error:
                self.note(key_mark, join(path, name), error.message, error.hint, _code(error))
            leaf = self._scalar(shape.value, inner, join(path, name))
            if leaf is not None:
                found[name] = leaf.value
        if len(self.problems.found) > before:
            return None
        return Leaf(Table(found), Place(self.file, mark, path))

    def _not_a(self, node: Node, wanted: str, path: str, hint: str | None) -> None:
        if isinstance(node, ScalarNode):
            # the value is not repeated: where a Credential belongs it may be the secret itself
            what = "text" if node.problem else describe(node.value)
        else:
            what = "a list" if isinstance(node, ListNode) else "a mapping"
        self.note(node.mark, path, f"must be {wanted}, not {what}", hint, "fleet.type")

    def _unknown(self, record: Record, name: str, mark: Mark, path: str) -> None:
        names = [field.name for field in fields_of(record)]
        hint = did_you_mean(name, names) or _listed(names)
        shown = name if len(name) <= 40 else name[:37] + "..."
        where = path or "the document"
        self.note(mark, path, f"`{shown}` is not a field of {where}", hint, "fleet.unknown-field")

    def _check(self, branch: Branch) -> None:
        for rule in rules_of(branch.record):
            try:
                holds = rule.holds(View(branch))
            except BrokenFieldError:
                continue
            if not holds:
                place = branch.at(rule.at)
                self.note(place.mark, place.path, rule.message, rule.hint, "fleet.conflict")


def join(path: str, name: str) -> str:
    """A JSON path with one more step."""
    if not _SIMPLE.fullmatch(name):
        shown = name if len(name) <= 60 else name[:57] + "..."
        return f'{path}["{shown}"]'
    return f"{path}.{name}" if path else name


def _code(error: InputError) -> str:
    return error.code if error.code.startswith("fleet.") else f"fleet.{error.code}"


def _listed(names: list[str]) -> str:
    return "it has " + ", ".join(f"`{name}`" for name in names)


def _written_out(record: Record) -> str:
    required = [field.name for field in fields_of(record) if field.required]
    if not required:
        return summary(record).rstrip(".")
    return "write `{" + ", ".join(f"{name}: ..." for name in required) + "}`"
