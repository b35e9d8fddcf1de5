"""Corrections of levels of factors, shrunk by how much levels differ (random effects)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Column = tuple[str, str, int]  # factor, level, term
_DEGREES = 5.0  # of freedom of the noise: rows far off count less
_LEAST_SPREAD = 0.02  # of levels of a factor, held against with the weight of two levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What was fitted.

    values    of each column
    spreads   standard deviations that are left of each
    between   standard deviation between levels, by factor and term
    noise     standard deviation of one row
    """

    values: Array
    spreads: Array
    between: dict[tuple[str, int], float]
    noise: float


def effects(design: Array, columns: list[Column], residuals: Array, *, rounds: int = 25) -> Effects:
    """The effects that explain `residuals`, by expectation and maximization.

    design  rows by columns: the function of lengths of each column's term where the row has its
            level, 0 elsewhere
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for index, (factor, _, term) in enumerate(columns):
        groups.setdefault((factor, term), []).append(index)
    between = np.full(design.shape[1], 0.05**2)
    weight, noise = np.ones(len(residuals)), 0.06**2
    values, left = np.zeros(design.shape[1]), between
    for _ in range(rounds):
        spread = design * between
        inverse = np.linalg.inv(spread @ design.T + np.diag(noise / weight))
        values = spread.T @ (inverse @ residuals)
        left = between - between**2 * np.einsum("ij,ij->j", design, inverse @ design)
        rest = residuals - design @ values
        fitted = noise / weight - (noise / weight) ** 2 * np.diag(inverse)
        weight = (_DEGREES + 1.0) / (_DEGREES + rest**2 / noise)
        noise = float(np.sum(weight * (rest**2 + fitted)) / len(residuals))
        for members in groups.values():
            seen = float(np.sum(values[members] ** 2) + np.sum(left[members]))
            between[members] = (seen + 2 * _LEAST_SPREAD**2) / (len(members) + 2)
    return Effects(
        values=values,
        spreads=np.sqrt(np.maximum(left, 0.0)),
        between={key: float(np.sqrt(between[members[0]])) for key, members in groups.items()},
        noise=float(np.sqrt(noise)),
    )
