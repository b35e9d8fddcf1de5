"""Changes single fields of a JSON object; the values of all others keep their bytes. Pure.

An object that says a field twice says it once afterwards, as its last value: readers do not agree
on which of the two counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import msgspec

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def once(body: bytes) -> bytes:
    """The object with every field said once."""
    return _encode(_decode(body))


def replaced(body: bytes, name: str, value: bytes) -> bytes:
    """The object with another value for a field, where it has that."""
    fields = _decode(body)
    if name in fields:
        fields[name] = msgspec.Raw(value)
    return _encode(fields)


def without(body: bytes, names: Set[str], instead: Mapping[str, bytes]) -> bytes:
    """The object without some fields; `instead` stands where the first of them stood, and nowhere
    else.
    """
    fields: dict[str, msgspec.Raw] = {}
    for name, value in _decode(body).items():
        if name in names:
            fields.update((new, msgspec.Raw(raw)) for new, raw in instead.items())
        elif name not in instead:
            fields[name] = value
    return _encode(fields)


def added(body: bytes, fields: Mapping[str, bytes]) -> bytes:
    """The object with further fields at its end; it must not be empty."""
    end = body.rindex(b"}")
    more = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in fields.items())
    return body[:end] + more + body[end:]
