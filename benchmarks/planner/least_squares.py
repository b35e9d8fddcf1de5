"""Robust least squares with a prior, by Levenberg and Marquardt's method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_STEP = 1e-4  # of a derivative; parameters are logarithms


def minimum(
    predicted: Callable[[Array], Array],
    measured: Array,
    start: Array,
    prior: Array,
    prior_spread: Array,
    *,
    noise: Array | float,
    rounds: int = 40,
) -> Array:
    """The parameters that lie best between the measured values and the prior.

    predicted     of parameters: as many values as `measured`
    prior_spread  standard deviations of the parameters around `prior`
    noise         standard deviation of one measured value, or of each; residuals far over it
                  count linearly
    """

    def residuals(parameters: Array) -> Array:
        scaled = (predicted(parameters) - measured) / noise
        eased = np.sign(scaled) * np.sqrt(2.0 * (np.sqrt(1.0 + scaled * scaled) - 1.0))
        return np.concatenate([eased, (parameters - prior) / prior_spread])

    at, damping = start.copy(), 1e-2
    now = residuals(at)
    for _ in range(rounds):
        slopes = np.empty((now.size, at.size))
        for index in range(at.size):
            moved = at.copy()
            moved[index] += _STEP
            slopes[:, index] = (residuals(moved) - now) / _STEP
        normal, gradient = slopes.T @ slopes, slopes.T @ now
        before = float(now @ now)
        for _ in range(12):
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
            candidate = at + np.clip(step, -1.0, 1.0)
            then = residuals(candidate)
            if float(then @ then) < before:
                at, now, damping = candidate, then, damping / 3.0
                break
            damping *= 4.0
        if before - float(now @ now) < 1e-6 * before:
            break
    return at
