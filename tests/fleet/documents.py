"""Fleet documents made at random from the types, nearly right on purpose."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

from plimsoll.errors import InputError
from plimsoll.fleet.credentials import Credential
from plimsoll.fleet.engines import Adapter, Draft
from plimsoll.fleet.kinds import Choice, Flag, Integer, Kind, Number, Text
from plimsoll.fleet.quantities import Auto, Count, Duration, Size
from plimsoll.fleet.shapes import ListShape, Record, RecordShape, Shape, TableShape, fields_of
from plimsoll.fleet.types import API_VERSION, KIND, Spec

CANDIDATES = (
    "a", "b", "m0", "m1", "p0", "t0", "team-1", "v1.2", "A_B", "/health", "*", "m0/*", "cluster",
    "0 8 * * 1-5", "3g.40gb", "2027-06-30", "0" * 64, "https://host/v1", "redis://valkey:6379",
    "postgresql://u@db/x", "sqlite:x.db", "x-session-id", "Europe/Dublin", "gpu.nvidia.com", "w x",
    "registry.example.com/x:1", "ünïcode \U0001f600", "no", "1e3", "0x10", "12", "null", "~", "",
)  # fmt: skip
SOURCES = (
    "builtin:demo", "file:models/a.gguf", "file:/a b.gguf", "hf://o/n", "hf://o/n@main/x.gguf",
    "https://h/x", "http://localhost:1/x", "s3://bucket/key", "gs://bucket/dir/", "pvc://claim/p",
    "oci://r.io/x/y:1", "hf:broken", "http://far/x",
)  # fmt: skip
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e300, 2**70, "", "x" * 300, "auto", [], {}, [[]], {"a": {}}, "\x00",
    "\n", "\ud800",
)  # fmt: skip


@cache
def fitting(kind: Text) -> tuple[str, ...]:
    """The candidates that a kind of text accepts."""
    found = []
    for word in CANDIDATES:
        try:
            found.append(kind.read(word))
        except InputError:
            continue
    return tuple(found) or ("a",)


def quantity(kind: Kind, rng: Random) -> Any:
    if isinstance(kind, Size):
        return rng.choice([kind.minimum, kind.minimum or 1, "1Gi", "512Mi", "1.5Gi", "2G"])
    if isinstance(kind, Count):
        return rng.choice([kind.minimum, kind.maximum, "1k", "1.5k", 1000.0])
    assert isinstance(kind, Duration)
    return rng.choice(["500ms", "1s", "60s", "1h30m", "1d", "0.0015s", kind.write(kind.minimum)])


def scalar(kind: Kind, rng: Random) -> Any:
    """A value that a kind accepts, most of the time."""
    if isinstance(kind, Flag):
        return rng.random() < 0.5
    if isinstance(kind, Choice):
        return rng.choice(kind.words)
    if isinstance(kind, Text):
        return rng.choice(fitting(kind))
    if isinstance(kind, Integer):
        return rng.choice([kind.minimum, kind.maximum, min(kind.maximum, kind.minimum + 2)])
    if isinstance(kind, Number):
        return rng.choice([max(kind.minimum, 0.5), kind.maximum, 1, 2.25])
    if isinstance(kind, Auto):
        return "auto" if rng.random() < 0.3 else scalar(kind.of, rng)
    if isinstance(kind, Size | Count | Duration):
        return quantity(kind, rng)
    return rng.choice(SOURCES)


def value(shape: Shape, rng: Random, wrong: float) -> Any:
    if rng.random() < wrong:
        return rng.choice(JUNK)
    if isinstance(shape, RecordShape):
        return record(shape.record, rng, wrong)
    if isinstance(shape, ListShape):
        length = rng.choice([max(1, shape.bounds.least), shape.bounds.least, 2])
        items = [value(shape.item, rng, wrong) for _ in range(length)]
        return items if isinstance(shape.item, RecordShape) else sorted(set(map(str, items)))
    if isinstance(shape, TableShape):
        return {f"key-{n}": rng.choice(CANDIDATES) for n in range(rng.randrange(3))}
    return scalar(shape, rng)


def record(
    kind: Record, rng: Random, wrong: float, share: float = 0.2, *, tidy: bool = True
) -> dict[str, Any]:
    """A record with its required fields and a share of the others; tidy: few rules are broken."""
    if tidy and kind is Credential and rng.random() > wrong:
        return rng.choice([{"env": "TOKEN"}, {"secret": "s", "key": "k"}])
    found: dict[str, Any] = {}
    for field in fields_of(kind):
        if field.required or rng.random() < share:
            found[field.name] = value(field.shape, rng, wrong)
    if tidy and kind in (Adapter, Draft):
        found["source"] = "hf://o/n"
        found.pop("sha256", None)
    if rng.random() < wrong:
        found[rng.choice(["nmae", "x", "1", ""])] = rng.choice(JUNK)
    return found


def document(seed: int) -> dict[str, Any]:
    """A Fleet document: mostly right for one half of the seeds, with mistakes for the other."""
    rng = Random(seed)
    wrong = rng.choice([0.0, 0.0, 0.02, 0.2])
    spec: dict[str, Any] = {}
    for field in fields_of(Spec):
        if isinstance(field.shape, RecordShape):
            if rng.random() < 0.5:
                spec[field.name] = record(field.shape.record, rng, wrong)
            continue
        assert isinstance(field.shape, ListShape)
        assert isinstance(field.shape.item, RecordShape)
        entries = [
            record(field.shape.item.record, rng, wrong, share=rng.choice([0.0, 0.1, 0.3]))
            for _ in range(rng.randrange(3))
        ]
        for index, entry in enumerate(entries):
            entry["name"] = f"{field.name[0]}{index}"
        spec[field.name] = entries
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "made"}, "spec": spec}
