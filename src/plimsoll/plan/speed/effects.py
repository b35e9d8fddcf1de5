"""What measurements say beyond physics: factors on the parts of a time, by what is deployed.

Every level that was measured (a model on a version of an engine, a whole configuration) has its
own factors, shrunk towards 1 by how little it was measured. A level that was not measured has
none, so that an unknown model falls back to the physics. What was learned from one version says
little of the next: hardly any factor reaches beyond the version that it was measured on. Factors
are positive and multiply parts that grow with load: what physics says about more and less stays
true.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from plimsoll.facts.network import Network
from plimsoll.facts.speed import speed_effects
from plimsoll.plan.deployment import Deployment

Mode = Literal["together", "together, wide", "apart", "apart, workers unknown"]

_WIDE = 8  # copies of attention above which rows of `together` describe something else
MOST = 2.0  # logarithm of the largest factor on one part


def shape_of(network: Network) -> str:
    """Width, depth and experts: the same for every model that computes alike."""
    part = network.layers[-1].feed_forward
    return f"{network.hidden}x{network.depth}x{part.experts or part.width}"


def mode_of(deployment: Deployment, *, together: bool, workers: bool) -> Mode:
    """How prompts and decoding are spread, and whether the numbers of replicas are known."""
    if together:
        return "together, wide" if deployment.split.data > _WIDE else "together"
    return "apart" if workers else "apart, workers unknown"


def levels(
    deployment: Deployment, engine: str, mode: Mode, prompt: float, output: float
) -> dict[str, str]:
    """The levels of a deployment, by group; `engine` as its constants are named."""
    device, formats, split = deployment.device, deployment.formats, deployment.split
    place = device.accelerator if not device.profile else device.name
    shape, version = shape_of(deployment.network), deployment.version
    generation = device.generation
    stored = f"{formats.weights} {formats.experts}"
    found = {
        "accelerator": place,
        "model": shape,
        "model and version": f"{shape} {engine} {version} {generation}",
        "mode and model": f"{engine} {mode} {shape} {place}",
        "configuration": f"{shape} {place} {engine} {version} {stored} "
        f"{split.tensor}x{split.data}x{split.expert} {mode}",
    }
    found["lengths"] = f"{found['configuration']} {prompt:.0f} {output:.0f}"
    if mode != "together":
        found["mode"] = mode
    if split.data > _WIDE:
        found["wide"] = "wide"
    if version:
        found["version"] = f"{engine} {version}"
    return found


def factors(target: str, at: Mapping[str, str]) -> dict[str, float]:
    """The factor on every part of `target`; `all` is on the whole. Missing parts have none."""
    table, sums = speed_effects(target), dict[str, float]()
    for group, level in at.items():
        for part, value in table.get(group, {}).get(level, {}).items():
            sums[part] = sums.get(part, 0.0) + value
    return {part: math.exp(max(-MOST, min(MOST, value))) for part, value in sums.items()}


def known(at: Mapping[str, str]) -> str:
    """How much of a deployment the fit had seen, the most first.

    `configuration`, `deployment` (its model and its accelerator, not together like this),
    `model`, `accelerator`, or `nothing`
    """
    table = speed_effects("tpot")
    seen = {group: level in table.get(group, {}) for group, level in at.items()}
    if seen["configuration"]:
        return "configuration"
    if seen["model"] and seen["accelerator"]:
        return "deployment"
    return "model" if seen["model"] else "accelerator" if seen["accelerator"] else "nothing"
