"""One Fleet object, read on its own: what it says, as far as it can be read, and what is wrong.

References to what other Fleets may define are left open; `fleets.add_up` resolves them. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from plimsoll.errors import Diagnostic
from plimsoll.fleet import API_VERSION, KIND, Document
from plimsoll.fleet.branches import Branch
from plimsoll.fleet.header import Part, read_part
from plimsoll.fleet.nodes import parse
from plimsoll.fleet.problems import EnoughError, Problems
from plimsoll.fleet.reading import Reader
from plimsoll.fleet.references import check_references

OPEN_REFERENCE = "fleet.reference"  # names something that this document does not define
OFFERED = ("pools", "providers", "tenants")  # sections that every other Fleet may use


class FleetKey(NamedTuple):
    """Namespace and name of a Fleet object; written `namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One generation of a Fleet object.

    key          namespace and name
    uid          of the object; another one under the same name is another Fleet
    generation   of its spec
    created      seconds since 1970; 0 where the object does not say
    deleting     whether it is on its way out
    annotations  of the object
    spec         what it says; None where it could not be read
    problems     everything that is wrong with it on its own
    digest       of the spec's text
    offers       of the text of the sections that other Fleets may use; empty where there are none
    pools        of the text of its pools; empty where there are none
    held         whether it asks for a gateway of its own, and its status says that it had one
    """

    key: FleetKey
    uid: str
    generation: int
    created: float
    deleting: bool
    annotations: Mapping[str, str]
    spec: Branch | None
    problems: tuple[Diagnostic, ...]
    digest: str
    offers: str
    pools: str
    held: bool = False

    @property
    def age(self) -> tuple[float, FleetKey]:
        """What orders Fleets, the oldest first."""
        return (self.created, self.key)

    @property
    def readable(self) -> bool:
        """Whether nothing is wrong with it on its own."""
        return self.spec is not None and not self.problems


def key_of(fleet: Mapping[str, Any]) -> FleetKey:
    """Namespace and name of an object."""
    meta = fleet["metadata"]
    return FleetKey(meta.get("namespace", ""), meta["name"])


def seconds_of(written: str | None) -> float:
    """Seconds since 1970 of a time as the API writes it; 0 for none."""
    return datetime.fromisoformat(written).timestamp() if written else 0.0


def read_object(fleet: Mapping[str, Any]) -> Reading:
    """Read one Fleet object; never raises for what a person wrote in it."""
    meta, spec = fleet["metadata"], fleet.get("spec")
    key = key_of(fleet)
    document = {
        "apiVersion": fleet.get("apiVersion", API_VERSION),
        "kind": fleet.get("kind", KIND),
        "metadata": {"name": key.name, "namespace": key.namespace},
        "spec": spec,
    }
    branch, problems = _read(Document(file=str(key), text=msgspec.json.encode(document)))
    sections = spec if isinstance(spec, Mapping) else {}
    offers = {name: sections[name] for name in OFFERED if sections.get(name)}
    return Reading(
        key=key,
        uid=meta.get("uid", ""),
        generation=meta.get("generation", 0),
        created=seconds_of(meta.get("creationTimestamp")),
        deleting=bool(meta.get("deletionTimestamp")),
        annotations=meta.get("annotations") or {},
        spec=branch,
        problems=problems,
        digest=digest_of(spec),
        offers=digest_of(offers) if offers else "",
        pools=digest_of(sections["pools"]) if sections.get("pools") else "",
        held="gateway" in sections and (fleet.get("status") or {}).get("gateway") == str(key),
    )


def digest_of(value: object) -> str:
    """A short checksum of plain data; the order of the keys of a map does not matter."""
    text = msgspec.json.encode(value, order="deterministic")
    return hashlib.sha256(text).hexdigest()[:20]


def _read(document: Document) -> tuple[Branch | None, tuple[Diagnostic, ...]]:
    problems = Problems()
    parts: list[Part] = []
    try:
        nodes, found = parse(document)
        reader = Reader(document.file, problems)
        parts.extend(read_part(reader, node) for node in nodes)
        problems.found.extend(found)
        check_references([part.spec for part in parts if part.spec is not None], problems)
    except EnoughError:
        pass  # the first thousand problems are enough to read
    own = tuple(problem for problem in problems.found if problem.code != OPEN_REFERENCE)
    return (parts[0].spec if parts else None), own
