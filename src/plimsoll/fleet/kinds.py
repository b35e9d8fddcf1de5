"""The kinds of scalar that a field can hold: how each is read, written and described to others.

A field's type carries one of these in `Annotated`; decoding, both schemas and the reference
pages are all made from it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from plimsoll.errors import InputError
from plimsoll.fleet.suggest import did_you_mean

Schema = dict[str, Any]
Plain = str | int | float | bool | None

LARGEST = 2**53 - 1  # the largest integer that every JSON reader keeps exact


def shown(value: object) -> str:
    """A value as messages show it: short, and without a password that stands in an address."""
    if isinstance(value, bool):
        return str(value).lower()
    text = re.sub(r"//[^/\s]*@", "//***@", str(value))
    return text if len(text) <= 60 else text[:57] + "..."


def describe(value: object) -> str:
    """What a value is, in the words of YAML: `text`, `a number`, `a list`, ..."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number"
    return "text"


def wrong_type(wanted: str, value: object, hint: str | None = None) -> InputError:
    """The error of a value of another type than the field's."""
    got = describe(value) if value is None else f"{describe(value)}, `{shown(value)}`"
    return InputError(f"must be {wanted}, not {got}", hint=hint, code="fleet.type")


def _out_of_range(value: object, low: float | None, high: float | None) -> InputError:
    if low is not None and high is not None:
        wanted = (
            f"between {low:,g} and {high:,g}" if high < 1e6 else f"between {low:,g} and {high:,}"
        )
    else:
        wanted = f"at least {low:,g}" if low is not None else f"at most {high:,g}"
    return InputError(f"must be {wanted}, not {shown(value)}", code="fleet.range")


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A scalar kind; the classes below are its forms."""

    def read(self, value: Plain) -> Any:
        """The typed value of a YAML scalar. Raises InputError or UnitError."""
        raise NotImplementedError

    def write(self, value: Any) -> Plain:
        """What to put into a document so that read gives the value back."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """JSON Schema of what read accepts (or a little more)."""
        raise NotImplementedError

    def structural(self) -> Schema:
        """The same as a Kubernetes structural schema."""
        return self.schema()

    def label(self) -> str:
        """A few words for the reference page."""
        raise NotImplementedError


class Flag(Kind, frozen=True, kw_only=True):
    """true or false."""

    def read(self, value: Plain) -> bool:
        """Accepts `true` and `false` only."""
        if not isinstance(value, bool):
            raise wrong_type("true or false", value)
        return value

    def write(self, value: bool) -> Plain:
        """As it is."""
        return value

    def schema(self) -> Schema:
        """A boolean."""
        return {"type": "boolean"}

    def label(self) -> str:
        """For the reference page."""
        return "true or false"


class Text(Kind, frozen=True, kw_only=True):
    """A string.

    what     what it is, for messages: `a name`
    shape    regular expression of the whole string, valid in Python, JSON Schema and RE2
    hint     what a right one looks like
    longest  characters
    shortest characters
    hidden   whether messages keep a wrong value to themselves, because it may be a secret
    """

    what: str = "text"
    shape: str | None = None
    hint: str | None = None
    longest: int = 256
    shortest: int = 1
    hidden: bool = False

    def read(self, value: Plain) -> str:
        """Accepts a string without control characters, of the right length and shape."""
        if not isinstance(value, str):
            if self.hidden:
                raise InputError(f"must be {self.what}", hint=self.hint, code="fleet.type")
            quoted = f'write it in quotes: "{value}"' if value is not None else None
            if isinstance(value, bool):
                quoted = f'write it in quotes: "{str(value).lower()}"'
            raise wrong_type(self.what, value, quoted)
        if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in value):
            raise InputError(
                "has a control character", hint="write plain text on one line", code="fleet.text"
            )
        if not self.shortest <= len(value) <= self.longest:
            size = f"{self.shortest} to {self.longest} characters"
            raise InputError(f"must have {size}, not {len(value)}", code="fleet.range")
        if self.shape is not None and not re.fullmatch(self.shape, value):
            subject = "what stands here" if self.hidden else f"`{shown(value)}`"
            raise InputError(f"{subject} is not {self.what}", hint=self.hint, code="fleet.text")
        return value

    def write(self, value: str) -> Plain:
        """As it is."""
        return value

    def schema(self) -> Schema:
        """A string with its length and pattern."""
        found: Schema = {"type": "string", "maxLength": self.longest}
        if self.shortest:
            found["minLength"] = self.shortest
        if self.shape is not None:
            found["pattern"] = f"^(?:{self.shape})$" if "|" in self.shape else f"^{self.shape}$"
        return found

    def label(self) -> str:
        """For the reference page."""
        return self.what


class Choice(Kind, frozen=True, kw_only=True):
    """One of a few words.

    words  in the order in which they are shown
    """

    words: tuple[str, ...]

    def read(self, value: Plain) -> str:
        """Accepts exactly one of the words; the hint names the nearest."""
        if not isinstance(value, str):
            raise wrong_type(f"one of {self.listed()}", value)
        if value not in self.words:
            raise InputError(
                f"`{shown(value)}` is not one of {self.listed()}",
                hint=did_you_mean(value, self.words),
                code="fleet.choice",
            )
        return value

    def write(self, value: str) -> Plain:
        """As it is."""
        return value

    def schema(self) -> Schema:
        """A string enumeration."""
        return {"type": "string", "enum": list(self.words)}

    def listed(self) -> str:
        """The words for a message."""
        return ", ".join(f"`{word}`" for word in self.words)

    def label(self) -> str:
        """For the reference page."""
        return " \\| ".join(f"`{word}`" for word in self.words)


class Integer(Kind, frozen=True, kw_only=True):
    """A whole number.

    minimum  smallest allowed
    maximum  largest allowed
    """

    minimum: int = 0
    maximum: int = 2**31 - 1

    def read(self, value: Plain) -> int:
        """Accepts an integer, also written `4.0` or `1e3`, inside the range."""
        if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            quotes = isinstance(value, str) and re.fullmatch(r"[0-9]+", value)
            raise wrong_type("a whole number", value, "write it without quotes" if quotes else None)
        if not self.minimum <= value <= self.maximum:
            raise _out_of_range(value, self.minimum, self.maximum)
        return value

    def write(self, value: int) -> Plain:
        """As it is."""
        return value

    def schema(self) -> Schema:
        """An integer with its range."""
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}

    def structural(self) -> Schema:
        """The same, with its width."""
        return self.schema() | {"format": "int32" if self.maximum < 2**31 else "int64"}

    def label(self) -> str:
        """For the reference page."""
        return f"whole number, {self.minimum:,} to {self.maximum:,}"


class Number(Kind, frozen=True, kw_only=True):
    """A number, with or without a fraction.

    minimum  smallest allowed
    maximum  largest allowed
    above    whether minimum itself is refused
    """

    minimum: float = 0
    maximum: float = 1e12
    above: bool = False

    def read(self, value: Plain) -> float:
        """Accepts a number inside the range."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type("a number", value)
        if self.above and value == self.minimum:
            raise InputError(f"must be more than {self.minimum:g}", code="fleet.range")
        if not self.minimum <= value <= self.maximum:
            raise _out_of_range(value, self.minimum, self.maximum)
        return float(value)

    def write(self, value: float) -> Plain:
        """An integer where it is one."""
        return int(value) if value.is_integer() else value

    def schema(self) -> Schema:
        """A number with its range."""
        low = "exclusiveMinimum" if self.above else "minimum"
        return {"type": "number", low: _tidy(self.minimum), "maximum": _tidy(self.maximum)}

    def structural(self) -> Schema:
        """The same; Kubernetes says exclusive bounds the old way."""
        found: Schema = {"type": "number", "format": "double"}
        found |= {"minimum": _tidy(self.minimum), "maximum": _tidy(self.maximum)}
        return found | ({"exclusiveMinimum": True} if self.above else {})

    def label(self) -> str:
        """For the reference page."""
        low = f"more than {self.minimum:g}" if self.above else f"{self.minimum:g}"
        return f"number, {low} to {self.maximum:,g}"


def _tidy(value: float) -> float:
    return int(value) if float(value).is_integer() else value
