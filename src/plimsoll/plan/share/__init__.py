"""Several models on few accelerators: nothing illegal, and proof that fewer would not do."""

from plimsoll.plan.share.choose import choose
from plimsoll.plan.share.geometry import Geometry, Instance, Layout, Profile, mig_geometry
from plimsoll.plan.share.packing import Packing, pack, weight_bound
from plimsoll.plan.share.rules import Refusal, offer_refusals, refusals
from plimsoll.plan.share.turns import Part, Turns, take_turns
from plimsoll.plan.share.types import Alternative, Assignment, Gpu, Offer, Seat, Service
from plimsoll.plan.share.waste import Bill, Waste, waste

__all__ = [
    "Alternative",
    "Assignment",
    "Bill",
    "Geometry",
    "Gpu",
    "Instance",
    "Layout",
    "Offer",
    "Packing",
    "Part",
    "Profile",
    "Refusal",
    "Seat",
    "Service",
    "Turns",
    "Waste",
    "choose",
    "mig_geometry",
    "offer_refusals",
    "pack",
    "refusals",
    "take_turns",
    "waste",
    "weight_bound",
]
