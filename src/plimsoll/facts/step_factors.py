"""By what the steps of engines under load differ from the planner's physics: fitted factors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from plimsoll.facts.table import json_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFactors:
    """One fit.

    engine   whose runs it is fitted on
    without  a run that was left out of it, so that it can be judged on; empty: none
    factors  of each coefficient of a step, and of the seconds outside of steps (`request`)
    models   of all of a step, by the model's name in the catalogue; 1 for every other one
    source   the runs
    date     when it was fitted
    """

    engine: str
    without: str = ""
    factors: Mapping[str, float]
    models: Mapping[str, float] = field(default_factory=dict)
    source: str
    date: dt.date

    def of(self, model: str) -> dict[str, float]:
        """The factors for one model."""
        whole = self.models.get(model, 1.0)
        return {
            name: factor * (1.0 if name == "request" else whole)
            for name, factor in self.factors.items()
        }


@cache
def _rows() -> tuple[StepFactors, ...]:
    return json_lines("step_factors.jsonl", StepFactors)


def step_factors(engine: str, *, without: str = "") -> StepFactors:
    """The fit of an engine; that of vLLM for one without its own.

    without  a run: the fit that left it out where it was fitted on, else the fit of all runs
    """
    rows = [row for row in _rows() if row.engine == engine]
    rows = rows or [row for row in _rows() if row.engine == "vllm"]
    found = {row.without: row for row in rows}
    return found.get(without) or found[""]


def fitted_runs(engine: str) -> frozenset[str]:
    """The runs that an engine's factors are fitted on."""
    return frozenset(row.without for row in _rows() if row.engine == engine and row.without)
