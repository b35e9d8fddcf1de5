"""Fits the constants of steps and requests: few, positive, each held near what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from benchmarks.planner.measured import Measured, chosen
from plimsoll.plan.speed.closed_loop import Pace, Start, pace, start
from plimsoll.plan.speed.step import decode_seconds, prompt_seconds

Array = np.ndarray[Any, Any]

# name: (expected, spread of its logarithm over all engines, spread between engines, unit).
# Expected values of factors on kernels are 1: kernels were measured alone.
STEP: Mapping[str, tuple[float, float, float, str]] = {
    "products": (1.0, 0.05, 0.03, "factor on kernels measured alone"),
    "product_start": (1.0, 0.12, 0.1, "factor on kernels measured alone"),
    "experts": (1.0, 0.05, 0.05, "factor on kernels measured alone"),
    "expert_start": (1.0, 0.12, 0.1, "factor on kernels measured alone"),
    "attention": (1.0, 0.1, 0.06, "factor on kernels measured alone"),
    "latent": (2.0, 0.5, 0.0, "factor on operations at the peak of 16 bits"),
    "reduction": (1.0, 0.15, 0.12, "factor on kernels measured alone"),
    "wire": (1.0, 0.2, 0.0, "share of the rate measured alone"),
    "routing": (15e-6, 0.6, 0.0, "seconds per exchange with experts' devices"),
    "prompt_products": (1.0, 0.15, 0.1, "factor on kernels measured alone"),
    "prompt_experts": (1.0, 0.2, 0.12, "factor on kernels measured alone"),
    "prompt_attention": (1.0, 0.2, 0.0, "factor on kernels measured alone"),
    "layer": (15e-6, 0.4, 0.15, "seconds per layer"),
    "latent_layer": (10e-6, 0.5, 0.15, "seconds per layer"),
    "indexed_layer": (40e-6, 0.6, 0.15, "seconds per layer"),
    "recurrent_layer": (30e-6, 0.6, 0.15, "seconds per layer"),
    "sequence": (4e-6, 0.8, 0.3, "seconds per request and step"),
    "step": (200e-6, 0.8, 0.3, "seconds per step"),
    "prompt_layer": (40e-6, 0.8, 0.25, "seconds per layer of a step with prompt tokens"),
}
REQUEST: Mapping[str, tuple[float, float, float, str]] = {
    "request": (0.06, 0.5, 0.5, "seconds per request"),
    "own": (1.2, 0.3, 0.2, "factor on the seconds of its own prompt"),
    "burst": (0.1, 0.4, 0.4, "prompts of others before it, per request in flight"),
    "wait": (1.0, 0.6, 0.0, "decoding steps before its prompt begins"),
    "memory_queue": (0.5, 0.5, 0.0, "lives of others before memory is free, per request over it"),
    "request_apart": (0.3, 0.6, 0.6, "seconds per request, prompts computed apart"),
    "burst_apart": (0.1, 0.6, 0.0, "prompts of others before it, per request in flight"),
    "prompt_queue": (0.5, 0.7, 0.0, "share of the time by which prompts are late"),
}
ENGINES = ("vllm", "sglang", "trtllm")
WITHIN, BETWEEN = 0.1, 0.08  # spread within a configuration, and of configurations' means
WITHIN_FIRST = 0.15  # the same for the time to the first token


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Logarithms of constants: of every engine, and by how much each engine differs."""

    table: Mapping[str, tuple[float, float, float, str]]
    values: Array

    @property
    def names(self) -> list[str]:
        """The constants in the order of `values`."""
        return list(self.table)

    def of(self, engine: str) -> dict[str, float]:
        """The constants of one engine; of none that is known: the common ones."""
        out = {}
        for index, name in enumerate(self.names):
            value = self.values[index]
            if engine in ENGINES:
                value = value + self.values[self._place(engine) + index]
            out[name] = float(np.exp(value))
        return out

    def over(self, engines: Array) -> dict[str, Array]:
        """The constants of every row."""
        each = {engine: self.of(engine) for engine in {*engines.tolist()}}
        return {name: np.array([each[e][name] for e in engines.tolist()]) for name in self.names}

    def _place(self, engine: str) -> int:
        return len(self.table) * (1 + ENGINES.index(engine))


