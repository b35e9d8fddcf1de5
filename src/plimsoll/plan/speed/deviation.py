"""How far a configuration is measured to lie from what was computed, and how sure that is.

Measured configurations share levels of factors (the same model, the same device, ...). Each level
has a small correction, drawn to none where little was measured; a level that was never measured
adds nothing but its spread, so that what is unlike everything measured is left to physics and
gets a wide interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from plimsoll.facts.network import Network
from plimsoll.facts.parameters import parameters
from plimsoll.facts.throughput import deviations
from plimsoll.plan.deployment import Deployment

# Functions of lengths by which a factor's corrections vary, the constant one included.
TERMS = {
    "release": 3,
    "device": 1,
    "model": 3,
    "model release": 1,
    "split": 1,
    "series": 3,
    "series release": 1,
}
UNMEASURED = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What measurements say of one configuration.

    logarithm   natural logarithm of measured over computed
    spread      its standard deviation
    unmeasured  factors of which this level was never measured
    """

    logarithm: float
    spread: float
    unmeasured: tuple[str, ...]


def model_key(network: Network) -> str:
    """Models of equal shape run alike: `70.6B 80x8192`."""
    return f"{parameters(network) / 1e9:.3g}B {network.depth}x{network.hidden}"


def levels(deployment: Deployment, release: str) -> Mapping[str, str]:
    """The level of every factor."""
    split, device, formats = deployment.split, deployment.device, deployment.formats
    model = model_key(deployment.network)
    shape = f"{split.tensor}x{split.pipeline}x{split.data}"
    numbers = f"{formats.weights}/{formats.experts}/{formats.compute}"
    series = f"{model} {device.name} {numbers} {shape}"
    return {
        "release": release,
        "device": device.name,
        "model": model,
        "model release": f"{model} {release}",
        "split": f"{shape} {'NVLink' if device.nvlink else 'PCIe'}",
        "series": series,
        "series release": f"{series} {release}",
    }


def basis(prompt: float, output: float) -> tuple[float, float, float]:
    """The functions of lengths: 1, and the logarithms of both lengths in thousands."""
    return 1.0, math.log(prompt / 1000.0) / 1.5, math.log(output / 1000.0) / 1.5


def correction(deployment: Deployment, prompt: float, output: float, release: str) -> Correction:
    """What measurements say of a configuration at these lengths."""
    known = deviations()
    functions = basis(max(1.0, prompt), max(1.0, output))
    logarithm, variance = 0.0, known["noise", UNMEASURED, 0].spread ** 2
    unmeasured: list[str] = []
    for factor, level in levels(deployment, release).items():
        met = True
        for term in range(TERMS[factor]):
            row = known.get((factor, level, term))
            met = met and row is not None
            row = row or known[factor, UNMEASURED, term]
            logarithm += row.value * functions[term]
            variance += (row.spread * functions[term]) ** 2
        if not met:
            unmeasured.append(factor)
    return Correction(logarithm=logarithm, spread=math.sqrt(variance), unmeasured=tuple(unmeasured))
