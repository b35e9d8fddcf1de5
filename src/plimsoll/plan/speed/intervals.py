"""How far a prediction may be off, from predictions of rows that were kept aside."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from plimsoll.facts.speed import (
    fitted_engines,
    likenesses,
    speed_constants,
    speed_effects,
    speed_intervals,
)
from plimsoll.plan.deployment import Deployment, kernels_of
from plimsoll.plan.speed.effects import Mode, known
from plimsoll.plan.speed.hardware import measured_generation

_WIDER = 1.25  # per reason that no row kept aside stands for
_MARGIN = 1.1  # beyond the least and the most that was measured
_UNSURE = 1.0  # natural logarithm, where nothing like it was ever counted


def interval(target: str, at: Mapping[str, str], mode: Mode, unlike: int) -> tuple[float, float]:
    """Logarithms of the factors on a prediction between which nine of ten measured values lie.

    at      the levels of the deployment
    unlike  reasons why it is unlike anything measured
    """
    low, high = _counted(target, known(at), mode)
    wider = _WIDER**unlike
    return low * wider, high * wider


@cache
def _counted(target: str, seen: str, mode: Mode) -> tuple[float, float]:
    table = speed_intervals()
    for name in (mode, "together"):
        row = table.get((target, seen, name))
        if row is not None:
            return row.low, row.high
    return -_UNSURE, _UNSURE


def fallen_back(at: Mapping[str, str]) -> tuple[str, ...]:
    """Of model and accelerator, those that were not measured: rows kept aside stand for these."""
    table = speed_effects("tpot")
    return tuple(name for name in ("model", "accelerator") if at[name] not in table.get(name, {}))


def reasons(
    deployment: Deployment, at: Mapping[str, str], asked: Mapping[str, float]
) -> tuple[str, ...]:
    """Why a prediction reaches beyond what was measured, for a reader; empty where it does not.

    asked  `prompt` and `output` in tokens, `concurrency` per replica
    """
    found = []
    missing = fallen_back(at)
    if "model" in missing:
        found.append(f"no measured model computes like {deployment.network.name}")
    if "accelerator" in missing:
        found.append(f"no requests were measured on {deployment.device.name}")
    return (*found, *unlike(deployment), *beyond(asked))


def beyond(asked: Mapping[str, float]) -> tuple[str, ...]:
    """Reasons in the numbers of requests that were asked about."""
    limits = speed_constants("")
    found = []
    for name, value in asked.items():
        least, most = limits[f"least_{name}"], limits[f"most_{name}"]
        if not least / _MARGIN <= value <= most * _MARGIN:
            found.append(f"{name} of {value:.0f} lies outside {least:.0f} to {most:.0f}")
    return tuple(found)


def unlike(deployment: Deployment) -> tuple[str, ...]:
    """Reasons that widen the interval beyond what rows kept aside say."""
    found = []
    device = deployment.device
    if measured_generation(device.generation) != device.generation:
        like = likenesses().get(device.generation, "ampere")
        found.append(f"no kernels were measured on {device.generation}: {like} stands for it")
    if kernels_of(deployment.engine) not in fitted_engines():
        found.append(f"no requests were measured with {deployment.engine}")
    if deployment.split.pipeline > 1:
        found.append("pipeline parallelism was not measured")
    if deployment.draft is not None:
        found.append("speculative decoding is not modelled")
    return tuple(found)
