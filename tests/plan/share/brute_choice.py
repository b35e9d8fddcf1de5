"""Joint choices by trying everything, and everything that may be wrong with an assignment."""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement, product

from tests.plan.share.brute import fewest, overlap_free


def bins(items, capacity, most: int = 10**9) -> int:
    """Fewest bins for vectors, by trying every bin for each item."""
    best = len(items)

    def place(index, rooms):
        nonlocal best
        if len(rooms) >= best:
            return
        if index == len(items):
            best = len(rooms)
            return
        seen = set()
        for i, (room, count) in enumerate(rooms):
            left = tuple(round(a - b, 9) for a, b in zip(room, items[index], strict=True))
            if min(left) >= 0 and count < most and (room, count) not in seen:
                seen.add((room, count))
                place(index + 1, [*rooms[:i], (left, count + 1), *rooms[i + 1 :]])
        left = tuple(round(a - b, 9) for a, b in zip(capacity, items[index], strict=True))
        place(index + 1, [*rooms, (left, 1)])

    place(0, [])
    return best


def slotted_nodes(bears: list[int], per_node: int) -> int:
    """Fewest nodes with equal slots, for replicas that bear so many slots per accelerator."""
    options = sorted(set(bears))
    number = 0
    while True:
        for nodes in combinations_with_replacement(options, number):
            if all(
                sum(b <= v for b in bears) <= per_node * sum(n for n in nodes if n <= v)
                for v in options
            ):
                return number
        number += 1


def cheapest(services, offers) -> float:
    """Dollars, by trying every choice; one offer per accelerator, every tenant with one service.

    Infinite where no choice fits the limits.
    """
    best = float("inf")
    by_name = {offer.accelerator: offer for offer in offers}
    for choice in product(*(service.alternatives for service in services)):
        total = 0.0
        for name, offer in by_name.items():
            here = [(s, a) for s, a in zip(services, choice, strict=True) if a.accelerator == name]
            nodes = nodes_for(here, offer)
            total = total + offer.price * nodes if nodes <= offer.limit else float("inf")
        best = min(best, total)
    return best


def nodes_for(here, offer) -> int:
    parts: list[int] = []
    open_slices: Counter = Counter()
    turns, slotted = [], []
    for service, way in here:
        if way.profile:
            if service.strict and service.sharing != "mig":
                own = [0] * len(offer.geometry.profiles)
                own[offer.geometry.position(way.profile)] = way.replicas
                parts += [1] * fewest(offer.geometry, tuple(own))
            else:
                open_slices[way.profile] += way.replicas
        elif way.sharing == "timeSlicing" and offer.per_node == 1:
            turns += [(way.share, way.memory / offer.memory)] * way.replicas
        elif way.sharing in ("timeSlicing", "mps"):
            bears = min(int(1 / way.share + 1e-6), offer.memory // way.memory)
            slotted += [bears] * way.replicas
        else:
            parts += [way.devices // way.nodes] * (way.replicas * way.nodes)
    if open_slices:
        demand = tuple(open_slices[p.name] for p in offer.geometry.profiles)
        parts += [1] * fewest(offer.geometry, demand)
    if turns:
        parts += [1] * bins(sorted(turns, reverse=True), (1.0, 1.0))
    whole = bins([(p,) for p in sorted(parts, reverse=True)], (offer.per_node,)) if parts else 0
    return whole + slotted_nodes(slotted, offer.per_node)


def illegal(services, offers, assignment) -> list[str]:
    """Everything that is wrong with an assignment."""
    by_name = {service.name: service for service in services}
    rented = {offer.name: offer for offer in offers}
    ways = {s.name: {a.id: a for a in s.alternatives}[assignment.choice[s.name]] for s in services}
    wrong = []
    for gpu in assignment.gpus:
        wrong += wrong_seats(gpu, rented[gpu.offer], by_name, ways)
        wrong += overfull(gpu, rented[gpu.offer], ways)
    for way_of in ways.items():
        wrong += wrong_replicas(*way_of, assignment.gpus)
    for offer in offers:
        wrong += wrong_nodes(offer, assignment)
    dollars = sum(rented[name].price * count for name, count in assignment.nodes.items())
    if abs(dollars - assignment.dollars) > 1e-6:
        wrong.append(f"{assignment.dollars} dollars, should be {dollars}")
    return wrong


def wrong_seats(gpu, offer, services, ways):
    instances = [(i.profile, i.start) for i in gpu.layout]
    tenants = {services[seat.service].tenant for seat in gpu.seats}
    for seat in gpu.seats:
        way, service = ways[seat.service], services[seat.service]
        if way.accelerator != offer.accelerator:
            yield "wrong accelerator"
        if way.offers and offer.name not in way.offers:
            yield "wrong offer"
        if way.sharing not in offer.sharing or gpu.sharing != way.sharing:
            yield f"{gpu.sharing} is not {way.sharing}"
        if seat.profile != way.profile:
            yield f"{seat.profile} is not {way.profile}"
        if way.profile and (seat.profile, seat.start) not in instances:
            yield "an instance that is not made"
        walls = way.profile and service.sharing == "mig"
        if service.strict and tenants != {service.tenant} and not walls:
            yield "a strict service beside another tenant"
        if service.strict and way.share < 1:
            yield "a strict service that takes turns"


def overfull(gpu, offer, ways):
    instances = [(i.profile, i.start) for i in gpu.layout]
    if instances:
        if not overlap_free(offer.geometry, instances):
            yield f"layout {instances}"
        starts = [seat.start for seat in gpu.seats]
        if len(starts) != len(set(starts)):
            yield "two on one instance"
        return
    if sum(ways[seat.service].share for seat in gpu.seats) > 1 + 1e-5:
        yield "more than the compute"
    if sum(ways[seat.service].memory for seat in gpu.seats) > offer.memory:
        yield "more than the memory"
    if len(gpu.seats) > max(1, gpu.slots) and gpu.sharing != "dra":
        yield "more seats than slots"


def wrong_replicas(name, way, gpus):
    places = [(gpu, seat.replica) for gpu in gpus for seat in gpu.seats if seat.service == name]
    if sorted({replica for _, replica in places}) != list(range(way.replicas)):
        yield f"{name} has replicas {places}"
    for replica in range(way.replicas):
        held = Counter((gpu.offer, gpu.node) for gpu, number in places if number == replica)
        each = way.devices // way.nodes
        if sum(held.values()) != way.devices or any(count % each for count in held.values()):
            yield f"{name} is split over nodes: {held}"


def wrong_nodes(offer, assignment):
    here = [gpu for gpu in assignment.gpus if gpu.offer == offer.name]
    nodes = {gpu.node for gpu in here}
    if nodes != set(range(assignment.nodes.get(offer.name, 0))) or len(nodes) > offer.limit:
        yield f"nodes {nodes}"
    if sorted((g.node, g.index) for g in here) != sorted(product(nodes, range(offer.per_node))):
        yield "accelerators that a node does not have, or lacks"
    for node in nodes:
        modes = {(gpu.sharing, gpu.slots) for gpu in here if gpu.node == node}
        if len(modes) > 1 and any(mode in ("timeSlicing", "mps") for mode, _ in modes):
            yield f"one node with {modes}"
