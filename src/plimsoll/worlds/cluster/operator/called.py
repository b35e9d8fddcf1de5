"""Which model answers to a name, where several Fleets stand behind one gateway: the older. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from plimsoll.fleet.branches import Branch
from plimsoll.worlds.cluster.operator.reading import FleetKey

Noun = Literal["model", "adapter", "alias", "tier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    """A word that callers may put in `model`.

    noun    what it names
    shared  whether others may have it too: a tier, or an alias of a model with a weight
    """

    word: str
    noun: Noun
    shared: bool


def taken_names(
    specs: Sequence[tuple[FleetKey, Branch]],
) -> dict[FleetKey, dict[str, str]]:
    """Models that cannot be served, by Fleet, with the reason.

    specs  the Fleets of one gateway, the oldest first

    Names within one Fleet were checked when it was read, so only those of others count.
    """
    taken: dict[str, tuple[FleetKey, _Name]] = {}
    unserved: dict[FleetKey, dict[str, str]] = {}
    for key, spec in specs:
        fresh: list[_Name] = []
        for model in spec.branches("models"):
            names = tuple(_names(model))
            clash = next((name for name in names if _clashes(name, key, taken)), None)
            if clash is None:
                fresh.extend(names)
                continue
            other, first = taken[clash.word]
            unserved.setdefault(key, {})[model.get("name")] = (
                f"model `{model.get('name')}` is not served: its {_called(clash)} is the "
                f"{first.noun} of the older Fleet {other}"
            )
        for name in fresh:
            taken.setdefault(name.word, (key, name))
    return unserved


def _clashes(name: _Name, key: FleetKey, taken: dict[str, tuple[FleetKey, _Name]]) -> bool:
    found = taken.get(name.word)
    if found is None or found[0] == key:
        return False
    first = found[1]
    return not (name.shared and first.shared and name.noun == first.noun)


def _names(model: Branch) -> Iterator[_Name]:
    yield _Name(word=model.get("name"), noun="model", shared=False)
    for adapter in model.branches("adapters"):
        yield _Name(word=adapter.get("name"), noun="adapter", shared=False)
    for leaf in model.leaves("aliases"):
        yield _Name(word=leaf.value, noun="alias", shared=model.has("weight"))
    tier = model.get("tier")
    if tier is not None:
        yield _Name(word=tier, noun="tier", shared=True)


def _called(name: _Name) -> str:
    return "name" if name.noun == "model" else f"{name.noun} `{name.word}`"
