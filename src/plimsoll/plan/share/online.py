"""Instances that come and go on MIG accelerators, with few re-partitions. State in, state out.

A re-partition means draining the accelerator and resetting it, so it is done only where nobody is,
or, when nothing else is left, on one accelerator whose replicas all have a place to go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from plimsoll.errors import DoesNotFit, InputError
from plimsoll.plan.share.geometry import (
    Counts,
    Geometry,
    Instance,
    Layout,
    additions,
    counts,
    patterns,
    placements,
)

Rule = Literal["bestFit", "firstFit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A MIG instance that exists, and who has it.

    start    memory slice at which it begins
    profile  name of its profile
    replica  who has it; empty where it is idle
    """

    start: int
    profile: str
    replica: str = ""


Card = tuple[Slot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """MIG accelerators of one type, and who is on them.

    geometry  how each can be cut
    cards     instances of each accelerator
    live      whether single instances may be made and removed beside others that run (driver calls
              or DRA); otherwise a layout changes only as a whole, on a drained accelerator (the
              cluster's mig-manager)
    arrived   arrivals so far by profile, in the order of `geometry.profiles`
    """

    geometry: Geometry
    cards: tuple[Card, ...]
    live: bool = False
    arrived: Counts = ()

    @property
    def busy(self) -> int:
        """Accelerators with somebody on them."""
        return sum(any(slot.replica for slot in card) for card in self.cards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repartition:
    """Drain an accelerator, reset it, make these instances.

    card    number of the accelerator
    layout  instances to make
    """

    card: int
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Start a replica on an instance, which is made first where the state is `live`.

    replica  who
    card     number of the accelerator
    start    memory slice
    profile  of the instance
    moved    whether it ran elsewhere, or on this accelerator before it was drained
    """

    replica: str
    card: int
    start: int
    profile: str
    moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """A replica is gone; its instance is idle, or removed where the state is `live`.

    replica  who
    card     number of the accelerator
    start    memory slice
    """

    replica: str
    card: int
    start: int


Action = Repartition | Put | Free


def empty(geometry: Geometry, cards: int, *, live: bool = False) -> State:
    """Accelerators that nobody has cut yet."""
    return State(
        geometry=geometry, cards=((),) * cards, live=live, arrived=(0,) * len(geometry.profiles)
    )


def arrive(
    state: State, replica: str, profile: str, *, rule: Rule = "bestFit"
) -> tuple[State, tuple[Action, ...]]:
    """A place for a replica that needs an instance of the profile.

    In this order: an idle instance, or a free place where instances are made live; an accelerator
    with nobody on it, cut anew; an accelerator that is drained. `firstFit` takes the first of each
    and cuts for the one profile alone; it is there to be compared with.

    Raises InputError for a name that is taken or an unknown profile, DoesNotFit without room.
    """
    position = state.geometry.position(profile)
    if not replica or any(slot.replica == replica for card in state.cards for slot in card):
        raise InputError(f"`{replica}` is already placed, or no name", code="share.duplicate")
    arrived = tuple(n + (i == position) for i, n in enumerate(state.arrived))
    state = replace(state, arrived=arrived)
    for way in (_make if state.live else _take, _recut, _drain):
        found = way(state, replica, profile, rule)
        if found is not None:
            return found
    raise DoesNotFit(
        f"no accelerator of {len(state.cards)} has room for `{profile}`, drained or not",
        where=replica,
        hint="take a smaller profile, or more accelerators",
        code="share.no-room",
    )


def depart(state: State, replica: str) -> tuple[State, tuple[Action, ...]]:
    """The state without a replica. Raises InputError where it is not placed."""
    for number, card in enumerate(state.cards):
        for slot in card:
            if slot.replica and slot.replica == replica:
                rest = tuple(other for other in card if other is not slot)
                if not state.live:
                    rest = _sorted((*rest, replace(slot, replica="")))
                gone = Free(replica=replica, card=number, start=slot.start)
                return _with(state, number, rest), (gone,)
    raise InputError(f"`{replica}` is not placed", code="share.unknown-replica")


_Found = tuple[State, tuple[Action, ...]] | None


def _take(state: State, replica: str, profile: str, rule: Rule) -> _Found:
    """An idle instance, on the accelerator that has the most in use: others then fall empty."""
    idle = [
        (number, slot)
        for number, card in enumerate(state.cards)
        for slot in card
        if slot.profile == profile and not slot.replica
    ]
    if not idle:
        return None
    number, slot = idle[0]
    if rule == "bestFit":
        number, slot = max(idle, key=lambda pair: (_in_use(state, pair[0]), -pair[0]))
    return _put(state, replica, number, slot, ())


def _make(state: State, replica: str, profile: str, rule: Rule) -> _Found:
    """A free place on an accelerator in use, where it takes the fewest starts from others."""
    best: tuple[tuple[bool, int, int, int], int, Instance] | None = None
    for number, card in enumerate(state.cards):
        layout = _layout(card)
        for instance in additions(state.geometry, layout):
            if instance.profile != profile:
                continue
            if rule == "firstFit":
                return _put(state, replica, number, _slot(instance), ())
            lost = _freedom(state.geometry, layout) - _freedom(
                state.geometry, _ordered((*layout, instance))
            )
            rank = (not card, lost, -_in_use(state, number), number)
            if best is None or rank < best[0]:
                best = (rank, number, instance)
    return None if best is None else _put(state, replica, best[1], _slot(best[2]), ())


def _recut(state: State, replica: str, profile: str, rule: Rule) -> _Found:
    """An accelerator with nobody on it, one that is not cut yet before others."""
    if state.live:
        return None
    unused = [n for n, card in enumerate(state.cards) if not any(s.replica for s in card)]
    if not unused:
        return None
    number = unused[0]
    if rule == "bestFit":
        number = min(unused, key=lambda n: (_in_stock(state, n), n))
    layout = _cut_for(state, number, (profile,), rule)
    assert layout is not None, "a profile fits on an accelerator of its own"
    recut = _with(state, number, tuple(_slot(instance) for instance in layout))
    slot = next(slot for slot in recut.cards[number] if slot.profile == profile)
    return _put(recut, replica, number, slot, (Repartition(card=number, layout=layout),))


def _drain(state: State, replica: str, profile: str, rule: Rule) -> _Found:
    """One accelerator, the one with the fewest replicas, is emptied and cut so that all fit."""
    order = sorted(range(len(state.cards)), key=lambda n: (_replicas(state.cards[n]), n))
    for number in order:
        found = _drained(state, number, replica, profile, rule)
        if found is not None:
            return found
    return None


def _drained(state: State, number: int, replica: str, profile: str, rule: Rule) -> _Found:
    """Replicas go to idle instances of other accelerators where there are any, others come back."""
    actions: list[Action] = []
    staying = []
    now = _with(state, number, ())
    for slot in state.cards[number]:
        if not slot.replica:
            continue
        elsewhere = None if state.live else _take(now, slot.replica, slot.profile, rule)
        if elsewhere is None:
            staying.append(slot)
            continue
        now, done = elsewhere
        actions.extend(replace(act, moved=True) for act in done if isinstance(act, Put))
    wanted = (profile, *(slot.profile for slot in staying))
    layout = _cut_for(now, number, wanted, rule)
    if layout is None:
        return None
    actions.append(Repartition(card=number, layout=layout))
    now = _with(now, number, tuple(_slot(instance) for instance in layout))
    for name, kind, moved in (
        *((slot.replica, slot.profile, True) for slot in staying),
        (replica, profile, False),
    ):
        place = next(s for s in now.cards[number] if s.profile == kind and not s.replica)
        now, done = _put(now, name, number, place, ())
        actions.extend(replace(act, moved=moved) for act in done if isinstance(act, Put))
    if state.live:
        now = _with(now, number, tuple(s for s in now.cards[number] if s.replica))
    return now, tuple(actions)


def _put(
    state: State, replica: str, number: int, slot: Slot, before: tuple[Action, ...]
) -> tuple[State, tuple[Action, ...]]:
    rest = tuple(other for other in state.cards[number] if other.start != slot.start)
    card = _sorted((*rest, replace(slot, replica=replica)))
    put = Put(replica=replica, card=number, start=slot.start, profile=slot.profile)
    return _with(state, number, card), (*before, put)


def _cut_for(state: State, number: int, wanted: tuple[str, ...], rule: Rule) -> Layout | None:
    """A layout with the wanted instances, the rest for what is likely to come; None without one.

    Each further instance is worth its memory times how often its profile came, shared with the
    idle instances of that profile that there are already.
    """
    geometry = state.geometry
    need = counts(geometry, wanted)
    fitting = [p for p in patterns(geometry) if all(a >= b for a, b in zip(p, need, strict=True))]
    if not fitting:
        return None
    if state.live:
        return placements(geometry)[need]
    if rule == "firstFit":
        position = geometry.position(wanted[0])
        return placements(geometry)[max(fitting, key=lambda pattern: pattern[position])]
    idle = counts(
        geometry,
        (s.profile for n, c in enumerate(state.cards) if n != number for s in c if not s.replica),
    )

    def worth(pattern: Counts) -> float:
        return sum(
            profile.memory * came / (there + extra + 1)
            for profile, came, there, have, taken in zip(
                geometry.profiles, state.arrived, idle, pattern, need, strict=True
            )
            for extra in range(have - taken)
        )

    return placements(geometry)[max(fitting, key=worth)]


@cache
def _freedom(geometry: Geometry, layout: Layout) -> int:
    """Memory slices of all instances that could still be made, each counted at each start."""
    sizes = {profile.name: profile.memory for profile in geometry.profiles}
    return sum(sizes[instance.profile] for instance in additions(geometry, layout))


def _in_use(state: State, number: int) -> int:
    sizes = {profile.name: profile.memory for profile in state.geometry.profiles}
    return sum(sizes[slot.profile] for slot in state.cards[number] if slot.replica)


def _in_stock(state: State, number: int) -> int:
    """How often the accelerator's idle instances have been wanted."""
    positions = (state.geometry.position(slot.profile) for slot in state.cards[number])
    return sum(state.arrived[position] for position in positions)


def _replicas(card: Card) -> int:
    return sum(bool(slot.replica) for slot in card)


def _slot(instance: Instance) -> Slot:
    return Slot(start=instance.start, profile=instance.profile)


def _layout(card: Card) -> Layout:
    return tuple(Instance(start=slot.start, profile=slot.profile) for slot in card)


def _ordered(layout: Layout) -> Layout:
    return tuple(sorted(layout))


def _sorted(slots: tuple[Slot, ...]) -> Card:
    return tuple(sorted(slots, key=lambda slot: slot.start))


def _with(state: State, number: int, card: Card) -> State:
    cards = (*state.cards[:number], card, *state.cards[number + 1 :])
    return replace(state, cards=cards)


def repartitions(actions: tuple[Action, ...]) -> Iterator[Repartition]:
    """The re-partitions among actions; each costs a drain and a reset."""
    return (action for action in actions if isinstance(action, Repartition))
