"""Fits what measurements say beyond physics: factors by level, shrunk by their spreads.

A linear mixed model on logarithms. Its features are the shares of a time's parts, so that a
coefficient is, to first order, the logarithm of a factor on that part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from plimsoll.plan.speed.effects import MOST

Array = np.ndarray[Any, Any]
Levels = Mapping[str, Array]
Table = dict[str, dict[str, dict[str, float]]]

# group: {part: spread of its factors' logarithms}; `all` is the whole time. Factors of an engine,
# of an accelerator with it and of a number format together made versions that were kept aside
# worse than physics alone: there are none. Model and accelerator have just enough to be known as
# measured.
TPOT: Mapping[str, Mapping[str, float]] = {
    "accelerator": {"all": 0.01},
    "model": {"all": 0.01},
    "model and version": {"all": 0.1, "base": 0.1, "experts": 0.1, "stall": 0.15, "each": 0.2},
    "mode": {"all": 0.15, "experts": 0.2, "each": 0.3, "base": 0.1},
    "wide": {"all": 0.15, "experts": 0.2, "each": 0.3, "base": 0.1},
    "mode and model": {"all": 0.075, "experts": 0.1, "each": 0.15, "base": 0.05},
    "configuration": {"all": 0.13, "experts": 0.2, "base": 0.15, "stall": 0.2, "cache": 0.2,
                      "each": 0.35},
    "lengths": {"all": 0.05, "each": 0.1, "experts": 0.05},
}  # fmt: skip
TTFT: Mapping[str, Mapping[str, float]] = {
    "version": {"all": 0.1, "request": 0.15, "burst": 0.15, "own": 0.1},
    "model and version": {"all": 0.12, "request": 0.2, "burst": 0.15, "own": 0.1},
    "mode": {"all": 0.3, "burst": 0.3, "own": 0.15},
    "configuration": {"all": 0.2, "request": 0.25, "burst": 0.4, "own": 0.3, "queue": 0.5},
    "lengths": {"all": 0.1, "burst": 0.2},
}  # fmt: skip
# Spread of what is left, by mode; of models whose rows hide speculative decoding, more.
NOISE: Mapping[str, Mapping[str, float]] = {
    "tpot": {"together": 0.045, "together, wide": 0.15, "apart": 0.1,
             "apart, workers unknown": 0.3},
    "ttft": {"together": 0.15, "together, wide": 0.5, "apart": 0.4,
             "apart, workers unknown": 0.8},
}  # fmt: skip
HEAVY = 4.0  # degrees of freedom of what is left: outliers weigh little
TURNS = 3  # of weighing outliers down and of following the curve of the logarithm


def fit(
    parts: Mapping[str, Array], measured: Array, levels: Levels, noise: Array,
    spreads: Mapping[str, Mapping[str, float]],
) -> Table:  # fmt: skip
    """Factors' logarithms by group, level and part.

    parts     seconds of every part of every row
    measured  seconds
    levels    group -> level of every row; an empty one has no factors
    noise     spread of what is left, of every row
    """
    count = len(measured)
    names = list(parts)
    sums: dict[str, Array] = {name: np.zeros(count) for name in ("all", *names)}
    weight = np.ones(count)
    table: Table = {}
    same = {
        group: (levels[group][:, None] == levels[group][None, :]) & (levels[group] != "")[:, None]
        for group in spreads
    }
    for _ in range(TURNS):
        scaled = {name: parts[name] * _factor(sums[name]) for name in names}
        whole = np.sum(list(scaled.values()), axis=0)
        shares = {"all": np.ones(count), **{name: scaled[name] / whole for name in names}}
        predicted = np.log(whole) + sums["all"]
        target = np.log(measured) - predicted + sum(shares[n] * sums[n] for n in sums)
        covariance = np.zeros((count, count))
        for group, spread in spreads.items():
            inner = sum(s**2 * np.outer(shares[n], shares[n]) for n, s in spread.items())
            covariance += same[group] * inner
        covariance[np.diag_indices_from(covariance)] += noise**2 / weight + 1e-8
        pull = cho_solve(cho_factor(covariance, lower=True), target)
        table = _table(spreads, levels, shares, pull)
        sums = gathered(table, levels, names)
        left = np.log(measured) - apply(parts, sums)
        weight = np.minimum(1.3, (HEAVY + 1) / (HEAVY + (left / noise) ** 2))
    return table


def _factor(logarithms: Array) -> Array:
    return np.asarray(np.exp(np.clip(logarithms, -MOST, MOST)))


def _table(
    spreads: Mapping[str, Mapping[str, float]], levels: Levels, shares: Mapping[str, Array],
    pull: Array,
) -> Table:  # fmt: skip
    out: Table = {}
    for group, spread in spreads.items():
        at, place = np.unique(levels[group], return_inverse=True)
        found = {
            name: np.bincount(place, weights=pull * shares[name]) * s**2
            for name, s in spread.items()
        }
        out[group] = {
            str(level): {name: float(values[i]) for name, values in found.items()}
            for i, level in enumerate(at) if level
        }  # fmt: skip
    return out


def gathered(table: Table, levels: Levels, names: list[str]) -> dict[str, Array]:
    """The logarithms of the factors on every part of every row."""
    count = len(next(iter(levels.values())))
    sums = {name: np.zeros(count) for name in ("all", *names)}
    for group, found in table.items():
        for i, level in enumerate(levels[group].tolist()):
            for name, value in found.get(level, {}).items():
                sums[name][i] += value
    return sums


def apply(parts: Mapping[str, Array], sums: Mapping[str, Array]) -> Array:
    """Logarithms of predicted seconds."""
    whole = np.sum([parts[name] * _factor(sums[name]) for name in parts], axis=0)
    return np.asarray(np.log(whole) + np.clip(sums["all"], -MOST, MOST))
