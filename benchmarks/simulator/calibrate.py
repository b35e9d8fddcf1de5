"""Fits what steps under load differ by from the planner's physics, and writes it to `facts/data`.

`python -m benchmarks.simulator.calibrate [FILE] [--report]`: FILE is shaped as
`vllm_under_load.csv`. One fit of all its experiments, and one without each of them, with which
`fidelity` judges it. `--report` writes nothing and prints errors on models that were left out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.planner.fit_throughput import DATA, DATE, ROOT
from benchmarks.simulator.under_load import Run, runs, seen, served
from plimsoll.worlds.virtual.calibration.coefficients import Coefficients, physics
from plimsoll.worlds.virtual.calibration.least_squares import minimum

MEASURED = ROOT.parent / "shared" / "data" / "perf" / "vllm_under_load.csv"
SOURCE = (
    "benchmarks.simulator.calibrate on vLLM 0.15.1 on H100, measured by inference-sim"
    " (Apache-2.0): {} experiments"
)
# What is believed before the fit: factor, and spread of its logarithm. The planner's physics is
# itself fitted on kernels and requests, so most lies near 1; graphs capture short prompts.
PRIORS = {
    "fixed": (1.0, 0.12), "read": (1.0, 0.05), "multiply": (1.0, 0.2), "exchange": (1.0, 0.3),
    "experts": (1.0, 0.12), "answer": (1.0, 0.7), "context": (1.0, 0.25),
    "attention": (1.0, 0.3), "mixed": (0.3, 0.7), "request": (1.0, 0.4),
}  # fmt: skip
_MODEL = 0.08  # spread of what a model's steps differ by, after that
# Of one measured mean, natural logarithm; those of one experiment err together.
NOISE = {"e2e_mean": 0.06, "ttft_mean": 0.12, "itl_mean": 0.06}
_SECONDS = 80.0  # of each stage, in a fit
_COLD = 5  # part of a stage, its reciprocal, that is not looked at: caches are empty in the first
_AGREES = 0.05  # tokens counted by streamed chunks are fewer than those asked for, else
_STEP = 0.03  # of a derivative


@dataclass(slots=True)
class Fitting:
    """Residuals of runs, each run's kept while its own parameters stay."""

    found: Sequence[Run]
    models: tuple[str, ...]
    kept: dict[tuple[str, tuple[float, ...]], list[float]] = field(default_factory=dict)
    bases: dict[str, Coefficients] = field(default_factory=dict)

    def factors(self, run: Run, values: Sequence[float]) -> dict[str, float]:
        """Of each coefficient, for the model of a run."""
        model = run.stages[0].deployment.network.name
        whole = 0.0
        if model in self.models:
            whole = values[len(PRIORS) + self.models.index(model)]
        return {
            name: math.exp(value + (whole if name != "request" else 0.0))
            for name, value in zip(PRIORS, values, strict=False)
        }

    def residuals(self, values: Sequence[float]) -> list[float]:
        """Of all runs, in standard deviations."""
        every: list[float] = []
        for run in self.found:
            factors = self.factors(run, values)
            key = run.name, tuple(factors.values())
            if key not in self.kept:
                self.kept[key] = _residuals(run, self._base(run).scaled(factors))
            every += self.kept[key]
        return every

    def _base(self, run: Run) -> Coefficients:
        if run.name not in self.bases:
            self.bases[run.name] = base_of(run)
        return self.bases[run.name]

    def fit(self, start: Sequence[float] | None = None, *, rounds: int = 8) -> list[float]:
        """The parameters that fit best: logarithms of factors, then of models' effects."""
        prior = [math.log(value) for value, _ in PRIORS.values()] + [0.0] * len(self.models)
        spread = [width for _, width in PRIORS.values()] + [_MODEL] * len(self.models)
        return minimum(self.residuals, prior, spread, step=_STEP, rounds=rounds, start=start)


def base_of(run: Run) -> Coefficients:
    """What physics says of a run's steps, layers with windows at the context of its requests."""
    context = sum(stage.prompt + stage.output / 2.0 for stage in run.stages) / len(run.stages)
    return physics(run.stages[0].deployment, context=context)


def _residuals(run: Run, coefficients: Coefficients) -> list[float]:
    result = []
    for stage, jobs in zip(run.stages, served(run, coefficients, seconds=_SECONDS), strict=True):
        values = seen(jobs[len(jobs) // _COLD :])
        whole = stage.measured["e2e_mean"] - stage.measured["ttft_mean"]
        chunks = stage.measured["itl_mean"] * (stage.output - 1.0) / whole
        for metric, noise in NOISE.items():
            if metric == "itl_mean" and abs(chunks - 1.0) > _AGREES:
                result.append(0.0)
            else:
                result.append(math.log(values[metric] / stage.measured[metric]) / noise)
    return result


def row(
    fitting: Fitting, values: Sequence[float], without: str, experiments: int
) -> dict[str, object]:
    """One line of the data file."""
    effects = values[len(PRIORS) :]
    return {
        "engine": "vllm",
        "without": without,
        "factors": {
            name: round(math.exp(value), 4) for name, value in zip(PRIORS, values, strict=False)
        },
        "models": {
            model: round(math.exp(value), 4)
            for model, value in zip(fitting.models, effects, strict=True)
        },
        "source": SOURCE.format(experiments),
        "date": DATE,
    }


def models_of(found: Sequence[Run]) -> tuple[str, ...]:
    """The models of runs, by their names in the catalogue."""
    return tuple(sorted({run.stages[0].deployment.network.name for run in found}))


def written(found: Sequence[Run]) -> str:
    """The data file: the fit of all experiments first, then those without one."""
    models = models_of(found)
    fitting = Fitting(found=found, models=models)
    values = fitting.fit()
    rows = [row(fitting, values, "", len(found))]
    for number, run in enumerate(found, start=1):
        print(f"without {run.name} ({number} of {len(found)})", file=sys.stderr)
        rest = Fitting(
            found=[other for other in found if other is not run], models=models, kept=fitting.kept
        )
        rows.append(row(rest, rest.fit(), run.name, len(found) - 1))
    return "".join(msgspec.json.encode(one).decode() + "\n" for one in rows)


def report(found: Sequence[Run]) -> str:
    """Errors on models that were left out of the fit, as Markdown."""
    off: dict[str, list[float]] = {metric: [] for metric in NOISE}
    for model in models_of(found):
        here = [run for run in found if run.stages[0].deployment.network.name == model]
        rest = [run for run in found if run not in here]
        fitting = Fitting(found=rest, models=models_of(rest))
        print(f"without {model}", file=sys.stderr)
        values = fitting.fit()
        for run in here:
            coefficients = base_of(run).scaled(fitting.factors(run, values))
            for stage, jobs in zip(run.stages, served(run, coefficients), strict=True):
                values_seen = seen(jobs)
                for metric in NOISE:
                    off[metric].append(abs(values_seen[metric] / stage.measured[metric] - 1.0))
    lines = ["| metric, without the model | stages | median | mean |", "|---|---|---|---|"]
    for metric, errors in off.items():
        middle = sorted(errors)[len(errors) // 2]
        lines.append(
            f"| {metric} | {len(errors)} | {middle:.1%} | {sum(errors) / len(errors):.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Fit and write, or fit and report."""
    paths = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    found, _ = runs(Path(paths[0]) if paths else MEASURED)
    if "--report" in sys.argv:
        print(report(found))
        return
    (DATA / "step_factors.jsonl").write_text(written(found), encoding="utf-8")


if __name__ == "__main__":
    main()
