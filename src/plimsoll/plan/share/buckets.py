"""Where replicas may go: whole accelerators, cut ones, nodes sliced alike, or in turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from plimsoll.errors import DoesNotFit, InputError
from plimsoll.plan.share.geometry import layouts
from plimsoll.plan.share.rules import (
    Refusal,
    equal_slots,
    offer_refusals,
    refusals,
    takes_turns,
    walled,
)
from plimsoll.plan.share.turns import slots_for
from plimsoll.plan.share.types import Alternative, Offer, Service, Sharing

MOST_SLOTS = 48  # pods per accelerator that a pool may ask for (fleet: `sharing.*.replicas`)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Accelerators of one offer on which certain replicas may be together.

    offer    its name
    kind     `whole`: accelerators of their own; `cut`: MIG instances of any profiles; `alike`:
             nodes whose accelerators all have the same slots; `turns`: any mix that fits
    sharing  as the alternative says it
    size     accelerators that lie in one node, for `whole`
    slots    places per accelerator, for `alike`
    profile  of all instances, for `alike` with MIG
    owner    the only tenant here, for MIG; None: any tenant
    """

    offer: str
    kind: Literal["whole", "cut", "alike", "turns"]
    sharing: Sharing
    size: int = 1
    slots: int = 0
    profile: str = ""
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A legal alternative of a service and where its replicas may go, at least one bucket."""

    service: Service
    alternative: Alternative
    buckets: tuple[Bucket, ...]

    @property
    def key(self) -> tuple[str, str]:
        """The names of the service and of the alternative."""
        return (self.service.name, self.alternative.id)


def legal_ways(services: Sequence[Service], offers: Sequence[Offer]) -> tuple[Way, ...]:
    """Every legal way of every service.

    Raises InputError for names that come twice or an offer that cannot be set up, DoesNotFit with
    every reason where a service has no legal way.
    """
    _distinct("service", [service.name for service in services])
    _distinct("offer", [offer.name for offer in offers])
    wrong = [refusal for offer in offers for refusal in offer_refusals(offer)]
    if wrong:
        raise InputError(
            wrong[0].reason, where=wrong[0].offer, hint=wrong[0].hint, code=wrong[0].code
        )
    fenced = {
        service.tenant
        for service in services
        if service.strict
        and not walled(service)
        and any(option.profile for option in service.alternatives)
    }
    slots = _slots(services, offers)
    ways: list[Way] = []
    for service in services:
        _distinct(
            f"alternative of `{service.name}`", [option.id for option in service.alternatives]
        )
        found, reasons = _ways_of(service, offers, fenced, slots)
        if not found:
            raise _no_way(service, reasons)
        ways.extend(found)
    return tuple(ways)


def _ways_of(
    service: Service,
    offers: Sequence[Offer],
    fenced: set[str],
    slots: Mapping[str, Sequence[int]],
) -> tuple[list[Way], list[Refusal]]:
    ways: list[Way] = []
    reasons: list[Refusal] = []
    for option in service.alternatives:
        buckets: list[Bucket] = []
        for offer in matching(option, offers):
            refused = refusals(service, option, offer)
            reasons.extend(refused)
            if not refused:
                buckets.extend(_buckets(service, option, offer, fenced, slots[offer.name]))
        if buckets:
            ways.append(Way(service=service, alternative=option, buckets=tuple(buckets)))
    return ways, reasons


def matching(option: Alternative, offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """The offers of the alternative's accelerator that it may use."""
    return tuple(
        offer
        for offer in offers
        if offer.accelerator == option.accelerator
        and (not option.offers or offer.name in option.offers)
    )


def _buckets(
    service: Service, option: Alternative, offer: Offer, fenced: set[str], slots: Sequence[int]
) -> tuple[Bucket, ...]:
    if option.profile:
        return _instances(service, option, offer, fenced)
    if not takes_turns(option):
        each = option.devices // option.nodes
        return (Bucket(offer=offer.name, kind="whole", sharing=option.sharing, size=each),)
    if not equal_slots(option, offer):
        return (Bucket(offer=offer.name, kind="turns", sharing=option.sharing),)
    most = slots_for(option.share, option.memory, offer.memory)
    return tuple(
        Bucket(offer=offer.name, kind="alike", sharing=option.sharing, slots=number)
        for number in slots
        if number <= most
    )


def _instances(
    service: Service, option: Alternative, offer: Offer, fenced: set[str]
) -> tuple[Bucket, ...]:
    """On accelerators open to all tenants, and on those that only this tenant has."""
    owners: list[str | None] = [service.tenant] if service.tenant in fenced else []
    if not service.strict or walled(service):
        owners.append(None)
    if not (offer.single and option.sharing == "mig"):
        return tuple(
            Bucket(offer=offer.name, kind="cut", sharing=option.sharing, owner=owner)
            for owner in owners
        )
    alike = len(offer.layout) or most_alike(offer, option.profile)
    return tuple(
        Bucket(
            offer=offer.name,
            kind="alike",
            sharing="mig",
            slots=alike,
            profile=option.profile,
            owner=owner,
        )
        for owner in owners
    )


def most_alike(offer: Offer, profile: str) -> int:
    """Instances of one profile that an accelerator holds when it has no others."""
    assert offer.geometry is not None
    return max(
        len(layout)
        for layout in layouts(offer.geometry)
        if all(instance.profile == profile for instance in layout)
    )


def _slots(services: Sequence[Service], offers: Sequence[Offer]) -> dict[str, tuple[int, ...]]:
    """Slots per accelerator that are worth trying by offer: what the pool fixes, or as many as
    some alternative can bear; a number between two of these serves nobody better than the larger.
    """
    found: dict[str, set[int]] = {offer.name: {offer.slots} - {0} for offer in offers}
    for offer in offers:
        if offer.slots:
            continue
        for service in services:
            for option in service.alternatives:
                slotted = takes_turns(option) and equal_slots(option, offer)
                here = offer in matching(option, offers)
                if slotted and here and not refusals(service, option, offer):
                    most = slots_for(option.share, option.memory, offer.memory)
                    found[offer.name].add(min(MOST_SLOTS, most))
    return {name: tuple(sorted(numbers)) for name, numbers in found.items()}


def _distinct(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"two {what}s named `{name}`", code="share.duplicate")
        seen.add(name)


def _no_way(service: Service, reasons: Sequence[Refusal]) -> DoesNotFit:
    if not reasons:
        wanted = sorted({option.accelerator for option in service.alternatives})
        return DoesNotFit(
            f"nothing is offered for it; it runs on {', '.join(wanted) or 'nothing'}",
            where=service.name,
            hint="offer one of these accelerators",
            code="share.no-offer",
        )
    error = DoesNotFit(
        f"no way to run it is allowed: {reasons[0].reason}",
        where=service.name,
        hint=reasons[0].hint,
        code=reasons[0].code,
    )
    error.details = "\n".join(str(reason) for reason in reasons)
    return error
