"""The status of a Fleet object: what a person reads, and what the next operator goes on from. Pure.

`inventory` names everything that was made for the Fleet, written before it is made; `memory` is
what `decide` remembers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from plimsoll.policy.snapshot import Memory, ModelMemory
from plimsoll.worlds.cluster.reference import Key

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_FORGOTTEN = "reason"  # made anew at every look
_PASSING = ("lowSince", "lowPeak")  # come and go with every request; losing them only waits longer


class _Remembered(msgspec.Struct, rename="camel", omit_defaults=True):
    """ModelMemory as it is written; see there."""

    failures: int = 0
    counted: tuple[str, ...] = ()
    retry_at: float | None = None
    low_since: float | None = None
    low_peak: int = 0
    wanted: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """One model for a person.

    wanted   replicas that there should be
    ready    replicas that answer
    loading  replicas on their way
    phase    Ready | Loading | Stopped | Failing | NotServed
    driver   who sets the replicas: operator, keda, hpa, none
    reason   why that number, or why not
    """

    wanted: int = 0
    ready: int = 0
    loading: int = 0
    phase: str = "Loading"
    driver: str = "none"
    reason: str = ""


def encode_memory(memory: Memory) -> dict[str, Any]:
    """Memory as plain data; models of which nothing is remembered are left out."""
    found = {
        name: msgspec.to_builtins(
            _Remembered(**{k: v for k, v in asdict(model).items() if k != _FORGOTTEN})
        )
        for name, model in sorted(memory.models.items())
    }
    return {name: entry for name, entry in found.items() if entry}


def decode_memory(written: object) -> Memory:
    """Memory from plain data. What cannot be read is forgotten: it is only advice."""
    try:
        models = msgspec.convert(written or {}, dict[str, _Remembered])
    except msgspec.ValidationError:
        return Memory()
    return Memory(
        models={name: ModelMemory(**msgspec.structs.asdict(one)) for name, one in models.items()}
    )


def encode_inventory(keys: Iterable[Key]) -> list[str]:
    """Names of objects, one short text each, sorted."""
    return sorted(f"{key.api_version} {key.kind} {key.namespace}/{key.name}" for key in keys)


def decode_inventory(written: object) -> frozenset[Key] | None:
    """The objects of an inventory; None where there is none that can be read."""
    if not isinstance(written, list):
        return None
    found = set()
    for entry in written:
        parts = entry.split(" ") if isinstance(entry, str) else ()
        if len(parts) != 3 or "/" not in parts[2]:
            return None
        namespace, _, name = parts[2].partition("/")
        found.add(Key(api_version=parts[0], kind=parts[1], namespace=namespace, name=name))
    return frozenset(found)


def models_status(models: Mapping[str, ModelStatus]) -> dict[str, Any]:
    """Every model as plain data, by name."""
    return {name: asdict(model) for name, model in sorted(models.items())}


def worth_writing(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a person or the next operator would miss the difference.

    Reasons that change with every request, and what only delays a scale-down, are not worth a
    write of their own.
    """
    return _essence(before) != _essence(after)


def _essence(status: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(status)
    found["memory"] = {
        name: {key: value for key, value in model.items() if key not in _PASSING}
        for name, model in _by_model(status.get("memory"))
    }
    found["replicas"] = {
        name: {key: value for key, value in model.items() if key != "reason"}
        for name, model in _by_model(status.get("replicas"))
    }
    found["conditions"] = [
        {**entry, "message": _NUMBER.sub("#", entry.get("message", ""))}
        for entry in status.get("conditions") or ()
    ]
    return found


def _by_model(written: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Entries of a map of maps; whatever else a person may have written there is left out."""
    if isinstance(written, Mapping):
        yield from ((name, one) for name, one in written.items() if isinstance(one, Mapping))
