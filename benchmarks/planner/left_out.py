"""Predictions of rows that were left out of the fit: at random, by device, model or shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.planner.least_squares import Array
from benchmarks.planner.throughput_problem import Problem
from plimsoll.plan.speed.deviation import model_key

SEED = 7
FOLDS = 10
NINE_OF_TEN = 1.645


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Rows predicted by fits without them; arrays over all rows.

    groups      what was left out together
    predicted   natural logarithm of tokens per second
    physics     the same without corrections
    measured    variance of noise and of levels that the fit had seen
    unmeasured  variance of levels that it had not
    """

    groups: list[str]
    predicted: Array
    physics: Array
    measured: Array
    unmeasured: Array


def groups_of(problem: Problem) -> dict[str, list[str]]:
    """Ways to leave rows out: a group's name for every row."""
    order = np.random.default_rng(SEED).permutation(len(problem.rows))
    fold = np.empty(len(order), dtype=int)
    fold[order] = np.arange(len(order)) % FOLDS
    return {
        "rows (10-fold)": [str(number) for number in fold],
        "a device": [row.gpu for row in problem.rows],
        "a model": [row.model for row in problem.rows],
        "a shape": [model_key(row.deployment.network) for row in problem.rows],
    }


def left_out(problem: Problem, constants: Array, groups: list[str]) -> LeftOut:
    """Fits as often as there are groups, each time without one."""
    names = np.array(groups)
    result = {name: np.zeros(len(groups)) for name in ("predicted", "physics", "seen", "unseen")}
    for name in sorted(set(groups)):
        out, kept = np.flatnonzero(names == name), np.flatnonzero(names != name)
        at = problem.fit(kept, constants)
        found = problem.effects(at, kept)
        design = problem.design[out]
        met = np.abs(problem.design[kept]).sum(axis=0) > 0
        result["physics"][out] = problem.logarithms(at, out)
        result["predicted"][out] = result["physics"][out] + design @ found.values
        result["seen"][out] = design[:, met] ** 2 @ found.spreads[met] ** 2 + found.noise**2
        result["unseen"][out] = design[:, ~met] ** 2 @ found.spreads[~met] ** 2
    return LeftOut(
        groups=groups,
        predicted=result["predicted"],
        physics=result["physics"],
        measured=result["seen"],
        unmeasured=result["unseen"],
    )


def off(found: LeftOut, problem: Problem) -> Array:
    """Absolute percentage errors, as shares."""
    return np.asarray(np.abs(np.exp(found.predicted - problem.measured) - 1.0))


def coverage(found: LeftOut, problem: Problem, scales: dict[str, float]) -> float:
    """Share of rows inside their 90 % intervals."""
    variance = (
        scales["measured"] ** 2 * found.measured + scales["unmeasured"] ** 2 * found.unmeasured
    )
    inside = np.abs(found.predicted - problem.measured) < NINE_OF_TEN * np.sqrt(variance)
    return float(np.mean(inside))


def scales_of(problem: Problem, runs: dict[str, LeftOut]) -> dict[str, float]:
    """By how much spreads have to grow for intervals to hold nine of ten left-out rows.

    Of measured levels from rows left out at random, of others from whole devices and models.
    """
    scales = {"measured": 1.0, "unmeasured": 1.0}
    wanted = {"measured": ("rows (10-fold)",), "unmeasured": ("a device", "a model")}
    for name, ways in wanted.items():
        low, high = 0.2, 5.0
        for _ in range(30):
            middle = (low + high) / 2.0
            tried = scales | {name: middle}
            held = np.mean([coverage(runs[way], problem, tried) for way in ways])
            low, high = (middle, high) if held < 0.9 else (low, middle)
        scales[name] = high
    return scales


def table(problem: Problem, runs: dict[str, LeftOut], scales: dict[str, float]) -> str:
    """Errors of left-out rows as Markdown."""
    lines = [
        "| left out | mean | median | p90 | physics alone: mean | median | in 90 % interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, found in runs.items():
        errors = off(found, problem)
        bare = np.abs(np.exp(found.physics - problem.measured) - 1.0)
        held = coverage(found, problem, scales)
        shares = (
            errors.mean(), np.median(errors), np.quantile(errors, 0.9), bare.mean(),
            np.median(bare), held,
        )  # fmt: skip
        lines.append(f"| {way} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    for way in ("a device", "a model"):
        errors, groups = off(runs[way], problem), np.array(runs[way].groups)
        lines += ["", f"| without {way[2:]} | rows | mean | median |", "|---|---|---|---|"]
        for name in sorted(set(groups)):
            mine = errors[groups == name]
            lines.append(f"| {name} | {mine.size} | {mine.mean():.1%} | {np.median(mine):.1%} |")
    return "\n".join(lines)
