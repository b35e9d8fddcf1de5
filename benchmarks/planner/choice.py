"""How much of the best measured throughput the planner's choice among configurations keeps.

`python -m benchmarks.planner.choice [FILE] [--json] [--left-out]`; with `--left-out` each choice is
made by fits that have not seen its model, its device or the choice itself. A choice is among all
measured precisions and splits of one model on one device at one pair of lengths.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.planner.fit_throughput import PUBLISHED, fitted, readable
from benchmarks.planner.left_out import left_out
from benchmarks.planner.throughput import Row, predicted

Case = tuple[Row, float]  # with predicted output tokens per second


def question(row: Row, *, by_release: bool) -> str:
    """What a choice is made for."""
    release = f" {row.version}" if by_release else ""
    return f"{row.model} {row.gpu} {row.prompt:.0f}/{row.output:.0f}{release}"


def _configuration(row: Row) -> str:
    return f"{row.precision} {row.deployment.split}"


def kept(cases: Iterable[Case], *, by_release: bool, per_device: bool) -> dict[str, float]:
    """Measured throughput of what was chosen over the best measured, by question.

    Questions with one configuration are no choice and left out. Where a configuration was
    measured by several releases and they are not told apart, its mean counts.
    """
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row, value in cases:
        share = row.deployment.split.devices if per_device else 1
        measured = groups.setdefault(question(row, by_release=by_release), {})
        measured.setdefault(_configuration(row), []).append((value / share, row.measured / share))
    result = {}
    for name, found in groups.items():
        if len(found) > 1:
            means = [
                tuple(statistics.fmean(column) for column in zip(*pairs, strict=True))
                for pairs in found.values()
            ]
            result[name] = max(means)[1] / max(mean[1] for mean in means)
    return result


def summary(cases: list[Case]) -> dict[str, Any]:
    """The share that is kept, for all ways to ask."""
    result = {}
    for by_release in (True, False):
        for per_device in (True, False):
            shares = list(kept(cases, by_release=by_release, per_device=per_device).values())
            name = f"{'per device' if per_device else 'in all'}, " + (
                "one release" if by_release else "any release"
            )
            result[name] = {
                "choices": len(shares),
                "mean": statistics.fmean(shares) if shares else math.nan,
                "least": min(shares, default=math.nan),
                "best_chosen": statistics.fmean(s >= 0.999 for s in shares) if shares else math.nan,
            }
    return result


def score(path: str | Path, *, without: bool = False) -> dict[str, Any]:
    """Shares that are kept with the shipped constants and, if asked, by fits without the rows."""
    found = readable(Path(path))
    result = {"fitted": summary([(row, predicted(row).value) for row in found])}
    if without:
        problem, constants = fitted(found)
        ways = {
            "without the choice": [question(row, by_release=False) for row in found],
            "without the model": [row.model for row in found],
            "without the device": [row.gpu for row in found],
        }
        # Leaving out every question alone would take hundreds of fits; ten sets of questions do.
        order = {
            name: index % 10 for index, name in enumerate(sorted(set(ways["without the choice"])))
        }
        ways["without the choice"] = [str(order[name]) for name in ways["without the choice"]]
        for name, groups in ways.items():
            values = left_out(problem, constants, groups).predicted
            cases = [(row, math.exp(value)) for row, value in zip(found, values, strict=True)]
            result[name] = summary(cases)
    return result


def report(result: dict[str, Any]) -> str:
    """The score as a Markdown table."""
    lines = [
        "| choice by | of throughput | choices | kept of the best: mean | least | best chosen |",
        "|---|---|---|---|---|---|",
    ]
    for way, found in result.items():
        for name, shares in found.items():
            lines.append(
                f"| {way} | {name} | {shares['choices']} | {shares['mean']:.1%} | "
                f"{shares['least']:.1%} | {shares['best_chosen']:.1%} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    paths = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    outcome = score(paths[0] if paths else PUBLISHED, without="--left-out" in sys.argv)
    print(json.dumps(outcome, indent=2) if "--json" in sys.argv else report(outcome))
