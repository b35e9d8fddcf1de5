"""Robust least squares with a prior, by Levenberg and Marquardt's method, in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_EASED = 2.0  # residuals over so many standard deviations count linearly (Huber)
_FARTHEST = 0.7  # that a parameter moves in one round
_ENOUGH = 1e-4  # of the cost: less gained in a round ends the search
_DAMPING, _CALMED, _DAMPED = 1e-2, 5.0, 6.0
_TRIES = 6  # dampings in one round


def minimum(
    residuals: Callable[[Sequence[float]], Sequence[float]],
    prior: Sequence[float],
    spread: Sequence[float],
    *,
    step: float = 0.01,
    rounds: int = 12,
    start: Sequence[float] | None = None,
) -> list[float]:
    """The parameters that lie best between what is measured and the prior.

    residuals  of parameters: differences in standard deviations of one measured value, always as
               many of them
    prior      what the parameters are believed to be
    spread     standard deviations of that belief
    step       of a derivative, taken to both sides: as wide as what is not smooth asks for
    start      of the search; the prior where none is given
    """
    at = list(prior if start is None else start)
    believed = _Belief(prior=prior, spread=spread)
    now = residuals(at)
    cost = believed.cost(now, at)
    damping = _DAMPING
    for _ in range(rounds):
        slopes = _slopes(residuals, at, step)
        matrix, gradient = believed.normal(slopes, now, at)
        before = cost
        for _ in range(_TRIES):
            damped = [row.copy() for row in matrix]
            for index, row in enumerate(damped):
                row[index] *= 1.0 + damping
            moved = [
                value + max(-_FARTHEST, min(_FARTHEST, change))
                for value, change in zip(at, solution(damped, gradient), strict=True)
            ]
            then = residuals(moved)
            found = believed.cost(then, moved)
            if found < cost:
                at, now, cost, damping = moved, then, found, damping / _CALMED
                break
            damping *= _DAMPED
        if before - cost <= _ENOUGH * before:
            break
    return at


@dataclass(frozen=True, slots=True, kw_only=True)
class _Belief:
    """The prior, and what it makes of residuals."""

    prior: Sequence[float]
    spread: Sequence[float]

    def cost(self, found: Sequence[float], at: Sequence[float]) -> float:
        """What is to be least."""
        total = 0.0
        for value in found:
            size = abs(value)
            total += size * size if size <= _EASED else _EASED * (2.0 * size - _EASED)
        for value, believed, width in zip(at, self.prior, self.spread, strict=True):
            total += ((value - believed) / width) ** 2
        return total

    def normal(
        self, slopes: Sequence[Sequence[float]], now: Sequence[float], at: Sequence[float]
    ) -> tuple[list[list[float]], list[float]]:
        """Matrix and right side of the normal equations."""
        weights = [min(1.0, _EASED / abs(value)) if value else 1.0 for value in now]
        matrix, gradient = [], []
        for row, column in enumerate(slopes):
            weighted = [slope * weight for slope, weight in zip(column, weights, strict=True)]
            matrix.append([_product(weighted, other) for other in slopes])
            width = self.spread[row] ** 2
            matrix[row][row] += 1.0 / width
            gradient.append(-_product(weighted, now) - (at[row] - self.prior[row]) / width)
        return matrix, gradient


def _slopes(
    residuals: Callable[[Sequence[float]], Sequence[float]], at: Sequence[float], step: float
) -> list[list[float]]:
    """By parameter, how every residual changes with it."""
    slopes = []
    for index in range(len(at)):
        up, down = list(at), list(at)
        up[index] += step
        down[index] -= step
        pairs = zip(residuals(up), residuals(down), strict=True)
        slopes.append([(above - below) / (2.0 * step) for above, below in pairs])
    return slopes


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def solution(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """The solution of linear equations, by Gauss's elimination with the largest pivot first.

    Raises ZeroDivisionError where there is none.
    """
    count = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(count):
        pivot = max(range(column, count), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, count):
            factor = rows[row][column] / rows[column][column]
            for place in range(column, count + 1):
                rows[row][place] -= factor * rows[column][place]
    found = [0.0] * count
    for row in range(count - 1, -1, -1):
        known = sum(rows[row][place] * found[place] for place in range(row + 1, count))
        found[row] = (rows[row][count] - known) / rows[row][row]
    return found
