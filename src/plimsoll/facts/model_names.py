"""Model names as people write them, brought to the few forms that can be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import msgspec

from plimsoll.facts.table import csv_rows

_LONGEST = 200  # characters
_WORDS = re.compile(r"[-\s/+:]+")
_DATE = re.compile(r"[0-9]{4}|[0-9]{6}|[0-9]{8}|[0-9]+k")
_VERSION = re.compile(r"v[0-9.]+|[0-9]{2}")
_WITH_FORMAT = re.compile(r"(?:quantized\.)?([a-z0-9]+?)(?:[._](?:dynamic|static|block|g[0-9]+))?")


class _Word(msgspec.Struct, frozen=True):
    """What a word of a name says: a format, more of a quantization, or a variant of one shape."""

    word: str
    kind: Literal["format", "quantized", "variant"]
    format: str


@cache
def _known() -> Mapping[str, _Word]:
    return {row.word: row for row in csv_rows("model_name_words.csv", _Word)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """A model name in the forms in which names are compared.

    keys    as written; without the publisher; without the format; without `-Instruct` and the
            like; without version and date
    words   the words of the name without publisher, format, `-Instruct` and the like
    format  the format that the name says; empty where it says none
    """

    LEVELS: ClassVar[int] = 5
    keys: tuple[str, str, str, str, str]
    words: tuple[str, ...]
    format: str


def spelling(name: str) -> Spelling:
    """The forms of a name. A quantization that the name says is in `format`."""
    whole = name.strip().lower()[:_LONGEST]
    last = whole.rstrip("/").rsplit("/", 1)[-1]
    words = [word for word in _WORDS.split(_points(last)) if word]
    known = _known()
    said = ""
    plain: list[str] = []
    for word in words:
        match = _WITH_FORMAT.fullmatch(word)
        found = known.get(word) or (known.get(match[1]) if match else None)
        if found is not None and found.kind == "format" and plain:
            said = _better(said, found.format)
        elif found is None or found.kind != "quantized":
            plain.append(word)
    bare = [w for w in plain if (found := known.get(w)) is None or found.kind != "variant"] or plain
    dated = [w for number, w in enumerate(bare) if not number or not _DATE.fullmatch(w)]
    # `Mistral-7B-v0.1` is a version of the same shape; `DeepSeek-V3` is a name.
    short = [w for number, w in enumerate(dated) if number < 2 or not _VERSION.fullmatch(w)]
    return Spelling(
        keys=(f"={whole}", f"/{_joined(words)}", _joined(plain), _joined(bare), _joined(short)),
        words=tuple(bare),
        format=said,
    )


def _points(text: str) -> str:
    """`3_3` is `3.3`; other low lines are hyphens."""
    return re.sub(r"(?<=[0-9])_(?=[0-9](?![0-9a-z]))", ".", text).replace("_", "-")


def _joined(words: list[str]) -> str:
    return "".join(words)


def _better(known: str, said: str) -> str:
    """`GPTQ-Int4` is GPTQ, `AWQ-INT4` is AWQ, `bnb-4bit` is NF4; `GPTQ-Int8` is 8 bits."""
    if known == "gptq" and said == "int8":
        return "int8_wo"
    return known if known in ("awq", "gptq", "bnb_nf4") and said == "int4" else said
