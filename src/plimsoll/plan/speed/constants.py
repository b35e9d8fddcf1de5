"""Which fitted constants hold for a configuration at full load."""

from __future__ import annotations

import re
from collections.abc import Mapping

from plimsoll.facts.weight_formats import weight_format
from plimsoll.plan.deployment import Deployment
from plimsoll.plan.speed.full_load import Rates

_WIDE = ("bf16", "fp16")
_WIDE_BITS = 16
_NUMBER = re.compile(r"\d+")
# Constants whose product is a rate, beside those that `names` chooses.
_ALWAYS = {
    "experts": ("experts",),
    "routed": ("routed",),
    "handed": ("handed",),
    "routing": ("routing",),
    "layer": ("layer",),
    "mixture": ("mixture",),
    "step": ("step",),
    "sequence": ("sequence",),
    "traffic": ("traffic",),
    "expert_traffic": ("expert_traffic",),
    "imbalance": ("imbalance",),
    "bubble": ("bubble",),
    "grown": ("grown",),
    "sharpness": ("sharpness",),
    "chunk": ("chunk",),
    "tail": ("tail",),
}


def release(version: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """The newest known release that is not newer than `version`; the newest of all for none."""
    ordered = sorted(known, key=_order)
    older = [name for name in ordered if not version or _order(name) <= _order(version)]
    return older[-1] if older else ordered[0]


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBER.findall(version)[:2])


def names(deployment: Deployment, releases: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """The constants whose product each field of `Rates` is."""
    device = deployment.device
    generation, compute = device.generation, deployment.formats.compute
    wires = "nvlink" if device.nvlink else "pcie"
    newest = release(deployment.version, releases)
    matrix: tuple[str, ...] = (f"matrix.{compute}", f"matrix.{generation}")
    dense, experts = matrix, matrix
    if compute in _WIDE and weight_format(deployment.formats.weights).bits < _WIDE_BITS:
        dense = (*matrix, "matrix.widened")
    if compute in _WIDE and weight_format(deployment.formats.experts).bits < _WIDE_BITS:
        experts = (*matrix, "matrix.widened")
    return _ALWAYS | {
        "release": (f"release.{newest}",),
        "overhead": (f"overhead.{newest}",),
        "weights": ("weights", f"memory.{generation}"),
        "cache": ("cache", f"memory.{generation}"),
        "matrix": experts,
        "wide": dense,
        "prompts": ("prompts", f"matrix.{generation}"),
        "link": (f"link.{wires}",),
        "reduction": (f"reduction.{wires}",),
        "reserve": ("reserve",),
    }


def rates(
    deployment: Deployment, constants: Mapping[str, float], releases: tuple[str, ...]
) -> Rates:
    """The rates of one configuration; what is not known of its kind counts as 1."""
    found: dict[str, float] = {}
    for field, keys in names(deployment, releases).items():
        value = 1.0
        for key in keys:
            value *= constants.get(key, 1.0)
        found[field] = value
    return Rates(**found)
