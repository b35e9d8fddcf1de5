"""Kinds of scalar that carry a unit: sizes, counts, durations; and the word `auto` beside one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from plimsoll import units
from plimsoll.errors import InputError
from plimsoll.fleet.kinds import LARGEST, Integer, Kind, Plain, Schema, shown, wrong_type


class Size(Kind, frozen=True, kw_only=True):
    """Bytes, written `8Gi`, `500M` or a whole number.

    minimum  bytes
    maximum  bytes
    """

    minimum: int = 0
    maximum: int = LARGEST

    def read(self, value: Plain) -> int:
        """Bytes."""
        return _quantity(self, value, units.parse_size, "a size such as `8Gi`")

    def write(self, value: int) -> Plain:
        """With the largest binary unit that divides it."""
        for unit, factor in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if value and value % factor == 0:
                return f"{value // factor}{unit}"
        return value

    def schema(self) -> Schema:
        """An integer or a string with a unit."""
        return _either(units.SIZE_PATTERN, self.minimum, self.maximum)

    def structural(self) -> Schema:
        """int-or-string."""
        return _int_or_string(units.SIZE_PATTERN, self.minimum, self.maximum)

    def label(self) -> str:
        """For the reference page."""
        return "size, such as `8Gi`"


class Count(Kind, frozen=True, kw_only=True):
    """A count, written `600`, `200k` or `1.5M`.

    minimum  smallest allowed
    maximum  largest allowed
    """

    minimum: int = 0
    maximum: int = 10**12

    def read(self, value: Plain) -> int:
        """The number."""
        return _quantity(self, value, units.parse_count, "a count such as `600` or `200k`")

    def write(self, value: int) -> Plain:
        """As a number."""
        return value

    def schema(self) -> Schema:
        """An integer or a string with a unit."""
        return _either(units.COUNT_PATTERN, self.minimum, self.maximum)

    def structural(self) -> Schema:
        """int-or-string."""
        return _int_or_string(units.COUNT_PATTERN, self.minimum, self.maximum)

    def label(self) -> str:
        """For the reference page."""
        return "count, such as `600` or `200k`"


class Duration(Kind, frozen=True, kw_only=True):
    """Seconds, written `500ms`, `60s`, `5m` or `1h30m`.

    minimum  seconds
    maximum  seconds
    """

    minimum: float = 0.001
    maximum: float = 366 * 86400.0

    def read(self, value: Plain) -> float:
        """Seconds."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise wrong_type("a duration", value, f"say the unit: `{value}s`, `{value}ms`")
        if not isinstance(value, str):
            raise wrong_type("a duration such as `60s`", value)
        seconds = units.parse_duration(value)
        if 0 < seconds < 0.001:
            raise InputError(f"must be at least 1ms, not {value}", code="fleet.range")
        if not self.minimum <= seconds <= self.maximum:
            bounds = f"{_duration(self.minimum)} and {_duration(self.maximum)}"
            raise InputError(f"must be between {bounds}, not {value}", code="fleet.range")
        return seconds

    def write(self, value: float) -> Plain:
        """With the largest unit that divides it."""
        return _duration(value)

    def schema(self) -> Schema:
        """A string with units."""
        return {"type": "string", "pattern": units.DURATION_PATTERN, "maxLength": 40}

    def label(self) -> str:
        """For the reference page."""
        return "duration, such as `60s`"


class Auto(Kind, frozen=True, kw_only=True):
    """Another kind, or the word `auto`, which is None in code.

    of  the other kind
    """

    of: Integer | Count

    def read(self, value: Plain) -> int | None:
        """None for `auto`, else what the other kind reads."""
        if value == "auto":
            return None
        if isinstance(value, str) and isinstance(self.of, Integer):
            raise wrong_type("`auto` or a whole number", value)
        return self.of.read(value)

    def write(self, value: int | None) -> Plain:
        """`auto` for None."""
        return "auto" if value is None else self.of.write(value)

    def schema(self) -> Schema:
        """The other kind or the word."""
        return {"anyOf": [{"const": "auto"}, self.of.schema()]}

    def structural(self) -> Schema:
        """int-or-string."""
        shape = (
            "^auto$" if isinstance(self.of, Integer) else rf"^(auto|{units.COUNT_PATTERN[1:-1]})$"
        )
        return _int_or_string(shape, self.of.minimum, self.of.maximum)

    def label(self) -> str:
        """For the reference page."""
        return f"`auto` or a {self.of.label()}"


def _duration(seconds: float) -> str:
    for unit, factor in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds and seconds % factor == 0:
            return f"{int(seconds // factor)}{unit}"
    milliseconds = (Decimal(repr(seconds)) * 1000).normalize()
    return f"{milliseconds:f}ms"


def _bound(value: Plain) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _quantity(kind: Size | Count, value: Plain, parse: Any, wanted: str) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
        value = int(value)
    if isinstance(value, bool) or value is None or isinstance(value, float):
        raise wrong_type(wanted, value)
    amount: int = value if isinstance(value, int) else parse(value)
    if not kind.minimum <= amount <= kind.maximum:
        low, high = (_bound(kind.write(bound)) for bound in (kind.minimum, kind.maximum))
        raise InputError(
            f"must be between {low} and {high}, not {shown(value)}", code="fleet.range"
        )
    return amount


def _either(pattern: str, minimum: int, maximum: int) -> Schema:
    number = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return {"anyOf": [number, {"type": "string", "pattern": pattern, "maxLength": 40}]}


def _int_or_string(pattern: str, minimum: int, maximum: int) -> Schema:
    return {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": minimum,
        "maximum": maximum,
        "pattern": pattern,
        "maxLength": 40,
    }
