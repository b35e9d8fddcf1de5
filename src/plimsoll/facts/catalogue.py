"""Well-known models by name, so that planning works without a network.

Rows hold what matters of each model's `config.json`; one is read when it is asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.config import read_config
from plimsoll.facts.model_names import Spelling, spelling
from plimsoll.facts.nearest import nearest_hint
from plimsoll.facts.network import Network
from plimsoll.facts.table import json_lines

_SHORTEST = 6  # letters of a beginning


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model.

    name           as its publisher writes it
    aliases        other names that people use
    like           another row's name, whose configuration it has but for `config`
    config         the fields of its `config.json` that matter
    stored         element type of its dense weights, where `config` does not say it
    expert_stored  element type of its experts' weights, likewise
    extra          parameters beside the text model, where no vision part is in `config`
    embedding      whether it yields vectors
    published      parameters that its publisher counts, in billions; 0 where not known
    active         parameters that its publisher says one token meets, in billions
    counted        where `published` and `active` are said
    source         where `config` is from
    date           when it was read
    """

    name: str
    aliases: tuple[str, ...] = ()
    like: str = ""
    config: msgspec.Raw = msgspec.Raw(b"{}")
    stored: str = ""
    expert_stored: str = ""
    extra: int = 0
    embedding: bool = False
    published: float = 0.0
    active: float = 0.0
    counted: str = ""
    source: str
    date: dt.date


@cache
def rows() -> Mapping[str, Row]:
    """The rows of the catalogue by name."""
    return {row.name: row for row in json_lines("networks.jsonl", Row)}


@cache
def _written() -> tuple[tuple[str, Spelling], ...]:
    """Every way in which a row's name is written, with the name."""
    return tuple(
        (row.name, spelling(text)) for row in rows().values() for text in (row.name, *row.aliases)
    )


@cache
def _spellings() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Row names by every way of writing them, and those of rows that say a format.

    The first row that has a short name owns it; `-FP8` and the like only own it beside their
    format, so that `Llama-3.1-70B-Instruct` is never `Llama-3.1-70B-Instruct-FP8`.
    """
    plain: dict[str, str] = {}
    stored: dict[str, str] = {}
    for level in range(Spelling.LEVELS):
        for name, written in _written():
            key = written.keys[level]
            if level < 2 or not written.format:
                plain.setdefault(key, name)
            else:
                stored.setdefault(f"{key}|{written.format}", name)
                stored.setdefault(key, name)
    return plain, stored


def network(name: str) -> Network:
    """The network of a well-known model, however its name is written.

    The publisher, capitals, and additions such as `-Instruct` or `-hf` may differ, and the end may
    be missing where only one model begins so; `-FP8`, `-NVFP4`, `-AWQ` and the like change in
    which format the weights are stored.

    Raises InputError with the nearest names where none is known.
    """
    if name in rows():
        return _network(name)
    written = spelling(name)
    plain, stored = _spellings()
    for level, key in enumerate(written.keys):
        own = stored.get(f"{key}|{written.format}") if written.format else plain.get(key)
        if level < 2:
            own = plain.get(key)
        if own is not None:
            return _network(own)
        if written.format and key in plain:
            return _stored_as(_network(plain[key]), written.format, name)
    for key in written.keys[2:]:  # only known in another format
        if key in stored:
            return _stored_as(_network(stored[key]), written.format or "bf16", name)
    begun = _beginning(written.words)
    if len(begun) == 1:
        base = _network(begun.pop())
        return _stored_as(base, written.format, name) if written.format else base
    raise InputError(
        f"the model `{name[:100]}` is not in the catalogue",
        hint=nearest_hint(name, begun or rows()),
        code="facts.unknown-model",
    )


def _beginning(words: tuple[str, ...]) -> set[str]:
    """The rows, but for those in a format of their own, whose names begin with these words.

    One short word says too little, so that it begins no name.
    """
    if len("".join(words)) < _SHORTEST:
        return set()
    return {
        name
        for name, written in _written()
        if not written.format and written.words[: len(words)] == words
    }


def _stored_as(base: Network, stored: str, name: str) -> Network:
    """A network in another format; FP8 of a model that is published in FP8 is itself."""
    if base.expert_stored.startswith(stored):
        return base
    return replace(base, name=name, stored=stored, expert_stored=stored, stored_bytes=0)


@cache
def _network(name: str) -> Network:
    row = rows()[name]
    config: dict[str, object] = msgspec.json.decode(row.config)
    if row.like:
        config = {**msgspec.json.decode(rows()[row.like].config), **config}
    read = read_config(
        msgspec.json.encode(config),
        name=row.name,
        embedding=row.embedding,
        source=row.source,
        date=row.date,
    )
    stored = row.stored or read.stored
    return replace(
        read,
        stored=stored,
        expert_stored=row.expert_stored or row.stored or read.expert_stored,
        extra=read.extra + row.extra,
    )


class _Networks(Mapping[str, Network]):
    """The catalogue as a mapping; each network is read when it is asked for."""

    def __getitem__(self, name: str) -> Network:
        if name not in rows():
            raise KeyError(name)
        return _network(name)

    def __iter__(self) -> Iterator[str]:
        return iter(rows())

    def __len__(self) -> int:
        return len(rows())


def networks() -> Mapping[str, Network]:
    """All well-known models by the names their publishers give them."""
    return _Networks()
