"""Reads a request's JSON field by field; what is wrong is said with its JSON path. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from plimsoll.providers.protocol import UnspeakableError

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_SHOWN = 80  # characters of a caller's own word in a message


class Fields:
    """One JSON object of a request. A field is read once; what nobody read is `rest`.

    path  of the object, empty for the request itself
    rest  fields that were not read so far
    """

    __slots__ = ("path", "rest")

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise wrong_type(path, "an object", value)
        self.path = path
        self.rest: dict[str, Any] = dict(value)

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def take(self, name: str) -> Any:
        """A field's value whatever it is; None when it is absent or null."""
        return self.rest.pop(name, None)

    def drop(self, *names: str) -> None:
        """Leave fields out of `rest`."""
        for name in names:
            self.rest.pop(name, None)

    def text(self, name: str) -> str | None:
        """A string, or None when it is absent or null."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            raise wrong_type(self.at(name), "a string", value)
        return value

    def need_text(self, name: str) -> str:
        """A string that must be there."""
        value = self.text(name)
        if value is None:
            raise missing(self.at(name))
        return value

    def flag(self, name: str) -> bool:
        """A boolean; absent or null is false."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise wrong_type(self.at(name), "a boolean", value)
        return bool(value)

    def count(self, name: str) -> int | None:
        """An integer of at least 0, or None when it is absent or null."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(self.at(name), "an integer", value)
        if value < 0:
            raise UnspeakableError(
                f"`{self.at(name)}` is negative", where=self.at(name), code="invalid_value"
            )
        return value

    def fields(self, name: str) -> Fields | None:
        """An object, or None when it is absent or null."""
        value = self.take(name)
        return None if value is None else Fields(value, self.at(name))

    def items(self, name: str) -> list[Any] | None:
        """A list, or None when it is absent or null."""
        value = self.take(name)
        if value is not None and not isinstance(value, list):
            raise wrong_type(self.at(name), "a list", value)
        return value

    def objects(self, name: str) -> Iterator[Fields]:
        """The objects of a list; none when it is absent or null."""
        for index, value in enumerate(self.items(name) or ()):
            yield Fields(value, f"{self.at(name)}[{index}]")

    def refuse(self, name: str, hint: str | None = None) -> None:
        """Raise `not_supported` when a field is there and says anything."""
        value = self.take(name)
        if value is not None and value is not False and value not in ([], {}):
            raise not_supported(self.at(name), f"`{self.at(name)}` is not supported here", hint)

    def under(self, written: dict[str, Any]) -> bytes:
        """`written` as JSON, and what nobody read beside it. Raises UnspeakableError."""
        try:
            return _encode({**self.rest, **written})
        except (RecursionError, OverflowError, UnicodeEncodeError) as error:
            said = f"cannot be said as JSON: {error}"
            raise UnspeakableError(said, code="invalid_value") from error


def decode(body: bytes) -> Fields:
    """A request's body as fields. Raises UnspeakableError."""
    try:
        return Fields(_decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnspeakableError(f"the body is not JSON: {error}", code="malformed_json") from error
    except RecursionError as error:
        raise UnspeakableError("the body is nested too deeply", code="malformed_json") from error


def missing(path: str) -> UnspeakableError:
    """A field that is required is not there."""
    return UnspeakableError(f"`{path}` is required", where=path, code="missing_parameter")


def wrong_type(path: str, wanted: str, value: object) -> UnspeakableError:
    """A field has another type than it must."""
    subject = f"`{path}`" if path else "the body"
    return UnspeakableError(
        f"{subject} must be {wanted}, not {_named(value)}", where=path or None, code="invalid_type"
    )


def unknown_word(path: str, word: str, known: str) -> UnspeakableError:
    """A field has a word that it may not have; `known` lists those that it may."""
    return UnspeakableError(
        f"`{path}` cannot be `{word[:_SHOWN]}`", where=path, hint=known, code="invalid_value"
    )


def not_supported(path: str, message: str, hint: str | None = None) -> UnspeakableError:
    """A field asks for something that is not done here."""
    return UnspeakableError(message, where=path, hint=hint, code="not_supported")


def _named(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "an integer", float: "a number", list: "a list"}
    return names.get(type(value), "an object")