def expected(table: Mapping[str, tuple[float, float, float, str]]) -> tuple[Array, Array]:
    """Logarithms that constants are held near, and how near (spread)."""
    common = [np.log(row[0]) for row in table.values()]
    spread = [row[1] for row in table.values()]
    between = [max(row[2], 1e-6) for row in table.values()]
    middle = np.array(common + [0.0] * len(common) * len(ENGINES))
    return middle, np.array(spread + between * len(ENGINES))


def paces(rows: Measured, constants: Mapping[str, Array]) -> Pace:
    """The parts of the time per output token of every row."""
    decoded = decode_seconds(rows.decode, rows.requests, rows.reach, constants)  # type: ignore[arg-type]
    prompts = prompt_seconds(rows.prompt, rows.prefill, constants)  # type: ignore[arg-type]
    return pace(decoded, prompts, rows.flight)


def starts(
    rows: Measured, constants: Mapping[str, Array], request: Mapping[str, Array], tpot: Array
) -> Start:
    """The parts of the time to the first token of every row."""
    decoded = decode_seconds(rows.decode, rows.requests, rows.reach, constants)  # type: ignore[arg-type]
    prompts = prompt_seconds(rows.prompt, rows.prefill, constants)  # type: ignore[arg-type]
    return start(decoded, prompts, rows.flight, tpot, request)  # type: ignore[arg-type]


def total(parts: Pace | Start) -> Array:
    """The sum of all parts."""
    every = [getattr(parts, name) for name in type(parts).__dataclass_fields__]
    return np.asarray(np.sum(every, axis=0))


def part_of(rows: Measured, mask: Array) -> Measured:
    """The rows of a mask."""
    return Measured(
        decode=chosen(rows.decode, mask), prompt=chosen(rows.prompt, mask),
        reach=chosen(rows.reach, mask), prefill=chosen(rows.prefill, mask),
        flight=chosen(rows.flight, mask), requests=rows.requests[mask],
        engines=rows.engines[mask],
        levels={group: level[mask] for group, level in rows.levels.items()},
        modes=rows.modes[mask], ttft=rows.ttft[mask], tpot=rows.tpot[mask],
        twins=rows.twins[mask],
    )  # fmt: skip


def fit_steps(rows: Measured, first: Array | None = None) -> Constants:
    """Constants of steps from the times per output token of `rows`.

    Rows of one configuration share an error: its mean counts as one observation.
    """
    middle, spread = expected(STEP)
    measured = np.log(rows.tpot)
    same = np.unique(rows.levels["configuration"], return_inverse=True)[1]

    def off(values: Array) -> Array:
        constants = Constants(table=STEP, values=values).over(rows.engines)
        error = np.log(total(paces(rows, constants))) - measured
        return np.concatenate([robust(own(error, same) / WITHIN), (values - middle) / spread])

    found = least_squares(off, middle if first is None else first, max_nfev=40)
    return Constants(table=STEP, values=found.x)


def fit_requests(
    rows: Measured, steps: Constants, tpot: Array, first: Array | None = None
) -> Constants:
    """Constants of requests from the times to the first token of `rows`.

    tpot  seconds per output token, as predicted
    """
    middle, spread = expected(REQUEST)
    constants = steps.over(rows.engines)
    measured = np.log(rows.ttft)
    decoded = decode_seconds(rows.decode, rows.requests, rows.reach, constants)  # type: ignore[arg-type]
    prompts = prompt_seconds(rows.prompt, rows.prefill, constants)  # type: ignore[arg-type]

    def off(values: Array) -> Array:
        request = Constants(table=REQUEST, values=values).over(rows.engines)
        parts = start(decoded, prompts, rows.flight, tpot, request)  # type: ignore[arg-type]
        error = np.log(total(parts)) - measured
        return np.concatenate([robust(error / WITHIN_FIRST) / 2, (values - middle) / spread])

    found = least_squares(off, middle if first is None else first, max_nfev=40)
    return Constants(table=REQUEST, values=found.x)


def own(error: Array, same: Array) -> Array:
    """Errors of which most of what a configuration shares is taken away."""
    count = np.bincount(same)
    mean = np.bincount(same, weights=error) / np.maximum(count, 1)
    taken = 1 - np.sqrt(WITHIN**2 / (WITHIN**2 + count * BETWEEN**2))
    return np.asarray(error - (taken * mean)[same])


def robust(error: Array) -> Array:
    """Errors whose squares grow like their size beyond 1."""
    return np.asarray(np.sign(error) * np.sqrt(2 * (np.sqrt(1 + error * error) - 1)))
