"""Fits the constants of servers under load on measured stages and writes them to `facts/data`.

`python -m benchmarks.planner.fit_under_load [FILE] [--report]`; with `--report` it writes nothing
and prints errors on models that were left out of the fit.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np

from benchmarks.planner.fit_throughput import DATA, DATE, PUBLISHED, ROOT, readable
from benchmarks.planner.least_squares import Array, minimum
from benchmarks.planner.throughput import with_slots
from benchmarks.planner.under_load import METRICS, Stage, predicted, stages
from plimsoll.plan.speed.load import Objectives, capacity

MEASURED = ROOT.parent / "shared" / "data" / "perf" / "vllm_under_load.csv"
FULL_SOURCE = (
    "steps alone against the published throughput of TensorRT-LLM, on which nothing in them was "
    "fitted but the share of a PCIe link"
)
STAGES_SOURCE = "fitted on vLLM 0.15.1 on H100, measured by inference-sim: {} stages of {} runs"
# What is believed before the fit: value, spread of the logarithm, unit.
PRIORS = {
    "request": (0.0075, 0.4, "seconds"),
    "lag": (0.5, 0.4, "steps"),
    "steps": (1.0, 0.1, "factor"),
    "prompt_start": (0.7, 0.4, "share"),
}
FITTED = ("ttft_mean", "ttft_p90", "itl_mean", "e2e_mean")
KINDS = {"ttft": "spread_ttft", "tpot": "spread_tpot", "e2e": "spread_end_to_end"}
NOISE = 0.05
WITHOUT_SPREAD = dict.fromkeys(KINDS.values(), 0.1)
ARRIVALS = ("arrivals", "2", "sum of squared coefficients of variation",
            "Poisson arrivals; lengths taken to vary as much", DATE)  # fmt: skip


def constants_of(values: Array) -> dict[str, float]:
    """Constants as `under_load` takes them, of the fit's parameters."""
    fitted = dict(zip(PRIORS, (float(value) for value in np.exp(values)), strict=True))
    return {"prompt_token": 0.0, "arrivals": 2.0, **fitted, **WITHOUT_SPREAD}


def fit(found: list[Stage]) -> Array:
    """Parameters that fit single stages."""
    start = np.log([value for value, _, _ in PRIORS.values()])
    spread = np.array([width for _, width, _ in PRIORS.values()])

    def logarithms(values: Array) -> Array:
        constants = constants_of(values)
        return np.log(
            [
                estimates[metric].value
                for stage in found
                for estimates in (predicted(stage, constants),)
                for metric in FITTED
            ]
        )

    measured = np.log([stage.measured[metric] for stage in found for metric in FITTED])
    return minimum(logarithms, measured, start, start, spread, noise=NOISE)


def left_out(found: list[Stage]) -> dict[str, dict[str, list[float]]]:
    """Logarithms of predicted over measured, by model and metric, by fits without the model."""
    result: dict[str, dict[str, list[float]]] = {}
    for model in sorted({stage.model for stage in found}):
        constants = constants_of(fit([stage for stage in found if stage.model != model]))
        errors = result.setdefault(model, {metric: [] for metric in METRICS})
        for stage in found:
            if stage.model == model:
                for metric, estimate in predicted(stage, constants).items():
                    errors[metric].append(float(np.log(estimate.value / stage.measured[metric])))
    return result


def spreads(errors: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Standard deviations whose 90 % intervals hold nine of ten left-out values."""
    result = {}
    for kind, name in KINDS.items():
        off = np.abs(
            [
                error
                for found in errors.values()
                for metric, (of, _) in METRICS.items()
                if of == kind
                for error in found[metric]
            ]
        )
        result[name] = float(np.quantile(off, 0.9)) / 1.645
    return result


def spread_at_full_load(constants: dict[str, float]) -> float:
    """The same for throughput at full load, made of steps alone, against what was published."""
    off = []
    for row in readable(PUBLISHED):
        most = capacity(
            with_slots(row), row.prompt, row.output, Objectives(), constants=constants
        ).requests_per_second
        if most > 0:
            off.append(abs(float(np.log(most * row.output / row.measured))))
    return float(np.quantile(off, 0.9)) / 1.645


def table(errors: dict[str, dict[str, list[float]]]) -> str:
    """Errors on left-out models as Markdown."""
    lines = ["| metric, without the model | rows | mean | median | p90 |", "|---|---|---|---|---|"]
    for metric in METRICS:
        off = np.abs(np.expm1([error for found in errors.values() for error in found[metric]]))
        lines.append(
            f"| {metric} | {off.size} | {off.mean():.1%} | {np.median(off):.1%} | "
            f"{np.quantile(off, 0.9):.1%} |"
        )
    lines += ["", "| without model | ttft | itl | e2e |", "|---|---|---|---|"]
    for model, found in errors.items():
        means = (
            float(np.mean(np.abs(np.expm1(found[metric]))))
            for metric in ("ttft_mean", "itl_mean", "e2e_mean")
        )
        lines.append(f"| {model} | {' | '.join(f'{mean:.1%}' for mean in means)} |")
    return "\n".join(lines)


def main() -> None:
    """Fit and write, or fit and report."""
    paths = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    every, _ = stages(Path(paths[0]) if paths else MEASURED)
    found = [stage for stage in every if stage.rate]
    errors = left_out(found)
    if "--report" in sys.argv:
        print(table(errors))
        return
    counts = len(found), len({stage.run for stage in found})
    constants = constants_of(fit(found))
    values = constants | spreads(errors) | {"spread_full": spread_at_full_load(constants)}
    units = {name: unit for name, (_, _, unit) in PRIORS.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "engine", "value", "unit", "source", "date"])
    for name, value in values.items():
        if name == "arrivals":
            writer.writerow([name, "", *ARRIVALS[1:]])
        elif name == "prompt_token":
            writer.writerow([name, "", "0", "seconds", "too small to be seen in the data", DATE])
        else:
            unit = units.get(name, "natural logarithm")
            source = FULL_SOURCE if name == "spread_full" else STAGES_SOURCE.format(*counts)
            writer.writerow([name, "", f"{value:.5g}", unit, source, DATE])
    (DATA / "load_constants.csv").write_text(text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
