"""From numbers to places: which replica sits on which accelerator of which node."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from plimsoll.plan.share.buckets import Bucket, Way
from plimsoll.plan.share.cover import cover
from plimsoll.plan.share.geometry import Counts, Layout, counts, patterns, placements
from plimsoll.plan.share.nodes import fill
from plimsoll.plan.share.packing import trimmed
from plimsoll.plan.share.turns import Part, Turns, take_turns
from plimsoll.plan.share.types import Gpu, Offer, Seat, Sharing

Taken = Mapping[Bucket, Sequence[tuple[Way, int]]]  # ways and their replicas in each bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Accelerators that lie in one node, with their seats; node and index are not yet given."""

    gpus: tuple[Gpu, ...]


def parts_of(held: Sequence[tuple[Way, int]]) -> tuple[Part, ...]:
    """What takes turns, as the arithmetic of turns sees it."""
    return tuple(
        Part(
            name=way.service.name,
            share=way.alternative.share,
            memory=way.alternative.memory,
            count=count,
        )
        for way, count in held
        if count
    )


def turns_of(held: Sequence[tuple[Way, int]], offer: Offer) -> Turns:
    """The fewest accelerators of the offer on which these replicas take turns."""
    return take_turns(parts_of(held), memory=offer.memory, slots=offer.slots)


def seated(taken: Taken, offers: Sequence[Offer]) -> tuple[Gpu, ...]:
    """Every accelerator of every rented node, by offer and node; the fewest nodes that do."""
    numbers = _Numbers()
    found: list[Gpu] = []
    for offer in offers:
        here = {bucket: held for bucket, held in taken.items() if bucket.offer == offer.name}
        plain = [
            piece
            for bucket, held in here.items()
            if bucket.kind != "alike"
            for piece in _pieces(bucket, held, offer, numbers)
        ]
        fixed = _fixed(offer)
        idle = _gpu(offer, "mig" if fixed else "none", layout=fixed)
        found.extend(_in_nodes(offer, plain, 0, idle))
        for group in _alike_groups(here):
            alike = [piece for b in group for piece in _alike(b, here[b], offer, numbers)]
            first = found[-1].node + 1 if found and found[-1].offer == offer.name else 0
            found.extend(_in_nodes(offer, alike, first, _idle(group[0], offer)))
    return tuple(found)


