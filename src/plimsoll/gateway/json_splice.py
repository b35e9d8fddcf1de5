"""Changes single fields of a JSON object in its bytes; all others stay as they are. Pure.

An object that says a field twice is written anew and says it once, as its last value: readers do
not agree on which of the two counts. So is one of so many fields that finding them takes long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_name = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode
_MOST_FIELDS = 1000
_LONGEST_NAMES = 16 * 1024  # characters, all together
_BEGIN = re.compile(rb"[ \t\r\n]*\{")
_NAME = re.compile(
    rb'[ \t\r\n]*,?[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL
)
_LEAD = re.compile(rb"[ \t\r\n]*,?[ \t\r\n]*")
_END = re.compile(rb"[ \t\r\n]*\}[ \t\r\n]*")


def _ends(body: bytes, fields: Mapping[str, msgspec.Raw]) -> dict[str, tuple[int, int]] | None:
    """Where the value of each field begins and ends; None where a field is said twice, for then
    the values do not stand one behind another as they were read, or where there are too many.
    """
    if len(fields) > _MOST_FIELDS or sum(map(len, fields)) > _LONGEST_NAMES:
        return None
    begin = _BEGIN.match(body)
    at = begin.end() if begin else 0
    found = {}
    for name, value in fields.items():
        said = _NAME.match(body, at)
        if said is None or _decode_name(said[1]) != name or not body.startswith(value, said.end()):
            return None
        at = said.end() + len(memoryview(value))
        found[name] = (said.end(), at)
    return found if _END.fullmatch(body, at) else None


def once(body: bytes) -> bytes:
    """The object with every field said once: the same bytes where it is so already."""
    fields = _decode(body)
    return body if _ends(body, fields) is not None else _encode(fields)


def replaced(body: bytes, name: str, value: bytes) -> bytes:
    """The object with another value for a field, where it has that."""
    fields = _decode(body)
    ends = _ends(body, fields)
    if ends is None:
        return _encode({**fields, name: msgspec.Raw(value)} if name in fields else fields)
    if name not in ends:
        return body
    begin, end = ends[name]
    return body[:begin] + value + body[end:]


def put(body: bytes, values: Mapping[str, bytes]) -> bytes:
    """The object with these values: in their fields' places, and at its end where it has none."""
    fields = _decode(body)
    for name in values.keys() & fields.keys():
        body = replaced(body, name, values[name])
    fresh = {name: value for name, value in values.items() if name not in fields}
    if fresh and not fields:
        return _encode({name: msgspec.Raw(value) for name, value in fresh.items()})
    return added(body, fresh)


def without(body: bytes, names: frozenset[str], instead: Mapping[str, bytes]) -> bytes:
    """The object without some fields; `instead` stands where the first of them stood, and nowhere
    else.
    """
    fields = _decode(body)
    ends = _ends(body, fields)
    if ends is None:
        return _encode(_without(fields, names, instead))
    at = begin = body.index(b"{") + 1
    out, told = b"", False
    for name, (_, end) in ends.items():
        lead = _LEAD.match(body, at)
        assert lead is not None
        before, field, at = lead[0], body[lead.end() : end], end
        if name in names:
            new = (b"%b:%b" % (_encode(new), value) for new, value in instead.items())
            field = b"" if told else b",".join(new)
            told = True
        elif name in instead:
            continue
        if field:
            first = not out
            if first or b"," not in before:
                before = (b"" if first else b",") + before.replace(b",", b"")
            out += before + field
    return body[:begin] + out + body[at:]


def _without(
    fields: Mapping[str, msgspec.Raw], names: frozenset[str], instead: Mapping[str, bytes]
) -> dict[str, msgspec.Raw]:
    kept: dict[str, msgspec.Raw] = {}
    for name, value in fields.items():
        if name in names:
            kept.update((new, msgspec.Raw(raw)) for new, raw in instead.items())
        elif name not in instead:
            kept[name] = value
    return kept


def added(body: bytes, fields: Mapping[str, bytes]) -> bytes:
    """The object with further fields at its end; it must not be empty."""
    end = body.rindex(b"}")
    more = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in fields.items())
    return body[:end] + more + body[end:]
