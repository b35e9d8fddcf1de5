"""What sharing saves: every replica on accelerators of its own beside the packed layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from plimsoll.errors import InputError
from plimsoll.plan.share.buckets import matching
from plimsoll.plan.share.nodes import fill
from plimsoll.plan.share.types import Alternative, Assignment, Offer, Service
from plimsoll.units import money


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a layout takes.

    gpus     accelerators with somebody on them
    rented   accelerators of all rented nodes
    dollars  US dollars per hour, whole nodes
    """

    gpus: int
    rented: int
    dollars: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """One accelerator or more for every replica, beside what was chosen.

    naive   without any sharing, whatever the limits of the offers
    packed  the assignment
    """

    naive: Bill
    packed: Bill

    @property
    def gpus(self) -> int:
        """Accelerators that sharing saves; below 0 where the cheaper way takes more of them."""
        return self.naive.gpus - self.packed.gpus

    @property
    def dollars(self) -> float:
        """US dollars per hour that the choice saves."""
        return self.naive.dollars - self.packed.dollars

    def __str__(self) -> str:
        return (
            f"{self.naive.gpus} accelerators at {money(self.naive.dollars)} an hour, each replica "
            f"on its own; {self.packed.gpus} at {money(self.packed.dollars)} packed"
        )


def waste(services: Sequence[Service], offers: Sequence[Offer], assignment: Assignment) -> Waste:
    """What the services would take if no accelerator were shared, and what they take.

    Without sharing a service runs the cheapest of its ways on whole accelerators; where it has
    none, each replica of the way that was chosen takes one whole accelerator. Its nodes are shared
    with other services all the same. Raises InputError where no offer has its accelerator.
    """
    parts: dict[str, dict[int, int]] = {}
    for service in services:
        name, size, count = _alone(service, offers, assignment.choice[service.name])
        sizes = parts.setdefault(name, {})
        sizes[size] = sizes.get(size, 0) + count
    by_name = {offer.name: offer for offer in offers}
    nodes = {name: len(fill(sizes, by_name[name].per_node)) for name, sizes in parts.items()}
    naive = Bill(
        gpus=sum(size * count for sizes in parts.values() for size, count in sizes.items()),
        rented=sum(by_name[name].per_node * count for name, count in nodes.items()),
        dollars=sum(by_name[name].price * count for name, count in nodes.items()),
    )
    packed = Bill(gpus=assignment.used, rented=len(assignment.gpus), dollars=assignment.dollars)
    return Waste(naive=naive, packed=packed)


def _alone(service: Service, offers: Sequence[Offer], chosen: str) -> tuple[str, int, int]:
    """The offer, the accelerators of one part in one node, and how many such parts."""
    whole = [o for o in service.alternatives if not o.profile and o.share == 1]
    options = whole or [option for option in service.alternatives if option.id == chosen]
    best: tuple[float, str, int, int] = (inf, "", 0, 0)
    for option in options:
        for offer in matching(option, offers):
            size, count = _parts(option)
            if size <= offer.per_node:
                price = offer.price / offer.per_node * size * count
                best = min(best, (price, offer.name, size, count))
    if not best[1]:
        raise InputError(
            "no offer has an accelerator for it", where=service.name, code="share.no-offer"
        )
    return best[1:]


def _parts(option: Alternative) -> tuple[int, int]:
    if option.profile or option.share < 1:
        return 1, option.replicas
    return option.devices // option.nodes, option.replicas * option.nodes
