"""Fits the speed model on measured requests and rewrites its facts.

`python -m benchmarks.planner.fit_silicon [FILE]` writes facts/data/speed_constants.csv,
speed_effects.jsonl and speed_intervals.csv; `--report` also prints how far predictions are off
where rows, configurations, models, accelerators and versions were kept aside. Needs scipy.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.planner import fit_physics
from benchmarks.planner.fit_model import Model, Predicted, crossed, fit, predict
from benchmarks.planner.measured import Measured, read
from benchmarks.planner.silicon import rows as silicon_rows

Array = np.ndarray[Any, Any]

ROWS = Path("../shared/data/perf/silicon_sample.csv.gz")
FACTS = Path("src/plimsoll/facts/data")
SOURCE = "benchmarks.planner.fit_silicon on ai-dynamo/aiconfigurator measured requests"
DATE = "2026-11-21"
LEAST = 0.002  # logarithm of a factor that is worth keeping
FEW = 12  # rows under which a mode has no interval of its own
# What stays known when a fold of this kind is kept aside.
KNOWN = {
    "rows": "configuration",
    "configuration": "deployment",
    "accelerator": "model",
    "model": "accelerator",
    "model and accelerator": "nothing",
}


def constants(model: Model, path: Path) -> list[list[object]]:
    """Rows of speed_constants.csv."""
    out: list[list[object]] = []
    for fitted in (model.steps, model.requests):
        for engine in ("", *fit_physics.ENGINES):
            for name, value in fitted.of(engine).items():
                out.append([name, engine, f"{value:.4g}", fitted.table[name][3], SOURCE, DATE])
    return out + usual(path) + limits(path)


def usual(path: Path) -> list[list[object]]:
    """Replicas of deployments whose prompts are computed apart, from the rows that say.

    The median of those that decode; the upper quartile of the requests that each of those that
    compute prompts has, as what is left unsaid is mostly of large deployments.
    """
    said = [row for row in silicon_rows(path) if row and not row.together and row.workers]
    cut = [row.workers for row in said if row.deployment.split.data == 1]
    pressing = [row.concurrency / row.prefills for row in said if row.prefills]
    return [
        ["usual_decodes", "", statistics.median(cut), "replicas", SOURCE, DATE],
        [
            "usual_pressing",
            "",
            f"{statistics.quantiles(pressing, n=4)[2]:.4g}",
            "requests per replica that computes prompts",
            SOURCE,
            DATE,
        ],
    ]


def limits(path: Path) -> list[list[object]]:
    """The least and the most of what was measured."""
    found = [row for row in silicon_rows(path) if row]
    each = [row.concurrency / max(1, row.workers) for row in found]
    return [
        [f"{edge}_{name}", "", f"{pick(values):.4g}", unit, SOURCE, DATE]
        for name, values, unit in (
            ("prompt", [row.prompt for row in found], "tokens"),
            ("output", [row.output for row in found], "tokens"),
            ("concurrency", each, "requests per replica"),
        )
        for edge, pick in (("least", min), ("most", max))
    ]


def effects(model: Model) -> list[str]:
    """Lines of speed_effects.jsonl."""
    out = []
    for target, table in (("tpot", model.tpot), ("ttft", model.ttft)):
        kept = {
            group: {
                level: {name: round(value, 4) for name, value in sorted(parts.items())
                        if abs(value) >= LEAST}
                for level, parts in sorted(found.items())
                if group != "lengths" or any(abs(value) >= LEAST for value in parts.values())
            }
            for group, found in table.items()
        }  # fmt: skip
        line = {"target": target, "levels": kept, "source": SOURCE, "date": DATE}
        out.append(json.dumps(line, separators=(",", ":")))
    return out


def intervals(rows: Measured, aside: Mapping[str, Predicted]) -> list[list[object]]:
    """Rows of speed_intervals.csv: quantiles of what predictions of rows kept aside missed."""
    out: list[list[object]] = []
    for kind, known in KNOWN.items():
        for target in ("tpot", "ttft"):
            missed = np.log(getattr(rows, target)) - getattr(aside[kind], target)
            for mode in np.unique(rows.modes):
                left = missed[(rows.modes == mode) & np.isfinite(missed)]
                if len(left) < FEW:
                    continue
                edge = 0.05 * (1 - 1 / len(left))  # quantiles of few rows reach too short
                low, high = np.quantile(left, [edge, 1 - edge])
                out.append([target, known, mode, f"{min(low, 0):.4f}", f"{max(high, 0):.4f}",
                            len(left), SOURCE, DATE])  # fmt: skip
    return out


def write(name: str, header: str, rows: list[list[object]]) -> None:
    """One CSV of facts."""
    with (FACTS / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split(","))
        writer.writerows(rows)


def line(name: str, missed: Array) -> str:
    """One line of a table: absolute percentage errors."""
    off = np.abs(np.exp(missed[np.isfinite(missed)]) - 1) * 100
    if not len(off):
        return f"| {name} | 0 | | | |"
    return (
        f"| {name} | {len(off)} | {off.mean():.1f} | {np.median(off):.1f} "
        f"| {np.quantile(off, 0.9):.1f} |"
    )


def report(kind: str, rows: Measured, found: Predicted) -> None:
    """The table of one kind of folds."""
    print(f"\nKept aside: {kind}\n\n| | rows | mean % | median % | p90 % |\n|-|-|-|-|-|")
    for target in ("tpot", "ttft"):
        measured = np.log(getattr(rows, target))
        missed = getattr(found, target) - measured
        physics = getattr(found, f"{target}_physics") - measured
        print(line(target, missed))
        for mode in np.unique(rows.modes):
            print(line(f"{target}, {mode}", missed[rows.modes == mode]))
        print(line(f"{target}, together, physics alone", physics[rows.modes == "together"]))
        if kind in ("model", "accelerator"):
            for one in np.unique(rows.levels[kind]):
                print(line(f"{target}, {one}", missed[rows.levels[kind] == one]))


def main() -> None:
    """Fits, writes, reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=ROWS)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--constants-only", action="store_true")
    asked = parser.parse_args()
    rows = read(asked.file)
    model = fit(rows)
    write("speed_constants.csv", "name,engine,value,unit,source,date", constants(model, asked.file))
    text = "\n".join(effects(model)) + "\n"
    (FACTS / "speed_effects.jsonl").write_text(text, encoding="utf-8")
    if asked.constants_only:
        return
    aside = {kind: crossed(kind, rows, model) for kind in KNOWN}
    write("speed_intervals.csv", "target,known,mode,low,high,rows,source,date",
          intervals(rows, aside))  # fmt: skip
    if asked.report:
        report("nothing", rows, predict(model, rows))
        for kind, found in aside.items():
            report(kind, rows, found)
        report("version", rows, crossed("version", rows, model))


if __name__ == "__main__":
    main()
