"""Output tokens per second of one replica that always has requests waiting.

TensorRT-LLM's are computed with constants fitted on its published throughput; other engines'
follow from the steps that `load` is made of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from plimsoll.facts.load import load_constants
from plimsoll.facts.throughput import saturation_constants
from plimsoll.plan.deployment import Deployment, kernels_of
from plimsoll.plan.speed.constants import rates, release
from plimsoll.plan.speed.deviation import correction
from plimsoll.plan.speed.estimate import Estimate
from plimsoll.plan.speed.full_load import full_load, round_of
from plimsoll.plan.speed.load import Objectives, capacity
from plimsoll.plan.vram import fits, largest_batch
from plimsoll.units import duration

ENDLESS = 1e9  # requests that nobody counts
_NINE_OF_TEN = 1.645  # standard deviations of a normal variable on both sides
_TERMS_NAMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """A replica at full load.

    tokens_per_second  output tokens of the whole replica
    batch              requests at once
    limited_by         `kv cache` or `sequences`, and `compute` where prompts take every step
    starved            whether memory holds so few requests that most of the device's time is lost
    """

    tokens_per_second: Estimate
    batch: float
    limited_by: str
    starved: bool


def saturated(
    deployment: Deployment, prompt: float, output: float, *, requests: float = ENDLESS
) -> Saturation:
    """Throughput at full load for requests of `prompt` and `output` tokens.

    requests  that are served in all; a run of few ends with a replica that is partly empty
    """
    prompt, output = max(1.0, prompt), max(1.0, output)
    if kernels_of(deployment.engine) == "trtllm":
        return _fitted(deployment, prompt, output, requests)
    return _from_steps(deployment, prompt, output)


def releases() -> tuple[str, ...]:
    """The engine's releases that were measured."""
    head = "release."
    return tuple(
        name.removeprefix(head) for name in saturation_constants() if name.startswith(head)
    )


def _fitted(deployment: Deployment, prompt: float, output: float, requests: float) -> Saturation:
    known = releases()
    computed = round_of(
        full_load(deployment, prompt, output, requests),
        rates(deployment, saturation_constants(), known),
    )
    measured = correction(deployment, prompt, output, release(deployment.version, known))
    value = computed.tokens_per_second * math.exp(measured.logarithm)
    factor = math.exp(_NINE_OF_TEN * measured.spread)
    terms = sorted(computed.terms.items(), key=lambda term: -term[1])[:_TERMS_NAMED]
    estimate = Estimate(
        value=value,
        low=value / factor,
        high=value * factor,
        why=tuple(f"{name} {duration(seconds)}" for name, seconds in terms),
        extrapolates=tuple(f"{factor} was not measured" for factor in measured.unmeasured),
    )
    bounds = {
        "kv cache": computed.by_memory,
        "sequences": float(deployment.sequences),
    }
    limit = min(bounds, key=lambda name: bounds[name])
    return Saturation(
        tokens_per_second=estimate,
        batch=computed.batch,
        limited_by=limit,
        starved=_starved(deployment),
    )


def _from_steps(deployment: Deployment, prompt: float, output: float) -> Saturation:
    most = capacity(deployment, prompt, output, Objectives())
    value = most.requests_per_second * output
    factor = math.exp(_NINE_OF_TEN * load_constants(deployment.engine)["spread_full"])
    return Saturation(
        tokens_per_second=Estimate(value=value, low=value / factor, high=value * factor),
        batch=min(float(deployment.sequences), largest_batch(deployment, prompt + output / 2)),
        limited_by=most.limited_by,
        starved=_starved(deployment),
    )


def _starved(deployment: Deployment) -> bool:
    return fits(deployment).fit != "fits"
