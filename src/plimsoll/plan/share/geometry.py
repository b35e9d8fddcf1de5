"""How one accelerator may be cut into MIG instances: every legal state, none that is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from plimsoll.errors import InputError
from plimsoll.facts.mig import mig_profiles
from plimsoll.facts.nearest import nearest_hint

Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A kind of MIG instance.

    name     `3g.40gb`
    compute  compute slices that it takes
    memory   memory slices that it takes, side by side
    starts   memory slices at which it may begin, ascending
    most     instances of it on one accelerator
    """

    name: str
    compute: int
    memory: int
    starts: tuple[int, ...]
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What an accelerator can be cut into.

    accelerator  its name
    compute      compute slices in all (7, or 4)
    memory       memory slices in all (8, or 4)
    profiles     kinds of instances, largest first
    """

    accelerator: str
    compute: int
    memory: int
    profiles: tuple[Profile, ...]

    def profile(self, name: str) -> Profile:
        """The profile of that name. Raises InputError with the nearest names."""
        return self.profiles[self.position(name)]

    def position(self, name: str) -> int:
        """Where the profile of that name is in `profiles`. Raises InputError."""
        found = _positions(self).get(name)
        if found is None:
            raise InputError(
                f"{self.accelerator} has no MIG profile `{name}`",
                hint=nearest_hint(name, [profile.name for profile in self.profiles]),
                code="share.profile-unknown",
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Instance:
    """One MIG instance on an accelerator.

    start    memory slice at which it begins
    profile  name of its profile
    """

    start: int
    profile: str


Layout = tuple[Instance, ...]


@cache
def mig_geometry(accelerator: str) -> Geometry | None:
    """How an accelerator of the catalogue can be cut; None where it has no MIG."""
    known = mig_profiles(accelerator)
    if not known:
        return None
    profiles = (
        Profile(
            name=row.name,
            compute=row.compute_slices,
            memory=row.memory_slices,
            starts=row.starts,
            most=row.most,
        )
        for row in known
    )
    return geometry_of(accelerator, profiles)


def geometry_of(accelerator: str, profiles: Iterable[Profile]) -> Geometry:
    """The geometry of an accelerator with these profiles; the totals are those of the largest.

    The largest profile is the whole accelerator: 7 compute and 8 memory slices, or 4 and 4.
    Raises InputError where there is no profile.
    """
    ordered = tuple(sorted(profiles, key=lambda p: (-p.memory, -p.compute, p.name)))
    if not ordered:
        raise InputError(f"{accelerator} has no MIG", code="share.no-mig")
    return Geometry(
        accelerator=accelerator,
        compute=max(profile.compute for profile in ordered),
        memory=max(profile.memory for profile in ordered),
        profiles=ordered,
    )


def fault(geometry: Geometry, layout: Layout) -> str:
    """Why an accelerator cannot hold these instances at once, in words; empty where it can.

    Raises InputError for a profile that the accelerator does not have.
    """
    taken: dict[int, Instance] = {}
    compute = 0
    count: dict[str, int] = {}
    for instance in layout:
        profile = geometry.profile(instance.profile)
        if instance.start not in profile.starts:
            return f"`{profile.name}` cannot begin at memory slice {instance.start}"
        for place in range(instance.start, instance.start + profile.memory):
            if place in taken:
                return f"`{profile.name}` and `{taken[place].profile}` overlap at slice {place}"
            taken[place] = instance
        compute += profile.compute
        count[profile.name] = count.get(profile.name, 0) + 1
        if count[profile.name] > profile.most:
            return f"at most {profile.most} of `{profile.name}` on one accelerator"
    if compute > geometry.compute:
        return f"{compute} compute slices, and there are {geometry.compute}"
    return ""


def counts(geometry: Geometry, names: Iterable[str]) -> Counts:
    """How many of each profile, in the order of `geometry.profiles`. Raises InputError."""
    positions = _positions(geometry)
    found = [0] * len(positions)
    for name in names:
        found[positions[name] if name in positions else geometry.position(name)] += 1
    return tuple(found)


def demanded(geometry: Geometry, demands: Mapping[str, int]) -> Counts:
    """Wanted instances per profile, in the order of `geometry.profiles`. Raises InputError."""
    found = [0] * len(geometry.profiles)
    for name, number in demands.items():
        if number < 0:
            raise InputError(f"{number} instances of `{name}`", code="share.negative")
        found[geometry.position(name)] += number
    return tuple(found)


@cache
def layouts(geometry: Geometry) -> tuple[Layout, ...]:
    """Every legal state, the empty one among them; instances in the order of their starts."""
    return tuple(_states(geometry, 0, (), geometry.compute))


def _states(geometry: Geometry, at: int, sofar: Layout, compute: int) -> Iterator[Layout]:
    """States whose instances before memory slice `at` are `sofar`."""
    if at >= geometry.memory:
        yield sofar
        return
    yield from _states(geometry, at + 1, sofar, compute)
    for profile in geometry.profiles:
        fits = at in profile.starts and at + profile.memory <= geometry.memory
        held = sum(instance.profile == profile.name for instance in sofar)
        if fits and profile.compute <= compute and held < profile.most:
            more = (*sofar, Instance(start=at, profile=profile.name))
            yield from _states(geometry, at + profile.memory, more, compute - profile.compute)


def additions(geometry: Geometry, layout: Layout) -> tuple[Instance, ...]:
    """Every instance that could be made beside these legal ones, largest profile first."""
    taken = 0
    compute = geometry.compute
    held: dict[str, int] = {}
    positions = _positions(geometry)
    for instance in layout:
        profile = geometry.profiles[positions[instance.profile]]
        taken |= _bits(profile, instance.start)
        compute -= profile.compute
        held[profile.name] = held.get(profile.name, 0) + 1
    return tuple(
        Instance(start=start, profile=profile.name)
        for profile in geometry.profiles
        if profile.compute <= compute and held.get(profile.name, 0) < profile.most
        for start in profile.starts
        if not taken & _bits(profile, start) and start + profile.memory <= geometry.memory
    )


@cache
def full(geometry: Geometry) -> tuple[Layout, ...]:
    """Every state to which no instance can be added."""
    return tuple(layout for layout in layouts(geometry) if not additions(geometry, layout))


@cache
def placements(geometry: Geometry) -> Mapping[Counts, Layout]:
    """How each realisable number of instances per profile is placed.

    Of the states with the same instances, the one that leaves the most starts of the largest
    profile free, then of the next, and so on; then the one with the earliest starts.
    """
    best: dict[Counts, tuple[tuple[int, ...], Layout]] = {}
    for layout in layouts(geometry):
        key = counts(geometry, (instance.profile for instance in layout))
        free = counts(geometry, (instance.profile for instance in additions(geometry, layout)))
        rank = tuple(-number for number in free)
        if key not in best or (rank, layout) < best[key]:
            best[key] = (rank, layout)
    return {key: layout for key, (_, layout) in best.items()}


def placed(geometry: Geometry, wanted: Counts) -> Layout | None:
    """Where these instances go on one accelerator, or None where they do not fit together."""
    return placements(geometry).get(wanted)


@cache
def patterns(geometry: Geometry) -> tuple[Counts, ...]:
    """Realisable numbers of instances per profile that no other exceeds, largest first."""
    return undominated(placements(geometry))


def undominated(vectors: Iterable[Counts]) -> tuple[Counts, ...]:
    """The vectors that no other reaches in every entry, in descending order."""
    kept: list[Counts] = []
    for vector in sorted(set(vectors), reverse=True, key=lambda v: (sum(v), v)):
        if not any(all(a >= b for a, b in zip(k, vector, strict=True)) for k in kept):
            kept.append(vector)
    return tuple(sorted(kept, reverse=True))


@cache
def _positions(geometry: Geometry) -> Mapping[str, int]:
    return {profile.name: index for index, profile in enumerate(geometry.profiles)}


def _bits(profile: Profile, start: int) -> int:
    return ((1 << profile.memory) - 1) << start