class _Numbers:
    """The next replica number of each service."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, service: str) -> int:
        number = self._next.get(service, 0)
        self._next[service] = number + 1
        return number


def _pieces(
    bucket: Bucket, held: Sequence[tuple[Way, int]], offer: Offer, numbers: _Numbers
) -> Iterator[_Piece]:
    if bucket.kind == "whole":
        yield from _whole(bucket, held, offer, numbers)
    elif bucket.kind == "cut":
        yield from _cut(bucket, held, offer, numbers)
    else:
        yield from _in_turns(bucket, held, offer, numbers)


def _whole(
    bucket: Bucket, held: Sequence[tuple[Way, int]], offer: Offer, numbers: _Numbers
) -> Iterator[_Piece]:
    for way, count in held:
        for _ in range(count):
            seat = Seat(service=way.service.name, replica=numbers.take(way.service.name))
            gpu = replace(_gpu(offer, bucket.sharing), seats=(seat,))
            for _ in range(way.alternative.nodes):
                yield _Piece(gpus=(gpu,) * bucket.size)


def _cut(
    bucket: Bucket, held: Sequence[tuple[Way, int]], offer: Offer, numbers: _Numbers
) -> Iterator[_Piece]:
    geometry = offer.geometry
    assert geometry is not None
    waiting: dict[str, deque[str]] = {profile.name: deque() for profile in geometry.profiles}
    for way, count in held:
        waiting[way.alternative.profile].extend([way.service.name] * count)
    wanted = tuple(len(waiting[profile.name]) for profile in geometry.profiles)
    fixed = _fixed(offer)
    ways: Sequence[Counts] = (
        (counts(geometry, offer.layout),) if offer.layout else patterns(geometry)
    )
    found = cover(ways, wanted)
    assert found is not None, "refused where the layout lacks the profile"
    for run in trimmed(geometry, wanted, zip(ways, found.uses, strict=True)):
        layout = fixed or run.layout
        for _ in range(run.count):
            gpu = _gpu(offer, bucket.sharing, layout=layout)
            seats = _instances(layout, waiting, numbers)
            yield _Piece(gpus=(replace(gpu, seats=seats),))


def _gpu(offer: Offer, sharing: Sharing = "none", *, slots: int = 0, layout: Layout = ()) -> Gpu:
    """An accelerator without anybody on it, not yet in a node."""
    return Gpu(offer=offer.name, node=0, index=0, sharing=sharing, slots=slots, layout=layout)


def _instances(
    layout: Layout, waiting: Mapping[str, deque[str]], numbers: _Numbers
) -> tuple[Seat, ...]:
    seats = []
    for instance in layout:
        queue = waiting[instance.profile]
        if queue:
            name = queue.popleft()
            seats.append(
                Seat(
                    service=name,
                    replica=numbers.take(name),
                    start=instance.start,
                    profile=instance.profile,
                )
            )
    return tuple(seats)


def _in_turns(
    bucket: Bucket, held: Sequence[tuple[Way, int]], offer: Offer, numbers: _Numbers
) -> Iterator[_Piece]:
    parts = parts_of(held)
    for counted in turns_of(held, offer).gpus:
        seats = tuple(
            Seat(service=part.name, replica=numbers.take(part.name), share=part.share)
            for part, count in zip(parts, counted, strict=True)
            for _ in range(count)
        )
        slots = 0 if bucket.sharing == "dra" else offer.slots or len(seats)
        gpu = _gpu(offer, bucket.sharing, slots=slots)
        yield _Piece(gpus=(replace(gpu, seats=seats),))


def _fixed(offer: Offer) -> Layout:
    """The instances of every accelerator of the offer, where the pool fixes them."""
    if not offer.layout or offer.geometry is None:
        return ()
    return placements(offer.geometry)[counts(offer.geometry, offer.layout)]


def _alike_groups(here: Taken) -> list[list[Bucket]]:
    """Buckets whose accelerators may be in one node: alike but for their owner."""
    groups: dict[Bucket, list[Bucket]] = {}
    for bucket in here:
        if bucket.kind == "alike":
            groups.setdefault(replace(bucket, owner=None), []).append(bucket)
    return list(groups.values())


def _idle(bucket: Bucket, offer: Offer) -> Gpu:
    """An accelerator of a node that is set up for the bucket, with nobody on it."""
    if not bucket.profile:
        return _gpu(offer, bucket.sharing, slots=bucket.slots)
    assert offer.geometry is not None
    key = counts(offer.geometry, [bucket.profile] * bucket.slots)
    return _gpu(offer, bucket.sharing, layout=placements(offer.geometry)[key])


def _alike(
    bucket: Bucket, held: Sequence[tuple[Way, int]], offer: Offer, numbers: _Numbers
) -> Iterator[_Piece]:
    idle = _idle(bucket, offer)
    queue = [way.service.name for way, count in held for _ in range(count)]
    for first in range(0, len(queue), bucket.slots):
        seats = tuple(
            Seat(
                service=name,
                replica=numbers.take(name),
                start=idle.layout[place].start if idle.layout else None,
                profile=bucket.profile,
                share=1.0 if idle.layout else 1 / bucket.slots,
            )
            for place, name in enumerate(queue[first : first + bucket.slots])
        )
        yield _Piece(gpus=(replace(idle, seats=seats),))


def _in_nodes(offer: Offer, pieces: Sequence[_Piece], first: int, idle: Gpu) -> Iterator[Gpu]:
    """The pieces in the fewest nodes, numbered from `first`; the rest of a node is `idle`."""
    by_size: dict[int, deque[_Piece]] = {}
    for piece in pieces:
        by_size.setdefault(len(piece.gpus), deque()).append(piece)
    filled = fill({size: len(queue) for size, queue in by_size.items()}, offer.per_node)
    for node, sizes in enumerate(filled, start=first):
        gpus = [gpu for size in sizes for gpu in by_size[size].popleft().gpus]
        gpus += [idle] * (offer.per_node - len(gpus))
        for index, gpu in enumerate(gpus):
            yield replace(gpu, node=node, index=index)
