"""Changes bytes and JSON as a fault, a broken peer or an attacker might."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

_BYTES = (
    b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b";", b",", b'"', b"\\", b"\xff",
    b"\xc3", b"\xe2\x80\xa8", b"0", b"-1", b"+", b"9" * 25, b"{", b"}", b"[", b"]", b"null", b"NaN",
    b"data: ", b"[DONE]", b"\\u0000", b"\\ud800", b"HTTP/1.1 200 OK\r\n", b"a" * 300,
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**53, 2**63, 2**70, 10**40, "", "a", "\0",
    "\ud83d\ude00", "x" * 2000, [], {}, [[]], [{}], [None], {"type": "text"}, {"type": "function"},
    {"": None}, {"role": "user"}, [[[[[[]]]]]],
)  # fmt: skip


def mutated(data: bytes, rng: random.Random, most: int = 4) -> bytes:
    """The same bytes but for a few places: some deleted, changed, doubled, or put in."""
    out = bytearray(data)
    for _ in range(rng.randint(1, most)):
        at = rng.randint(0, len(out))
        match rng.randrange(6):
            case 0:
                del out[at : at + rng.choice((1, 1, 2, 10, 100))]
            case 1:
                out[at:at] = rng.choice(_BYTES)
            case 2 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 3:
                out[at:at] = out[at : at + rng.choice((1, 10, 100))]
            case 4:
                del out[at:]
            case _ if at < len(out):
                out[at] = rng.randrange(256)
    return bytes(out)


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    """The bytes cut at chance, most often nowhere."""
    if not data:
        return []
    cuts = rng.choice((0, 0, 0, 1, 2, 5, 20))
    if len(data) < 400 and rng.random() < 0.05:
        return [data[at : at + 1] for at in range(len(data))]
    edges = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(cuts))})
    return [data[start:end] for start, end in pairwise(edges)]


def changed(value: Any, rng: random.Random, others: Sequence[str] = ()) -> Any:
    """JSON with one value changed, removed, put in, or moved, anywhere in its depth.

    others  names of fields that may be put in
    """
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        copy = dict(value)
        match rng.randrange(6):
            case 0:
                del copy[key]
            case 1:
                copy[rng.choice([*others, "", "x"])] = copy[key]
            case 2:
                copy[rng.choice([*others, "x"])] = rng.choice(_VALUES)
            case _:
                copy[key] = changed(copy[key], rng, others)
        return copy
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        copied = list(value)
        match rng.randrange(5):
            case 0:
                del copied[at]
            case 1:
                copied.insert(at, copied[rng.randrange(len(value))])
            case _:
                copied[at] = changed(copied[at], rng, others)
        return copied
    return rng.choice(_VALUES)


def written(value: Any, rng: random.Random) -> bytes:
    """JSON as bytes, its space and escapes as one writer or another would have them."""
    text = json.dumps(
        value,
        ensure_ascii=rng.random() < 0.5,
        indent=rng.choice((None, None, None, 1)),
        separators=rng.choice(((",", ":"), (", ", ": "), (" ,", " :"))),
    )
    return text.encode("utf-8", "surrogatepass")
