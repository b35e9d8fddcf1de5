"""Published throughput as a problem of least squares: priors, constants and rows as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.planner.least_squares import Array, minimum
from benchmarks.planner.mixed_effects import Column, Effects, effects
from benchmarks.planner.throughput import MOST_REQUESTS, Row
from plimsoll.plan.speed.constants import names
from plimsoll.plan.speed.deviation import TERMS, basis, levels
from plimsoll.plan.speed.full_load import FullLoad, Rates, Round, full_load, round_of

Places = NDArray[np.int64]
FIRST_SLOTS = 2048  # TensorRT-LLM's max_batch_size where nothing is said
NOISE = 0.06  # of one row: the same configuration differs by 7.5 % between releases
ALIKE = 3.0  # rows of one series that count as one each; more of them share their error
ROUNDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What is believed of a constant before the fit: a value and a spread of its logarithm."""

    value: float
    spread: float
    unit: str = "factor"


def priors(known: Sequence[str]) -> dict[str, Prior]:
    """Of every constant: what hardware and kernels usually reach, and how far that is from sure."""
    share, seconds = "share of peak", "seconds"
    reference = "0.14.0"
    later = [name for name in known if name != reference]
    generations = ("ampere", "ada", "blackwell")  # beside hopper
    return {
        "weights": Prior(value=0.85, spread=0.056, unit="share of bandwidth"),
        "cache": Prior(value=0.8, spread=0.07, unit="share of bandwidth"),
        "experts": Prior(value=0.85, spread=0.14),
        "prompts": Prior(value=0.55, spread=0.14, unit=share),
        **{f"memory.{name}": Prior(value=value, spread=0.07)
           for name, value in zip(generations, (0.9, 0.95, 1.0), strict=True)},
        **{f"matrix.{name}": Prior(value=value, spread=0.07)
           for name, value in zip(generations, (1.05, 1.0, 0.95), strict=True)},
        "matrix.bf16": Prior(value=0.6, spread=0.07, unit=share),
        "matrix.fp8": Prior(value=0.55, spread=0.07, unit=share),
        "matrix.fp4": Prior(value=0.45, spread=0.14, unit=share),
        "matrix.widened": Prior(value=0.6, spread=0.21),
        "link.nvlink": Prior(value=0.8, spread=0.14, unit="share of link rate"),
        "link.pcie": Prior(value=0.5, spread=0.14, unit="share of link rate"),
        "reduction.nvlink": Prior(value=25e-6, spread=0.21, unit=seconds),
        "reduction.pcie": Prior(value=120e-6, spread=0.28, unit=seconds),
        "routed": Prior(value=0.4, spread=0.21, unit="share of link rate"),
        "routing": Prior(value=8e-6, spread=0.28, unit=seconds),
        "handed": Prior(value=0.3, spread=0.28, unit="share of link rate"),
        "imbalance": Prior(value=0.02, spread=0.4, unit="share of a step"),
        "bubble": Prior(value=0.12, spread=0.28, unit="share of a stage's time"),
        "layer": Prior(value=45e-6, spread=0.21, unit=seconds),
        "mixture": Prior(value=120e-6, spread=0.21, unit=seconds),
        "step": Prior(value=2e-3, spread=0.28, unit=seconds),
        "sequence": Prior(value=1e-6, spread=0.42, unit=seconds),
        "traffic": Prior(value=22.0, spread=0.14, unit="passes over activations"),
        "expert_traffic": Prior(value=0.7, spread=0.21, unit="passes over activations"),
        "reserve": Prior(value=6e8, spread=0.18, unit="bytes"),
        "grown": Prior(value=0.6, spread=0.1, unit="share"),
        "sharpness": Prior(value=1.8, spread=0.1, unit="exponent"),
        "chunk": Prior(value=0.9, spread=0.18),
        "tail": Prior(value=0.22, spread=0.21, unit="share of a round"),
        f"release.{reference}": Prior(value=1.0, spread=1e-6),
        **{f"release.{name}": Prior(value=1.0, spread=0.042) for name in later},
        **{f"overhead.{name}": Prior(value=1.0, spread=0.21) for name in later},
        **{f"slots.{name}": Prior(value=1500.0, spread=0.28, unit="requests per device group")
           for name in known},
        "requests": Prior(value=6000.0, spread=0.21, unit="requests"),
        "requests_slope": Prior(value=0.95, spread=0.07, unit="exponent"),
    }  # fmt: skip


