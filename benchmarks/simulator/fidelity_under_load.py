"""Stages of load measured on real engines beside the same stages in the simulator."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.planner.under_load import Stage
from benchmarks.simulator.under_load import Run, runs, seen, served
from plimsoll.errors import InputError
from plimsoll.facts.step_factors import fitted_runs, step_factors
from plimsoll.worlds.virtual.calibration.coefficients import physics

TARGETS = {"e2e_mean": 0.05, "itl_mean": 0.05, "ttft_mean": 0.12}
_ENGINE = "vllm"


def load_score(path: Path) -> dict[str, Any]:
    """Errors by metric over all stages. Raises InputError for what cannot be read."""
    found, unknown = runs(path)
    rows: list[dict[str, Any]] = []
    notes = [f"{unknown} rows are of models or devices that are not known"] if unknown else []
    for run in found:
        print(f"simulating {run.name}", file=sys.stderr)
        try:
            rows += _rows(run)
        except InputError as error:
            notes.append(str(error))
    if not rows:
        raise InputError(
            "has nothing that can be simulated", where=str(path), hint="; ".join(notes)
        )
    recorded = [row for row in rows if not row["rateInferred"]]
    inferred = [row for row in rows if row["rateInferred"]]
    metrics = _summary(recorded or inferred)
    return {
        "metrics": metrics,
        "rateInferred": _summary(inferred) if inferred and recorded else {},
        "notes": notes,
        "holds": all(
            metrics[name]["median"] <= most for name, most in TARGETS.items() if name in metrics
        ),
        "rows": rows,
    }


def _rows(run: Run) -> list[dict[str, Any]]:
    deployment = run.stages[0].deployment
    fitted = step_factors(_ENGINE, without=run.name)
    factors = fitted.of(deployment.network.name)
    context = sum(stage.prompt + stage.output / 2.0 for stage in run.stages) / len(run.stages)
    stages = served(run, physics(deployment, context=context).scaled(factors))
    pairs: list[tuple[Stage, Mapping[str, float]]] = [
        (stage, seen(jobs)) for stage, jobs in zip(run.stages, stages, strict=True)
    ]
    if run.joined:
        pairs.append((run.joined, seen([job for jobs in stages for job in jobs])))
    return [
        {
            "run": run.name,
            "tensor": deployment.split.tensor,
            "rate": stage.rate or None,
            "rateInferred": run.inferred,
            "leftOut": run.name in fitted_runs(_ENGINE),
            "errors": {
                metric: round(values[metric] / seconds - 1.0, 4)
                for metric, seconds in stage.measured.items()
                if metric in values and seconds > 0.0
            },
        }
        for stage, values in pairs
    ]


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(metric for row in rows for metric in row["errors"])
    result = {}
    for name in names:
        off = [abs(row["errors"][name]) for row in rows if name in row["errors"]]
        result[name] = {
            "rows": len(off),
            "median": round(statistics.median(off), 4),
            "mean": round(statistics.fmean(off), 4),
            "worst": max(off),
        }
    return result


def load_report(result: dict[str, Any]) -> str:
    """The score as Markdown."""
    lines = ["| metric | rows | median | mean | worst |", "|---|---|---|---|---|"]
    for part, tag in (("metrics", ""), ("rateInferred", ", load inferred")):
        for name, found in result[part].items():
            shares = (f"{found[key]:.1%}" for key in ("median", "mean", "worst"))
            lines.append(f"| {name}{tag} | {found['rows']} | {' | '.join(shares)} |")
    lines += [
        "",
        "| run | rate | end to end | between tokens | first token |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cells = (
            f"{row['errors'][name]:+.1%}" if name in row["errors"] else ""
            for name in ("e2e_mean", "itl_mean", "ttft_mean")
        )
        lines.append(f"| {row['run']} | {row['rate'] or 'all'} | {' | '.join(cells)} |")
    return "\n".join([*lines, *(f"\n{note}" for note in result["notes"])])
