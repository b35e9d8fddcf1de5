"""What may share an accelerator with what, and the reason for every no.

Isolation. A strict service is never on an accelerator that another tenant uses. Whole accelerators
satisfy that. A MIG instance satisfies it when the service itself asks for `sharing: mig`: the walls
between instances (memory, cache and compute of their own) then count. Otherwise its instances lie
on accelerators on which only its own tenant has instances. Taking turns (time-slicing, MPS, a
shared claim) is refused to strict services altogether: nothing clears or fences the memory.

Sharing. MPS never with MIG. Time-slicing and MPS are set by node, for all its accelerators, one of
the two; where a pool fixes the number of pods per accelerator, or a MIG layout, it has no whole
accelerators. MIG only where the accelerator has it, DRA only where it is offered; an offer of both
means instances that DRA hands out. A replica of several accelerators takes whole ones: MIG
instances cannot reach each other, and its tensor-parallel group lies inside one node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from plimsoll.facts.nearest import nearest_hint
from plimsoll.plan.share.geometry import counts, placed
from plimsoll.plan.share.turns import slots_for
from plimsoll.plan.share.types import Alternative, Offer, Service
from plimsoll.units import size

BY_NODE = frozenset({"timeSlicing", "mps"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something may not run so.

    code         stable, dotted: `share.strict-turns`
    reason       one sentence
    hint         what to try
    service      name; empty where the offer itself is wrong
    alternative  its id; empty likewise
    offer        name; empty where no offer is concerned
    """

    code: str
    reason: str
    hint: str
    service: str = ""
    alternative: str = ""
    offer: str = ""

    def __str__(self) -> str:
        where = " ".join(word for word in (self.service, self.alternative, self.offer) if word)
        return f"{where}: {self.reason} ({self.hint})"


_Reason = tuple[str, str, str]  # code, reason, hint


def refusals(service: Service, alternative: Alternative, offer: Offer) -> tuple[Refusal, ...]:
    """Every reason why replicas of the service may not run this way on these nodes; () if none."""
    found = (
        *_shape_reasons(alternative),
        *_isolation_reasons(service, alternative),
        *_offer_reasons(alternative, offer),
    )
    return tuple(
        Refusal(
            code=f"share.{code}",
            reason=reason,
            hint=hint,
            service=service.name,
            alternative=alternative.id,
            offer=offer.name,
        )
        for code, reason, hint in found
    )


def offer_refusals(offer: Offer) -> tuple[Refusal, ...]:
    """Every reason why nodes cannot be set up as an offer says; () if none."""
    return tuple(
        Refusal(code=f"share.{code}", reason=reason, hint=hint, offer=offer.name)
        for code, reason, hint in _setup_reasons(offer)
    )


def takes_turns(alternative: Alternative) -> bool:
    """Whether replicas share an accelerator without a wall of hardware between them."""
    return alternative.sharing in BY_NODE or (
        alternative.sharing == "dra" and not alternative.profile and alternative.share < 1
    )


def equal_slots(alternative: Alternative, offer: Offer) -> bool:
    """Whether replicas take equal slots, and not any room that is left.

    MPS gives each of N clients one Nth. With time-slicing it is the device plugin that chooses
    among the accelerators of a node, so only with one of them do we know who shares with whom.
    """
    return alternative.sharing == "mps" or (
        alternative.sharing == "timeSlicing" and offer.per_node > 1
    )


def walled(service: Service) -> bool:
    """Whether a strict service accepts other tenants' MIG instances beside its own."""
    return service.strict and service.sharing == "mig"


def _shape_reasons(alternative: Alternative) -> Iterator[_Reason]:
    several = alternative.devices > 1
    if min(alternative.devices, alternative.nodes) < 1 or alternative.replicas < 0:
        yield ("count", "devices and nodes are at least 1, replicas at least 0", "correct it")
        return
    if alternative.devices % alternative.nodes:
        yield (
            "uneven-nodes",
            (
                f"{alternative.devices} accelerators are not spread evenly over "
                f"{alternative.nodes} nodes"
            ),
            "take a multiple",
        )
    if alternative.profile and alternative.sharing in BY_NODE:
        mps = alternative.sharing == "mps"
        yield (
            "mps-with-mig" if mps else "turns-in-instance",
            "MPS does not work with MIG" if mps else "MIG instances are not sliced again",
            "take a smaller profile, or whole accelerators",
        )
    elif alternative.profile and alternative.sharing not in ("mig", "dra"):
        yield ("profile-without-mig", "a MIG profile without MIG", "take `sharing: mig`")
    if alternative.sharing == "mig" and not alternative.profile:
        yield ("no-profile", "MIG without a profile", "name a profile such as `3g.40gb`")
    if several and alternative.profile:
        yield (
            "tensor-over-instances",
            (
                f"{alternative.devices} MIG instances cannot work as one replica: there is no "
                "peer-to-peer between them"
            ),
            "take a larger profile, or whole accelerators",
        )
    elif several and (takes_turns(alternative) or alternative.share < 1):
        yield (
            "tensor-over-turns",
            "a replica of several accelerators takes them whole",
            "take `sharing: none`",
        )
    elif alternative.share < 1 and alternative.sharing in ("none", "mig"):
        yield (
            "share-without-turns",
            f"{alternative.share:g} of an accelerator without a way to share it",
            "take `timeSlicing` or `mps`, or count the whole",
        )