class Problem:
    """Rows of one file, prepared so that all are computed at once for any constants."""

    def __init__(self, found: list[Row], sequences: dict[str, float]) -> None:
        self.rows = found
        self.known = tuple(sorted({row.version for row in found}))
        self.priors = priors(self.known)
        self.names = list(self.priors)
        self.start = np.log([prior.value for prior in self.priors.values()])
        self.spread = np.array([prior.spread for prior in self.priors.values()])
        self.measured = np.log([row.measured for row in found])
        self.index = {name: index for index, name in enumerate(self.names)}
        self._choose()
        loads = [
            full_load(
                replace(row.deployment, sequences=max(1, round(
                    sequences.get(row.version, FIRST_SLOTS) * row.deployment.split.data))),
                row.prompt, row.output, row.requests or 1.0,
            ) for row in found
        ]  # fmt: skip
        self.loads = {
            field.name: np.array([getattr(load, field.name) for load in loads])
            for field in fields(FullLoad)
        }
        self.counted = np.array([row.requests for row in found])
        self.series = [levels(row.deployment, row.version)["series release"] for row in found]
        alike = np.array([self.series.count(name) for name in self.series])
        self.noise = NOISE * np.sqrt(np.maximum(1.0, alike / ALIKE))
        self.design, self.columns = self._design()

    def _choose(self) -> None:
        """Which constants make each rate of each row; equal choices are computed once."""
        chosen: dict[str, Array] = {}
        self.slots = np.zeros(len(self.rows), dtype=int)
        for number, row in enumerate(self.rows):
            self.slots[number] = self.index[f"slots.{row.version}"]
            for rate, constants in names(row.deployment, self.known).items():
                uses = chosen.setdefault(rate, np.zeros((len(self.rows), len(self.names))))
                for constant in constants:
                    if constant in self.index:
                        uses[number, self.index[constant]] += 1.0
        self.chosen = {}
        for rate, uses in chosen.items():
            distinct, place = np.unique(uses, axis=0, return_inverse=True)
            self.chosen[rate] = distinct, place.ravel()

    def _design(self) -> tuple[Array, list[Column]]:
        values: dict[Column, Array] = {}
        for number, row in enumerate(self.rows):
            functions = basis(row.prompt, row.output)
            for factor, level in levels(row.deployment, row.version).items():
                for term in range(TERMS[factor]):
                    column = values.setdefault((factor, level, term), np.zeros(len(self.rows)))
                    column[number] = functions[term]
        columns = sorted(values)
        return np.stack([values[column] for column in columns], axis=1), columns

    def computed(self, constants: Array, which: Places) -> Round:
        """The rounds of rows `which`; every number in them is an array."""
        found = {
            rate: np.exp(distinct @ constants)[place][which]
            for rate, (distinct, place) in self.chosen.items()
        }
        loads = {name: values[which] for name, values in self.loads.items()}
        loads["slots"] = np.exp(constants[self.slots[which]]) * loads["copies"]
        most = np.exp(constants[self.index["requests"]])
        slope = np.exp(constants[self.index["requests_slope"]])
        usual = np.minimum(MOST_REQUESTS, most * (loads["output"] / 1000.0) ** -slope)
        counted = self.counted[which]
        loads["requests"] = np.where(counted > 0, counted, usual)
        # The formulas take arrays as they take numbers, which their types do not say.
        numbers: dict[str, Any] = loads
        rates: dict[str, Any] = found
        return round_of(FullLoad(**numbers), Rates(**rates))

    def logarithms(self, constants: Array, which: Places) -> Array:
        """Logarithms of computed tokens per second."""
        return np.asarray(np.log(self.computed(constants, which).tokens_per_second))

    def fit(self, which: Places, start: Array | None = None) -> Array:
        """The constants that fit rows `which`."""
        return minimum(
            lambda constants: self.logarithms(constants, which),
            self.measured[which],
            self.start if start is None else start,
            self.start,
            self.spread,
            noise=self.noise[which],
            rounds=ROUNDS,
        )

    def effects(self, constants: Array, which: Places) -> Effects:
        """The corrections that rows `which` leave to be made."""
        rest = self.measured[which] - self.logarithms(constants, which)
        return effects(self.design[which], self.columns, rest)

    def predicted(self, constants: Array, found: Effects, which: Places) -> tuple[Array, Array]:
        """Logarithms and standard deviations of rows `which`."""
        design = self.design[which]
        values = self.logarithms(constants, which) + design @ found.values
        return values, np.sqrt(design**2 @ found.spreads**2 + found.noise**2)
