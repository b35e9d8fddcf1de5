"""Fits the constants of full load on published throughput and writes them to `facts/data`.

`python -m benchmarks.planner.fit_throughput [FILE] [--report]`; with `--report` it writes nothing
and prints errors on rows, models and devices that were left out of the fit.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import sys
from pathlib import Path

import numpy as np

from benchmarks.planner.least_squares import Array
from benchmarks.planner.left_out import groups_of, left_out, scales_of, table
from benchmarks.planner.throughput import RUNS, Row, rows
from benchmarks.planner.throughput_problem import Problem
from plimsoll.plan.speed.deviation import UNMEASURED

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared" / "data" / "perf" / "trtllm_perf_overview.csv"
DATA = ROOT / "src" / "plimsoll" / "facts" / "data"
SOURCE = "fitted on the published throughput of NVIDIA/TensorRT-LLM docs"
SHORT_SOURCE = "fitted likewise"
DATE = dt.date(2026, 11, 21).isoformat()


def fitted(found: list[Row]) -> tuple[Problem, Array]:
    """Twice: memory depends on how many requests a run admits, which the first pass finds."""
    first = Problem(found, {})
    constants = first.fit(np.arange(len(found)))
    slots = {name: float(np.exp(constants[first.index[f"slots.{name}"]])) for name in first.known}
    problem = Problem(found, slots)
    return problem, problem.fit(np.arange(len(found)))


def readable(path: Path) -> list[Row]:
    """Rows at full load."""
    return [row for row in rows(path) if row and not row.rate]


def write(problem: Problem, constants: Array, scales: dict[str, float]) -> None:
    """The constants, the corrections and how runs were loaded, as data files."""
    physics: list[list[str]] = []
    runs: list[list[str]] = []
    for name, value in zip(problem.names, np.exp(constants), strict=True):
        line = [name, f"{value:.5g}", problem.priors[name].unit, SOURCE, DATE]
        (runs if name.startswith(("slots", "requests")) else physics).append(line)
    header = ["name", "value", "unit", "source", "date"]
    _save(DATA / "saturation_constants.csv", header, physics)
    _save(RUNS, header, runs)
    found = problem.effects(constants, np.arange(len(problem.rows)))
    lines = [
        [factor, level, str(term), f"{value:.4f}", f"{spread * scales['measured']:.4f}"]
        for (factor, level, term), value, spread in zip(
            problem.columns, found.values, found.spreads, strict=True
        )
    ]
    lines += [
        [factor, UNMEASURED, str(term), "0", f"{spread * scales['unmeasured']:.4f}"]
        for (factor, term), spread in sorted(found.between.items())
    ]
    lines.append(["noise", UNMEASURED, "0", "0", f"{found.noise * scales['measured']:.4f}"])
    _save(
        DATA / "saturation_deviations.csv",
        ["factor", "level", "term", "value", "spread", "source", "date"],
        [[*line, SHORT_SOURCE, DATE] for line in lines],
    )


def _save(path: Path, header: list[str], lines: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *lines])
    path.write_text(text.getvalue(), encoding="utf-8")


def main() -> None:
    """Fit and write, or fit and report."""
    paths = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    problem, constants = fitted(readable(Path(paths[0]) if paths else PUBLISHED))
    ways = groups_of(problem)
    runs = {name: left_out(problem, constants, groups) for name, groups in ways.items()}
    scales = scales_of(problem, runs)
    if "--report" in sys.argv:
        print(table(problem, runs, scales))
    else:
        write(problem, constants, scales)


if __name__ == "__main__":
    main()