def _isolation_reasons(service: Service, alternative: Alternative) -> Iterator[_Reason]:
    if service.strict and takes_turns(alternative):
        yield (
            "strict-turns",
            (
                f"`isolation: strict` and `{alternative.sharing}`: nothing separates the memory of "
                "those who take turns"
            ),
            "take `sharing: mig` or whole accelerators",
        )


def _offer_reasons(alternative: Alternative, offer: Offer) -> Iterator[_Reason]:
    if alternative.sharing not in offer.sharing:
        yield (
            "not-offered",
            f"`{alternative.sharing}` is not offered there",
            f"offered: {', '.join(f'`{mode}`' for mode in sorted(offer.sharing))}",
        )
    if alternative.profile:
        yield from _profile_reasons(alternative, offer)
    elif offer.layout:
        yield (
            "layout-for-all",
            "every accelerator of the pool is cut into MIG instances",
            f"take one of {', '.join(f'`{name}`' for name in offer.layout)}, or another pool",
        )
    elif takes_turns(alternative):
        yield from _turn_reasons(alternative, offer)
    elif offer.slots and offer.sharing & BY_NODE:
        yield (
            "slots-for-all",
            f"every accelerator of the pool is shared by {offer.slots} pods",
            "take another pool for whole accelerators",
        )
    together = alternative.devices // max(1, alternative.nodes)
    if together > offer.per_node:
        yield (
            "tensor-over-nodes",
            (
                f"{together} accelerators that work on every layer together must be in one node, "
                f"which has {offer.per_node}"
            ),
            "spread the replica over nodes as a pipeline, or take larger nodes",
        )


def _profile_reasons(alternative: Alternative, offer: Offer) -> Iterator[_Reason]:
    if offer.geometry is None:
        yield ("no-mig", f"{offer.accelerator} has no MIG", "take whole accelerators")
        return
    names = [profile.name for profile in offer.geometry.profiles]
    if alternative.profile not in names:
        yield (
            "profile-unknown",
            f"{offer.accelerator} has no MIG profile `{alternative.profile}`",
            nearest_hint(alternative.profile, names),
        )
    elif offer.layout and alternative.profile not in offer.layout:
        yield (
            "profile-not-in-layout",
            f"the pool's accelerators have no `{alternative.profile}`",
            f"its layout: {', '.join(f'`{name}`' for name in offer.layout)}",
        )


def _turn_reasons(alternative: Alternative, offer: Offer) -> Iterator[_Reason]:
    if not 0 < alternative.share <= 1:
        yield (
            "share-out-of-range",
            f"{alternative.share:g} of an accelerator",
            "a share is above 0 and at most 1",
        )
    elif not offer.memory or not alternative.memory:
        yield (
            "memory-unknown",
            "who takes turns shares memory, and how much is not known",
            "give the bytes of the replica and of the accelerator",
        )
    elif alternative.memory > offer.memory:
        yield (
            "memory",
            f"a replica takes {size(alternative.memory)}, the accelerator has {size(offer.memory)}",
            "take a larger accelerator or a smaller model",
        )
    elif equal_slots(alternative, offer) and offer.slots:
        most = slots_for(alternative.share, alternative.memory, offer.memory)
        if offer.slots > most:
            yield (
                "slot-too-small",
                (
                    f"one of {offer.slots} slots is less than {alternative.share:g} of the "
                    f"compute and {size(alternative.memory)}"
                ),
                f"at most {most} slots hold such a replica",
            )


def _setup_reasons(offer: Offer) -> Iterator[_Reason]:
    if min(offer.per_node, 1) < 1 or min(offer.limit, offer.slots) < 0 or offer.price < 0:
        yield ("count", "a node has accelerators, and nothing is negative", "correct it")
    if {"mps", "mig"} <= offer.sharing:
        yield ("mps-with-mig", "MPS does not work with MIG", "offer one of the two")
    if offer.sharing >= BY_NODE:
        yield (
            "two-by-node",
            "the device plugin does time-slicing or MPS, not both",
            "offer one of the two",
        )
    if "dra" in offer.sharing and offer.sharing & BY_NODE:
        yield (
            "dra-with-plugin",
            "accelerators are given out by DRA or by the device plugin, not both",
            "offer `dra` without `timeSlicing` and `mps`",
        )
    if "mig" in offer.sharing and offer.geometry is None:
        yield ("no-mig", f"{offer.accelerator} has no MIG", "offer whole accelerators")
    if offer.layout and offer.geometry is not None:
        yield from _layout_reasons(offer)


def _layout_reasons(offer: Offer) -> Iterator[_Reason]:
    geometry = offer.geometry
    assert geometry is not None
    names = {profile.name for profile in geometry.profiles}
    unknown = sorted(set(offer.layout) - names)
    if unknown:
        yield (
            "profile-unknown",
            f"{offer.accelerator} has no MIG profile `{unknown[0]}`",
            nearest_hint(unknown[0], names),
        )
    elif placed(geometry, counts(geometry, offer.layout)) is None:
        yield (
            "layout",
            f"{', '.join(offer.layout)} do not fit together on {offer.accelerator}",
            "take fewer or smaller instances",
        )
    elif offer.single and len(set(offer.layout)) > 1:
        yield (
            "single-mixed",
            "MIG strategy `single` and instances of several profiles",
            "take `strategy: mixed`",
        )
