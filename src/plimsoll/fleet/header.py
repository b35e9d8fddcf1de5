"""The header that makes a document a Fleet, and clear words for documents that are none."""

from __future__ import annotations

from typing import Annotated

import msgspec

from plimsoll.fleet.branches import Branch, Leaf
from plimsoll.fleet.fields import Items, Name, Namespace, Table
from plimsoll.fleet.nodes import ListNode, MapNode, Node, ScalarNode
from plimsoll.fleet.reading import Reader, join
from plimsoll.fleet.shapes import fields_of
from plimsoll.fleet.suggest import did_you_mean
from plimsoll.fleet.syntax import Mark
from plimsoll.fleet.types import API_VERSION, GROUP, KIND, Spec

FOUR_LINES = f"""\
    apiVersion: {API_VERSION}
    kind: {KIND}
    metadata: {{name: my-fleet}}
    spec:"""

# written by the API server or kubectl; read nowhere
SERVER_FIELDS = (
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)

_SECTIONS = tuple(field.attribute for field in fields_of(Spec))
_TOP = ("apiVersion", "kind", "metadata", "spec", "status")


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet is called.

    name       name of the fleet
    namespace  namespace of the Fleet object, and of everything that does not say another
    labels     labels of the Fleet object
    """

    name: Name
    namespace: Namespace | None = None
    labels: Annotated[Table, Items(most=64)] = Table()


class Part(msgspec.Struct, frozen=True):
    """One Fleet document as far as it could be read."""

    metadata: Branch | None
    spec: Branch | None


def read_part(reader: Reader, node: Node) -> Part:
    """One YAML document; notes what is wrong with it."""
    if not isinstance(node, MapNode):
        what = "a list" if isinstance(node, ListNode) else "text"
        reader.note(
            node.mark, "", f"a fleet file is a mapping, not {what}\n{_add()}", None, _HEADER
        )
        return Part(None, None)
    entries = {name: (mark, inner) for name, mark, inner in reader.entries(node, "")}
    if "apiVersion" not in entries and "kind" not in entries:
        return _without_header(reader, node, entries)
    if not _is_fleet(reader, node, entries):
        return Part(None, None)
    for name, (mark, _) in entries.items():
        if name not in _TOP:
            _unknown_top(reader, name, mark)
    return Part(_metadata(reader, node, entries), _spec(reader, node, entries))


_HEADER = "fleet.header"
_Entries = dict[str, tuple[Mark, Node]]


def _add() -> str:
    return f"put these four lines first, and indent the sections below them:\n{FOUR_LINES}"


def _without_header(reader: Reader, node: MapNode, entries: _Entries) -> Part:
    message = f"this is not a Fleet yet: the header is missing\n{_add()}"
    reader.note(node.mark, "", message, None, _HEADER)
    if any(name in _SECTIONS for name in entries):
        bare = tuple(
            (key, value)
            for key, value in node.entries
            if isinstance(key, ScalarNode) and key.text not in _TOP
        )
        spec = MapNode(bare, node.mark)
        return Part(None, reader.record(Spec, spec, "spec", node.mark))
    if "spec" in entries:
        return Part(_metadata(reader, node, entries), _spec(reader, node, entries))
    return Part(None, None)


def _is_fleet(reader: Reader, node: MapNode, entries: _Entries) -> bool:
    """Check apiVersion and kind. False when the document is something else altogether."""
    version, kind = (_text(entries, name) for name in ("apiVersion", "kind"))
    ours = version is not None and version.partition("/")[0] == GROUP
    if "kind" in entries and kind != KIND and not ours and did_you_mean(kind or "", [KIND]) is None:
        mark = entries["kind"][1].mark
        what = f"a Kubernetes {kind}" if kind else "something else"
        hint = "keep it in another file; only Fleet documents are read here"
        reader.note(mark, "kind", f"this document is {what}, not a Fleet", hint, _HEADER)
        return False
    for name, found, wanted in (("apiVersion", version, API_VERSION), ("kind", kind, KIND)):
        if name not in entries:
            reader.note(node.mark, "", f"`{name}` is missing", f"write `{name}: {wanted}`", _HEADER)
        elif found != wanted:
            shown = f"`{found[:60]}`" if found is not None else "another value"
            mark = entries[name][1].mark
            reader.note(mark, name, f"must be `{wanted}`, not {shown}", None, _HEADER)
    return True


def _text(entries: _Entries, name: str) -> str | None:
    node = entries[name][1] if name in entries else None
    return node.value if isinstance(node, ScalarNode) and isinstance(node.value, str) else None


def _unknown_top(reader: Reader, name: str, mark: Mark) -> None:
    known = [*_TOP[:-1], *_SECTIONS]
    if name in _SECTIONS:
        message, hint = f"`{name}` stands outside `spec`", "indent it below `spec:`"
    else:
        message = f"`{name[:40]}` is not a field of a Fleet"
        hint = did_you_mean(name, known) or "it has `metadata` and `spec`"
    reader.note(mark, join("", name), message, hint, "fleet.unknown-field")


def _metadata(reader: Reader, node: MapNode, entries: _Entries) -> Branch | None:
    if "metadata" not in entries:
        hint = "write `metadata: {name: my-fleet}`"
        reader.note(node.mark, "", "`metadata` is missing", hint, "fleet.missing")
        return None
    mark, inner = entries["metadata"]
    if isinstance(inner, MapNode):
        kept = tuple(
            (key, value)
            for key, value in inner.entries
            if not isinstance(key, ScalarNode) or key.text not in SERVER_FIELDS
        )
        inner = MapNode(kept, inner.mark, inner.problem)
    return reader.record(Metadata, inner, "metadata", mark)


def _spec(reader: Reader, node: MapNode, entries: _Entries) -> Branch | None:
    if "spec" not in entries:
        reader.note(node.mark, "", "`spec` is missing", "write `spec: {}`", "fleet.missing")
        return None
    mark, inner = entries["spec"]
    if isinstance(inner, ScalarNode) and inner.value is None and not inner.problem:
        hint = "write `spec: {}`, or put sections below it"
        reader.note(mark, "spec", "has no value", hint, "fleet.type")
        return None
    return reader.record(Spec, inner, "spec", mark)


def name_of(part: Part) -> Leaf | None:
    """The fleet's name, where it could be read."""
    leaf = part.metadata.fields.get("name") if part.metadata is not None else None
    return leaf if isinstance(leaf, Leaf) else None
