"""Why a model cannot be run as wished: the physical limit, and what would do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plimsoll.errors import DoesNotFit
from plimsoll.facts.accelerators import accelerators, device
from plimsoll.fleet import Parallelism
from plimsoll.plan.cost import NodePrice
from plimsoll.plan.deployment import Deployment
from plimsoll.plan.search.candidates import Wish
from plimsoll.plan.search.formats import formats_for
from plimsoll.plan.search.splits import in_words, splits
from plimsoll.plan.search.types import Found, Ground, Rejected
from plimsoll.plan.speed.latency import decode_floor, latency
from plimsoll.plan.vram import fits
from plimsoll.units import duration

MOST_NAMED = 3  # accelerators named in a hint


class NothingFits(DoesNotFit):
    """A model for which no configuration is left.

    found  what was tried and why it was left
    """

    default_code = "does-not-fit.model"

    def __init__(self, message: str, *, model: str, found: Found, hint: str, code: str) -> None:
        super().__init__(message, where=model, hint=hint, code=code)
        self.found = found

    def as_dict(self) -> dict[str, object]:
        """The error for `--json`, with every configuration that was tried."""
        return super().as_dict() | {
            "rejected": [
                {"what": one.what, "code": one.code, "reason": one.reason}
                for one in self.found.rejected
            ]
        }


def refusal(wish: Wish, grounds: Sequence[Ground], found: Found) -> NothingFits:
    """The error for a model without a candidate: its objectives, its bytes, or the pools' rules."""
    slow = [one for one in found.rejected if one.code == "objective"]
    if slow:
        return _too_slow(wish, found, slow)
    many = [one for one in found.rejected if one.code == "nodes"]
    if many:
        return _too_many(wish, found, many)
    large = [one for one in found.rejected if one.code == "memory"]
    if large:
        return _too_large(wish, found, large)
    reasons = "; ".join(dict.fromkeys(f"{one.what}: {one.reason}" for one in found.rejected))
    return NothingFits(
        reasons or "no pool with accelerators may run it",
        model=wish.model.name,
        found=found,
        hint="name pools that exist in `placement.pools`, and check its sharing and parallelism"
        if grounds
        else "add a pool with an accelerator, or plan for a cloud with `--cloud`",
        code="does-not-fit.rules",
    )


def _too_many(wish: Wish, found: Found, many: Sequence[Rejected]) -> NothingFits:
    nearest = many[-1]
    room = _enough(wish, tpot=wish.demand.tpot)
    return NothingFits(
        f"no pool is large enough; {nearest.what}: {nearest.reason}",
        model=wish.model.name,
        found=found,
        hint="raise `nodes.max`" + (f", or take larger devices, such as {room}" if room else ""),
        code="does-not-fit.nodes",
    )


def _too_large(wish: Wish, found: Found, large: Sequence[Rejected]) -> NothingFits:
    # The one with the most devices came nearest; ties go to the last tried, the smallest weights.
    nearest = max(large, key=lambda one: one.deployment.split.devices if one.deployment else 0)
    room = _enough(wish, tpot=None)
    return NothingFits(
        f"fits nowhere; nearest was {nearest.what}: {nearest.reason}",
        model=wish.model.name,
        found=found,
        hint=f"it fits on {room}" if room else "take a smaller model or a smaller weight format",
        code="does-not-fit.memory",
    )


def _too_slow(wish: Wish, found: Found, slow: Sequence[Rejected]) -> NothingFits:
    deployments = [one.deployment for one in slow if one.deployment is not None]
    best = min(deployments, key=lambda one: decode_floor(one).seconds)
    floor, demand = decode_floor(best), wish.demand
    if demand.tpot is not None and floor.seconds > demand.tpot:
        message = floor.words
    else:
        message = _alone(wish, deployments)
    room = _enough(wish, tpot=demand.tpot)
    return NothingFits(
        f"{_asked(wish)}: {message}",
        model=wish.model.name,
        found=found,
        hint=(f"{room} could do it; or " if room else "") + "ask for less in `objectives`",
        code="does-not-fit.objective",
    )


def _asked(wish: Wish) -> str:
    demand = wish.demand
    parts = [
        f"{name} {duration(value)}"
        for name, value in (
            ("ttft", demand.ttft),
            ("tpot", demand.tpot),
            ("end to end", demand.end_to_end),
        )
        if value is not None
    ]
    return f"cannot meet {', '.join(parts)}" if parts else "cannot serve such requests"


def _alone(wish: Wish, deployments: Iterable[Deployment]) -> str:
    """What the fastest of the configurations gives a single request."""
    demand = wish.demand
    seen = [
        (latency(one, demand.prompt, demand.output, 1, demand.shared), one) for one in deployments
    ]
    first, where = min(seen, key=lambda pair: pair[0].ttft.value)
    per_token = min(pair[0].tpot.value for pair in seen)
    return (
        f"one request alone takes {duration(first.ttft.value)} to its first token and "
        f"{duration(per_token)} a token, at best ({where.device.name}, {in_words(where.split)})"
    )


def _enough(wish: Wish, *, tpot: float | None) -> str:
    """Accelerators of the catalogue on which it would fit, and one request alone be fast enough."""
    found: list[tuple[int, float, str]] = []
    for name in accelerators():
        best = _fewest(wish, name, tpot)
        if best is not None:
            found.append(best)
    found.sort()
    return ", ".join(words for _, _, words in found[:MOST_NAMED])


def _fewest(wish: Wish, name: str, tpot: float | None) -> tuple[int, float, str] | None:
    whole = device(name)
    ground = Ground(
        name=name,
        device=whole,
        per_node=whole.per_node,
        most_nodes=1,
        price=NodePrice(dollars=None, on_demand=None, spot_share=0.0),
    )
    for split in splits(wish.network, ground, Parallelism()).possible:
        for option in formats_for(wish.model, wish.network, whole).possible:
            if option.last_resort:
                continue
            deployment = Deployment(
                network=wish.network,
                device=whole,
                split=split,
                formats=option.formats,
                context=wish.model.context or 4096,
                sequences=4,
            )
            if not fits(deployment):
                continue
            demand = wish.demand
            alone = latency(deployment, demand.prompt, demand.output, 1, demand.shared)
            if tpot is not None and alone.tpot.value > tpot:
                continue
            return split.devices, whole.nominal, f"{split.devices} x {name} ({option.label})"
    return None
