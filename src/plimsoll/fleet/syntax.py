"""Text that is not YAML at all: found early, explained with a line and a column."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from plimsoll.errors import Diagnostic
from plimsoll.fleet.types import Document

LARGEST = 16 * 2**20  # characters of one file

_BREAK = "\r\n|[\n\r\x85\u2028\u2029]"
_REFUSED = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_PAIR = r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_HINTS = (
    (
        "mapping values are not allowed",
        "text that holds `: ` needs quotes; else check the indentation",
    ),
    ("could not find expected ':'", "a key is followed by `: `; else check the indentation"),
    ("did not find expected key", "check the indentation, and that every key is followed by `: `"),
    ("did not find expected '-'", "entries of one list begin in the same column"),
    ("did not find expected ',' or", "a list in `[ ]` or mapping in `{ }` is not closed"),
    ("expected ',' or", "a list in `[ ]` or mapping in `{ }` is not closed"),
    ("end of stream", "a quote or bracket is not closed"),
    ("document start", "check the indentation; documents are separated by a line `---`"),
    ("unknown escape", "in double quotes write `\\\\` for a backslash, or use single quotes"),
    ("cannot start any token", "text that begins with this character needs quotes"),
)


_UNCLOSED = ("end of stream", "',' or")  # better shown where the bracket or quote opens


class Mark(msgspec.Struct, frozen=True, order=True):
    """A place in a file; both count from 1."""

    line: int
    column: int


class UnreadableError(Exception):
    """The rest of a file cannot be read."""

    def __init__(self, problem: str, mark: Mark | None = None, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mark = mark or Mark(1, 1)
        self.hint = hint

    def diagnostic(self, file: str) -> Diagnostic:
        """The problem as one of a file."""
        return Diagnostic(
            file=file,
            line=self.mark.line,
            column=self.mark.column,
            path="",
            message=self.problem,
            hint=self.hint,
            code="fleet.syntax",
        )


def readable(document: Document) -> str:
    """The text of a file without byte order mark. Raises UnreadableError when it is not text."""
    text = document.text
    if isinstance(text, bytes):
        if text.startswith(_UTF16):
            raise UnreadableError("is UTF-16, not UTF-8", hint="save the file as UTF-8")
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode("utf-8", "replace")
            raise UnreadableError(
                f"is not UTF-8: byte 0x{error.object[error.start]:02x}",
                _mark_after(before),
                "save the file as UTF-8",
            ) from error
    text = text.removeprefix("\ufeff")
    if len(text) > LARGEST:
        raise UnreadableError(f"is longer than {LARGEST // 2**20} Mi characters")
    if text.lstrip().startswith("{"):
        text = re.sub(_PAIR, _one_character, text)
    refused = re.search(_REFUSED, text)
    if refused is not None:
        name = f"U+{ord(refused[0]):04X}"
        raise UnreadableError(
            f"has the control character {name}", _mark_after(text[: refused.start()]), "remove it"
        )
    return text


def explain(error: Any, text: str) -> UnreadableError:
    """A PyYAML error about a text in words that say what to do."""
    problem = str(getattr(error, "problem", None) or error)
    mark = getattr(error, "problem_mark", None)
    if mark is None or any(part in problem for part in _UNCLOSED):
        mark = getattr(error, "context_mark", None) or mark
    place = Mark(mark.line + 1, mark.column + 1) if mark is not None else Mark(1, 1)
    lines = re.split(_BREAK, text)
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip(" \t"))]:
        return UnreadableError("a tab indents this line", place, "indent with spaces")
    hint = next((hint for part, hint in _HINTS if part in problem), None)
    return UnreadableError(f"is not YAML: {problem[:200]}", place, hint)


def _one_character(pair: re.Match[str]) -> str:
    """JSON escapes a character beyond U+FFFF as two halves, which YAML does not know."""
    try:
        halves = int(pair[2], 16) - 0xD800, int(pair[3], 16) - 0xDC00
    except ValueError:
        return pair[0]
    return f"{pair[1]}\\U{0x10000 + (halves[0] << 10) + halves[1]:08X}"


def _mark_after(text: str) -> Mark:
    ends = [match.end() for match in re.finditer(_BREAK, text)]
    return Mark(len(ends) + 1, len(text) - (ends[-1] if ends else 0) + 1)
