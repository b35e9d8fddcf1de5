"""The fields of a `config.json` under one name each, whatever their family calls them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from plimsoll.errors import FormatError
from plimsoll.facts.table import csv_rows, json_lines

MOST_LAYERS = 4096
_LARGEST = 1 << 32
_LARGEST_FILE = 64 << 20  # bytes; real ones stay under 2 MiB
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")


class _Synonyms(msgspec.Struct, frozen=True):
    """field: our name; names: what families call it, separated by blanks; a dot looks inside."""

    field: str
    names: str


class _Family(msgspec.Struct, frozen=True):
    """What the configurations of a `model_type` leave unsaid; with source and date."""

    model_type: str
    unsaid: dict[str, Any]
    source: str
    date: str


@cache
def _synonyms() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    rows = csv_rows("config_fields.csv", _Synonyms)
    return {row.field: tuple(tuple(n.split(".")) for n in row.names.split()) for row in rows}


@cache
def _families() -> Mapping[str, Mapping[str, Any]]:
    return {row.model_type: row.unsaid for row in json_lines("config_families.jsonl", _Family)}


def json_object(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object, `NaN` and `Infinity` allowed as real files have them. Raises FormatError."""
    if len(content) > _LARGEST_FILE:
        raise FormatError(f"{len(content):,} bytes are too many for a configuration", where=where)
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON: {str(error)[:120]}", where=where) from error
    if not isinstance(said, dict):
        raise FormatError("not a JSON object", where=where, hint="name a `config.json`")
    return said


class Fields:
    """The fields of one model's text part, with what its family leaves unsaid.

    whole  the configuration as it is written
    said   its text part over the rest
    where  how errors name it
    """

    def __init__(self, whole: Mapping[str, Any], where: str) -> None:
        self.whole = whole
        self.where = where
        said = dict(whole)
        part: object = whole
        for _ in range(3):  # thinker_config holds a text_config of its own
            part = next((p for n in _TEXT_PARTS if isinstance(p := _get(part, n), dict)), None)
            if part is None:
                break
            said.update(part)
        self.model_type = _text(said.get("model_type"))
        self.said: Mapping[str, Any] = {**_families().get(self.model_type, {}), **_given(said)}

    def raw(self, name: str) -> Any:
        """What stands under our name, or under the name itself where that is none of ours.

        None where nothing stands.
        """
        for path in _synonyms().get(name, ((name,),)):
            value: Any = self.said
            for step in path:
                value = _get(value, step)
            if value is not None:
                return value
        return None

    def of_block(self, number: int) -> Fields:
        """The fields with what the block of that number says of itself (Nemotron-H puzzle)."""
        blocks = self.raw("block_configs")
        block = blocks[number] if isinstance(blocks, list) and number < len(blocks) else None
        if not isinstance(block, dict) or "block_type" not in block:
            return self
        return Fields({**self.said, **_given(block), "block_configs": None}, self.where)

    def wrong(self, name: str, hint: str | None = None) -> FormatError:
        """The error of a field that is missing or makes no sense."""
        names = [".".join(path) for path in _synonyms().get(name, ((name,),))]
        state = "is missing" if self.raw(name) is None else "makes no sense"
        others = f"also read: {', '.join(f'`{n}`' for n in names[1:4])}" if names[1:] else None
        return FormatError(f"`{names[0]}` {state}", where=self.where, hint=hint or others)

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number, 0 or more. Raises FormatError."""
        value = self.raw(name)
        return self._whole(name, default if value is None else value)

    def per_layer(self, name: str, layers: int, default: int | None = None) -> tuple[int, ...]:
        """A whole number for each layer, where one stands for all or one for each."""
        value = self.raw(name)
        if not isinstance(value, list):
            return (self.count(name, default),) * layers
        if len(value) < layers:
            raise self.wrong(name)
        return tuple(self._whole(name, 0 if item is None else item) for item in value[:layers])

    def of_text(self, name: str, layers: int, default: int | None = None) -> tuple[int, ...]:
        """A whole number for each layer, where a list shorter than the layers begins with the
        text's (ERNIE gives one for text and one for images). Raises FormatError.
        """
        value = self.raw(name)
        if isinstance(value, list) and 0 < len(value) < layers:
            return (self._whole(name, value[0]),) * layers
        return self.per_layer(name, layers, default)

    def _whole(self, name: str, value: object) -> int:
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
            raise self.wrong(name)
        return value

    def factor(self, name: str) -> float:
        """A finite number over 0, or 0 where none stands. Raises FormatError."""
        value = self.raw(name)
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name)
        if not 0 < value < _LARGEST:
            raise self.wrong(name)
        return float(value)

    def flag(self, name: str) -> bool:
        """Whether a field stands and is true."""
        return self.raw(name) is True

    def words(self, name: str) -> tuple[str, ...]:
        """A list of words; empty where none stands."""
        value = self.raw(name)
        return tuple(_text(item) for item in value) if isinstance(value, list) else ()

    def numbers(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers; empty where none stands. Raises FormatError."""
        value = self.raw(name)
        if not isinstance(value, list):
            return ()
        return tuple(self._whole(name, int(item) if item is True or item is False else item)
                     for item in value)  # fmt: skip

    def text(self, name: str) -> str:
        """A word; empty where none stands."""
        return _text(self.raw(name))

    def part(self, name: str) -> Fields | None:
        """A configuration inside this one, as it stands; None where there is none."""
        value = self.whole.get(name)
        return Fields(value, f"{self.where}: {name}") if isinstance(value, dict) else None


def _given(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value is not None}


def _get(value: object, step: str) -> Any:
    return value.get(step) if isinstance(value, dict) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
