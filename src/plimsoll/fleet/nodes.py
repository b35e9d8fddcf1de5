"""YAML text as a tree with positions: bounded in size, depth and aliases, never a traceback.

Built from PyYAML's events (libyaml where it is there) rather than from its own composer, which
recurses and follows aliases without bound.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import yaml
from yaml import events

from plimsoll.errors import Diagnostic
from plimsoll.fleet.kinds import Plain
from plimsoll.fleet.scalars import meaning
from plimsoll.fleet.syntax import Mark, UnreadableError, explain, readable
from plimsoll.fleet.types import Document

DEEPEST = 32  # levels of lists and mappings; a fleet needs 11
MOST_NODES = 400_000  # values in one file, aliases counted as often as they are used

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STRING_TAGS = ("!", "tag:yaml.org,2002:str")
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "!")


class ScalarNode(msgspec.Struct, frozen=True):
    """One scalar.

    value    what it means; None also when it is refused
    text     as written, quotes and escapes removed
    mark     where it begins
    problem  why it is refused, or None
    hint     what to write instead
    """

    value: Plain
    text: str
    mark: Mark
    problem: str | None = None
    hint: str | None = None
    size: int = 1
    height: int = 1


class ListNode(msgspec.Struct, frozen=True):
    """A list.

    size    nodes in it, itself included
    height  levels in it
    """

    items: tuple[Node, ...]
    mark: Mark
    problem: str | None = None
    size: int = 1
    height: int = 1


class MapNode(msgspec.Struct, frozen=True):
    """A mapping, in the order written; a key may come twice."""

    entries: tuple[tuple[Node, Node], ...]
    mark: Mark
    problem: str | None = None
    size: int = 1
    height: int = 1


Node = ScalarNode | ListNode | MapNode


def parse(document: Document) -> tuple[list[Node], list[Diagnostic]]:
    """The YAML documents of one file, empty ones left out, and what is wrong with its syntax.

    After a syntax error nothing more of the file is read; documents before it are returned.
    """
    found: list[Node] = []
    text = ""
    try:
        text = readable(document)
        composer = _Composer(found)
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except UnreadableError as stop:
        return found, [stop.diagnostic(document.file)]
    except yaml.YAMLError as error:
        return found, [explain(error, text).diagnostic(document.file)]
    if not found:
        empty = UnreadableError(
            "the file is empty", hint="begin with `apiVersion: plimsoll.dev/v1alpha1`"
        )
        return [], [empty.diagnostic(document.file)]
    return found, []


def plain(node: Node) -> Any:
    """The tree as Python dicts, lists and scalars, as a JSON reader would see it."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return {str(plain(key)): plain(value) for key, value in node.entries}


class _Open:
    """A list or mapping whose end has not been read yet."""

    def __init__(self, event: Any, mark: Mark) -> None:
        self.anchor: str | None = event.anchor
        self.is_map = isinstance(event, events.MappingStartEvent)
        self.mark = mark
        self.children: list[Node] = []
        self.problem = None if event.tag is None or event.tag in _PLAIN_TAGS else _tag(event.tag)

    def close(self) -> Node:
        size = 1 + sum(child.size for child in self.children)
        height = 1 + max((child.height for child in self.children), default=0)
        if not self.is_map:
            return ListNode(tuple(self.children), self.mark, self.problem, size, height)
        pairs = list(zip(self.children[::2], self.children[1::2], strict=True))
        return MapNode(tuple(_merged(pairs)), self.mark, self.problem, size, height)


class _Composer:
    """Builds the documents of one file from its events."""

    def __init__(self, found: list[Node]) -> None:
        self.found = found
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node | None] = {}
        self.total = 0

    def take(self, event: Any) -> None:
        """Go on by one event. Raises UnreadableError."""
        if isinstance(event, events.NodeEvent):
            self._begin(event)
        elif isinstance(event, (events.SequenceEndEvent, events.MappingEndEvent)):
            ended = self.stack.pop()
            self._place(ended.close(), ended.anchor)
        elif isinstance(event, events.DocumentStartEvent):
            self.anchors.clear()

    def _begin(self, event: Any) -> None:
        self.total += 1
        height = 1
        if isinstance(event, events.ScalarEvent):
            self._place(_scalar(event), event.anchor)
        elif isinstance(event, events.AliasEvent):
            node = _aliased(event, self.anchors)
            self.total += node.size
            height = node.height
            self._place(node, None)
        else:
            self.stack.append(_Open(event, _mark(event)))
            if event.anchor:
                self.anchors[event.anchor] = None
        if len(self.stack) + height > DEEPEST:
            raise UnreadableError(f"is nested more than {DEEPEST} levels deep", _mark(event))
        if self.total > MOST_NODES:
            raise UnreadableError(
                f"holds more than {MOST_NODES:,} values",
                _mark(event),
                "an alias counts as often as it is used",
            )

    def _place(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = node
        if self.stack:
            self.stack[-1].children.append(node)
        elif not (isinstance(node, ScalarNode) and node.text == ""):
            self.found.append(node)


def _scalar(event: Any) -> ScalarNode:
    mark = _mark(event)
    text: str = event.value
    if event.tag is not None:
        if event.tag in _STRING_TAGS:
            return ScalarNode(text, text, mark)
        return ScalarNode(None, text, mark, _tag(event.tag), "remove the tag")
    if not event.implicit[0]:
        return ScalarNode(text, text, mark)
    meant = meaning(text)
    return ScalarNode(meant.value, text, mark, meant.problem, meant.hint)


def _aliased(event: Any, anchors: dict[str, Node | None]) -> Node:
    if event.anchor not in anchors:
        raise UnreadableError(f"`*{event.anchor}` names no anchor before it", _mark(event))
    node = anchors[event.anchor]
    if node is None:
        raise UnreadableError(f"`*{event.anchor}` stands inside what it names", _mark(event))
    return node


def _merged(pairs: list[tuple[Node, Node]]) -> list[tuple[Node, Node]]:
    """Entries with those of `<<` added, as kubectl reads it; what is written out goes first."""
    merges = [value for key, value in pairs if _is_merge(key, value)]
    if not merges:
        return pairs
    own = [(key, value) for key, value in pairs if not _is_merge(key, value)]
    known = {key.text for key, _ in own if isinstance(key, ScalarNode)}
    for value in merges:
        for source in value.items if isinstance(value, ListNode) else (value,):
            for key, inner in source.entries if isinstance(source, MapNode) else ():
                if isinstance(key, ScalarNode) and key.text not in known:
                    known.add(key.text)
                    own.append((key, inner))
    return own


def _is_merge(key: Node, value: Node) -> bool:
    if not isinstance(key, ScalarNode) or key.text != "<<":
        return False
    if isinstance(value, ListNode):
        return all(isinstance(item, MapNode) for item in value.items)
    return isinstance(value, MapNode)


def _tag(tag: str) -> str:
    short = re.sub("^tag:yaml.org,2002:", "!!", tag)
    return f"has the tag `{short[:40]}`, which fleet files do not use"


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
