"""What an unquoted YAML scalar means here: where YAML 1.1 and 1.2 disagree, it is refused.

kubectl reads YAML 1.1, editors and this decoder 1.2. So that one file never means two things,
`no`, `on`, `010`, `0o10`, `0x1F`, `1_000`, `1:30`, `.inf` and their like must be quoted or
written in another way. `1e3` is the number 1000.
"""

from __future__ import annotations

import math
import re

import msgspec

from plimsoll.fleet.kinds import Plain

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_YES = frozenset(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"))
_NO = frozenset(("n", "N", "no", "No", "NO", "off", "Off", "OFF"))
_INTEGER = r"[-+]?(0|[1-9][0-9]*)"
_FLOAT = r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_ODD_NUMBER = (
    r"[-+]?(0[0-9_]+(\.[0-9_]*)?([eE][-+]?[0-9]+)?|0o[0-7_]+|0x[0-9A-Fa-f_]+|0b[01_]+"
    r"|[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    r"|\.(inf|Inf|INF)|\.(nan|NaN|NAN))"
)
_LONGEST_NUMBER = 32  # characters; JSON numbers that readers agree on are shorter
_FIRST_OF_NUMBER = frozenset("+-.0123456789")


class Meaning(msgspec.Struct, frozen=True):
    """What a scalar means, or why it means nothing.

    value    the value; None when it is null or refused
    problem  why it is refused, or None
    hint     what to write instead
    """

    value: Plain
    problem: str | None = None
    hint: str | None = None


def meaning(text: str) -> Meaning:
    """The meaning of an unquoted scalar."""
    if text in _NULL:
        return Meaning(None)
    if text in _TRUE or text in _FALSE:
        return Meaning(text in _TRUE)
    if text in _YES or text in _NO:
        word = "true" if text in _YES else "false"
        return Meaning(
            None,
            f"`{text}` is {word} to some YAML readers and text to others",
            f'write `{word}`, or "{text}" in quotes',
        )
    return _number(text) if text[0] in _FIRST_OF_NUMBER else Meaning(text)


def _number(text: str) -> Meaning:
    if len(text) > _LONGEST_NUMBER:
        if not re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", text[:4096]):
            return Meaning(text)
        return Meaning(None, "is too long for a number", "write it in quotes if it is text")
    if re.fullmatch(_INTEGER, text):
        return Meaning(int(text))
    if re.fullmatch(_FLOAT, text):
        value = float(text)
        if math.isfinite(value):
            return Meaning(value)
        return Meaning(None, f"`{text}` is too large a number", "write it in quotes if it is text")
    if re.fullmatch(_ODD_NUMBER, text):
        return Meaning(
            None,
            f"`{text}` is one number to some YAML readers and another, or text, to others",
            f'write a plain decimal number, or "{text}" in quotes',
        )
    return Meaning(text)
