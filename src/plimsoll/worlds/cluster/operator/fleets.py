"""Fleet objects of all namespaces add up: what each one means beside the others. Pure.

Every Fleet keeps its own models. Its pools, providers and tenants are offered to all; where two
define the same name, a Fleet takes its own, else the older one's. A Fleet that writes a `gateway`
section holds a gateway; the others are served by the oldest of those.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import msgspec

from plimsoll.errors import Diagnostic
from plimsoll.fleet import Fleet, Model
from plimsoll.fleet.branches import Branch, build
from plimsoll.fleet.problems import EnoughError, Problems
from plimsoll.fleet.references import check_references
from plimsoll.worlds.cluster.operator.called import taken_names
from plimsoll.worlds.cluster.operator.reading import (
    OFFERED,
    OPEN_REFERENCE,
    FleetKey,
    Reading,
    digest_of,
)

# References that may name what is not there (yet): what tenants and their keys may call, and
# what takes a request when a model cannot.
_OPTIONAL = re.compile(
    r"spec\.(models\[\d+\]\.fallbacks|tenants\[\d+\](\.keys\[\d+\])?\.models)\[\d+\]"
)
_NOUN = {"pools": "pool", "providers": "provider", "tenants": "tenant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """What one Fleet object means beside all others.

    key         namespace and name
    uid         of the object
    generation  of the object, as it was read
    fleet       its models, with everything that is offered to them; None where nothing of it was
                ever understood
    accepted    whether `fleet` is what the object says now; else it is what it said last
    problems    why it is not accepted
    clashes     names that an older Fleet has too, each with what follows from it
    loose       references to what no Fleet defines (yet), which do no harm
    unserved    models that no gateway serves, with the reason
    gateway     the Fleet whose gateway serves it; None where there is nothing to serve
    served      the Fleets that its own gateway serves, itself first
    own         names of its own pools, providers and tenants, by section
    digest      of everything that its objects are made from
    planning    of everything that its plan is made from
    """

    key: FleetKey
    uid: str = ""
    generation: int = 0
    fleet: Fleet | None = None
    accepted: bool = False
    problems: tuple[Diagnostic, ...] = ()
    clashes: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    unserved: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    gateway: FleetKey | None = None
    served: tuple[FleetKey, ...] = ()
    own: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    digest: str = ""
    planning: str = ""

    @property
    def holds_gateway(self) -> bool:
        """Whether a gateway is made for it."""
        return self.gateway == self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """All Fleets together.

    effective  what each means now
    good       the last reading of each that had no problems of its own
    """

    effective: Mapping[FleetKey, Effective] = field(default_factory=lambda: MappingProxyType({}))
    good: Mapping[FleetKey, Reading] = field(default_factory=lambda: MappingProxyType({}))


def add_up(readings: Iterable[Reading], before: Sum | None = None) -> Sum:
    """What every Fleet means now.

    before  the last sum: a Fleet that is not understood any more goes on as it was in it

    Fleets that are being deleted offer nothing and mean nothing. A gateway that runs keeps its
    Fleets, also where an operator that starts anew cannot understand the Fleet that it is of:
    otherwise each of the others would get one of its own.
    """
    before = before or Sum()
    present = sorted((one for one in readings if not one.deleting), key=lambda one: one.age)
    good = {one.key: last for one in present if (last := _last_good(one, before))}
    specs = {key: one.spec for key, one in good.items() if one.spec is not None}
    kept = frozenset(one.key for one in present if one.held and one.key not in specs)
    gateways = _gateways([one.key for one in present], specs, kept)
    offers = [one for one in present if one.key in good and good[one.key].offers]
    context = _Context(good=good, specs=specs, offered=tuple(one.key for one in offers))
    found: dict[FleetKey, Effective] = {}
    for members in _groups(gateways).values():
        found.update(context.group(members, gateways))
    effective = {}
    for one in present:
        holder = one.key if one.key in kept else None
        meant = found.get(one.key) or Effective(key=one.key, gateway=holder)
        effective[one.key] = _as_read(one, meant, before.effective.get(one.key))
    return Sum(effective=effective, good=good)


def _last_good(one: Reading, before: Sum) -> Reading | None:
    if one.readable:
        return one
    last = before.good.get(one.key)
    return last if last is not None and last.uid == one.uid else None


def _as_read(one: Reading, meant: Effective, before: Effective | None) -> Effective:
    """What a Fleet means, with what is wrong in its newest generation."""
    problems = one.problems or meant.problems
    accepted = one.readable and not problems and meant.fleet is not None
    if meant.fleet is None and before is not None and before.uid == one.uid:
        meant = before  # what it refers to has gone: it goes on as it was
    return replace(
        meant, uid=one.uid, generation=one.generation, accepted=accepted, problems=problems
    )


def _gateways(
    order: Sequence[FleetKey], specs: Mapping[FleetKey, Branch], kept: frozenset[FleetKey]
) -> dict[FleetKey, FleetKey | None]:
    """The holder of the gateway that serves each Fleet that is understood.

    order  all Fleets, the oldest first
    kept   those that are not understood, and whose gateway runs
    """
    holders = [key for key in order if key in kept or (key in specs and specs[key].has("gateway"))]
    found: dict[FleetKey, FleetKey | None] = {}
    for key, spec in specs.items():
        if key in holders:
            found[key] = key
        elif holders:
            found[key] = holders[0]
        else:
            found[key] = key if spec.branches("models") else None
    return found


def _groups(
    gateways: Mapping[FleetKey, FleetKey | None],
) -> dict[FleetKey | None, list[FleetKey]]:
    groups: dict[FleetKey | None, list[FleetKey]] = defaultdict(list)
    for key, holder in gateways.items():
        groups[holder].append(key)
    return groups


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What Fleets are looked at beside.

    good     the reading of each that counts, the oldest first
    specs    its spec
    offered  those that offer something, the oldest first
    """

    good: Mapping[FleetKey, Reading]
    specs: Mapping[FleetKey, Branch]
    offered: tuple[FleetKey, ...]

    def group(
        self, members: Sequence[FleetKey], gateways: Mapping[FleetKey, FleetKey | None]
    ) -> dict[FleetKey, Effective]:
        """The Fleets that one gateway serves, the oldest first."""
        wrong, loose = self._references(members)
        unserved = taken_names([(key, self.specs[key]) for key in members])
        found = {}
        for key in members:
            holder = gateways[key]
            served = [key, *(other for other in members if other != key)] if holder == key else []
            if wrong[key]:
                found[key] = Effective(
                    key=key, problems=tuple(wrong[key]), gateway=holder, served=tuple(served)
                )
                continue
            found[key] = self._effective(
                key,
                gateway=holder,
                served=tuple(served),
                unserved=unserved.get(key, {}),
                loose=loose[key],
            )
        return found

    def _references(
        self, members: Sequence[FleetKey]
    ) -> tuple[dict[FleetKey, list[Diagnostic]], dict[FleetKey, list[Diagnostic]]]:
        """What contradicts what is offered, and what names nothing but does no harm."""
        inside = set(members)
        specs = [self.specs[key] for key in members]
        specs += [_offer(self.specs[key]) for key in self.offered if key not in inside]
        problems = Problems()
        with contextlib.suppress(EnoughError):
            check_references(specs, problems)
        by_file = {str(key): key for key in members}
        wrong: dict[FleetKey, list[Diagnostic]] = {key: [] for key in members}
        loose: dict[FleetKey, list[Diagnostic]] = {key: [] for key in members}
        for problem in problems.found:
            key = by_file.get(problem.file)
            if key is None or problem.code == "fleet.duplicate":
                continue  # another's; or a name that two have, which `clashes` and `unserved` tell
            (loose if _harmless(problem) else wrong)[key].append(problem)
        return wrong, loose

    def _effective(
        self,
        key: FleetKey,
        *,
        gateway: FleetKey | None,
        served: tuple[FleetKey, ...],
        unserved: Mapping[str, str],
        loose: Sequence[Diagnostic],
    ) -> Effective:
        own = build(self.specs[key])
        clashes: list[str] = []
        sections = {name: self._section(name, key, own, clashes) for name in OFFERED}
        nothing = {problem.path for problem in loose}
        models = tuple(
            _without(model, f"spec.models[{index}].fallbacks", nothing)
            for index, model in enumerate(own.models)
            if model.name not in unserved
        )
        fleet = Fleet(
            name=key.name,
            namespace=key.namespace,
            models=models,
            gateway=own.gateway,
            **sections,
        )
        reading = self.good[key]
        others = [self.good[other] for other in self.offered if other != key]
        return Effective(
            key=key,
            fleet=fleet,
            clashes=(*clashes, *unserved.values()),
            loose=tuple(f"{problem.path}: {problem.message}" for problem in loose),
            unserved=unserved,
            gateway=gateway,
            served=served,
            own={name: frozenset(e.name for e in getattr(own, name)) for name in OFFERED},
            digest=digest_of(
                [
                    reading.digest,
                    [other.offers for other in others],
                    sorted(unserved),
                    sorted(nothing),
                    gateway,
                    [(one, self.good[one].digest) for one in served],
                ]
            ),
            planning=digest_of(
                [reading.digest, [o.pools for o in others if o.pools], sorted(unserved)]
            ),
        )

    def _section(
        self, section: str, key: FleetKey, own: Any, clashes: list[str]
    ) -> tuple[Any, ...]:
        """Own entries, then what others offer under other names; notes names that clash."""
        entries = {entry.name: entry for entry in getattr(own, section)}
        mine = frozenset(entries)
        older = True
        for other in self.offered:
            if other == key:
                older = False
                continue
            for branch in self.specs[other].branches(section):
                name = branch.get("name")
                if name in mine and older:
                    clashes.append(
                        f"{_NOUN[section]} `{name}` is defined by the older Fleet {other} too, "
                        "and others take that one"
                    )
                if name not in entries:
                    entries[name] = _of_namespace(build(branch), section, other.namespace)
        return tuple(entries.values())


def _offer(spec: Branch) -> Branch:
    kept = {name: value for name, value in spec.fields.items() if name in OFFERED}
    return Branch(spec.record, spec.place, kept, spec.broken)


def _of_namespace(entry: Any, section: str, namespace: str) -> Any:
    """A provider of another Fleet keeps its Secret's namespace."""
    if section != "providers" or entry.namespace is not None:
        return entry
    return msgspec.structs.replace(entry, namespace=namespace)


def _harmless(problem: Diagnostic) -> bool:
    """Whether a reference may name what is not there yet: it only gives less than it could.

    A tenant may be told of a model before its team creates it, and a fallback that is not there
    is passed over; a pool that is not there leaves a model nowhere to run.
    """
    return problem.code == OPEN_REFERENCE and _OPTIONAL.fullmatch(problem.path) is not None


def _without(model: Model, path: str, nothing: set[str]) -> Model:
    """The model without fallbacks that name nothing; `path` is that of its fallbacks."""
    kept = tuple(
        name for index, name in enumerate(model.fallbacks) if f"{path}[{index}]" not in nothing
    )
    return model if kept == model.fallbacks else msgspec.structs.replace(model, fallbacks=kept)
