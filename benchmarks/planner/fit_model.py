"""The whole fit: physics first, then what is left, then how far predictions are off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.planner import fit_effects
from benchmarks.planner.fit_physics import (
    Constants,
    fit_requests,
    fit_steps,
    paces,
    part_of,
    starts,
)
from benchmarks.planner.measured import Measured

Array = np.ndarray[Any, Any]

# Rows that physics is not fitted on: what they measured is not what they say. A level and why.
SUSPECT: Mapping[str, Mapping[str, str]] = {
    "version": {
        "trtllm 1.2.0rc6.post3": "decodes speculatively: faster than its weights can be read",
    },
    "model, accelerator and engine": {
        "4096x94x128 H200-SXM vllm": "no graphs: the same 52 ms at every load and split",
        "5120x64x25600 GB200 trtllm": "slower with one request than with eight",
        "2880x36x128 H100-80GB-SXM trtllm": "five times slower than on other engines",
    },
    "model and version": {
        "7168x61x256 trtllm 1.1.0rc2.post2": "some decode speculatively, and do not say which",
    },
}
LONGEST = 0.3  # seconds per token; a row above it was starved
UNEVEN = {"7168x61x256": 1.8}  # models of which some rows decode speculatively, and do not say


@dataclass(frozen=True, kw_only=True)
class Model:
    """Everything that was fitted."""

    steps: Constants
    requests: Constants
    tpot: fit_effects.Table
    ttft: fit_effects.Table


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Natural logarithms of seconds, of every row."""

    tpot: Array
    ttft: Array
    tpot_physics: Array
    ttft_physics: Array


def parts_of(record: Any) -> dict[str, Array]:
    """The parts of a time by name."""
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}


def sound(rows: Measured) -> Array:
    """Rows that physics is fitted on: one of each measurement, none of the suspects."""
    _, once = np.unique(
        [f"{twin} {level}" for twin, level in
         zip(rows.twins, rows.levels["configuration"], strict=True)], return_index=True
    )  # fmt: skip
    kept = np.zeros(len(rows), bool)
    kept[once] = True
    return kept


def physical(rows: Measured) -> Array:
    """Rows whose numbers say what they measured."""
    levels = rows.levels
    joined = {
        "version": levels["version"],
        "model, accelerator and engine": _join(
            levels["model"], levels["accelerator"], rows.engines
        ),
        "model and version": _join(levels["model"], levels["version"]),
    }
    kept = np.isin(rows.modes, ["together", "apart"]) & (rows.tpot < LONGEST)
    for group, known in SUSPECT.items():
        kept &= ~np.isin(joined[group], list(known))
    return kept


def _join(*texts: Array) -> Array:
    return np.array([" ".join(each) for each in zip(*texts, strict=True)])


def noise(target: str, rows: Measured) -> Array:
    """The spread of what is left of every row."""
    by_mode = fit_effects.NOISE[target]
    spread = np.array([by_mode[mode] for mode in rows.modes])
    out: Array = spread * np.array([UNEVEN.get(model, 1.0) for model in rows.levels["model"]])
    return out


def aimed(target: str, rows: Measured) -> Array:
    """What factors are fitted on, in seconds: less than was measured where much is left open.

    Of values whose logarithms are spread by s around m, exp(m - s**2) is the prediction with the
    least mean of absolute errors relative to what is measured.
    """
    by_mode = fit_effects.NOISE[target]
    spread = np.array([by_mode[mode] for mode in rows.modes])
    return np.asarray(getattr(rows, target) * np.exp(-(spread**2)))


def fit(rows: Measured, *, first: Model | None = None) -> Model:
    """Everything, from `rows`; `first` is where to start from."""
    once = part_of(rows, sound(rows))
    plain = part_of(once, physical(once))
    steps = fit_steps(plain, first.steps.values if first else None)
    parts = parts_of(paces(once, steps.over(once.engines)))
    tpot = fit_effects.fit(
        parts, aimed("tpot", once), once.levels, noise("tpot", once), fit_effects.TPOT
    )
    each = np.sum(list(parts.values()), axis=0)
    mask = physical(once)
    requests = fit_requests(plain, steps, each[mask], first.requests.values if first else None)
    begun = starts(once, steps.over(once.engines), requests.over(once.engines), each)
    ttft = fit_effects.fit(
        parts_of(begun), aimed("ttft", once), once.levels, noise("ttft", once), fit_effects.TTFT
    )
    return Model(steps=steps, requests=requests, tpot=tpot, ttft=ttft)


def _logarithm(parts: Mapping[str, Array], table: fit_effects.Table, rows: Measured) -> Array:
    return fit_effects.apply(parts, fit_effects.gathered(table, rows.levels, list(parts)))


def predict(model: Model, rows: Measured) -> Predicted:
    """What a model says of `rows`."""
    steps = model.steps.over(rows.engines)
    requests = model.requests.over(rows.engines)
    pace = parts_of(paces(rows, steps))
    each = np.sum(list(pace.values()), axis=0)
    begun = parts_of(starts(rows, steps, requests, each))
    return Predicted(
        tpot=_logarithm(pace, model.tpot, rows),
        ttft=_logarithm(begun, model.ttft, rows),
        tpot_physics=np.log(each),
        ttft_physics=np.log(np.sum(list(begun.values()), axis=0)),
    )


def folds(kind: str, rows: Measured) -> Iterator[tuple[Array, Array]]:
    """Masks of what is kept aside and of what is then predicted, for every fold of a kind.

    `rows`           tenths of the measurements
    `configuration`  tenths of the configurations
    `model`, `accelerator`, `version`  one at a time
    `model and accelerator`  one of each at a time; predicted is what has both
    """
    if kind in ("rows", "configuration"):
        label = rows.twins if kind == "rows" else rows.levels["configuration"]
        values = np.unique(label)
        tenth = dict(
            zip(values, np.random.default_rng(0).permutation(len(values)) % 10, strict=True)
        )
        fold = np.array([tenth[one] for one in label])
        for number in range(10):
            yield fold == number, fold == number
    elif kind == "model and accelerator":
        model, where = rows.levels["model"], rows.levels["accelerator"]
        for one in np.unique(model):
            for other in np.unique(where[model == one]):
                yield (model == one) | (where == other), (model == one) & (where == other)
    else:
        label = rows.levels[kind]
        for one in np.unique(label[label != ""]):
            yield label == one, label == one


def crossed(kind: str, rows: Measured, whole: Model) -> Predicted:
    """Every row predicted by a model that has not seen its fold."""
    out = {name: np.full(len(rows), np.nan) for name in Predicted.__dataclass_fields__}
    for aside, asked in folds(kind, rows):
        if aside.all():
            continue
        found = predict(fit(part_of(rows, ~aside), first=whole), part_of(rows, asked))
        for name, values in out.items():
            values[asked] = getattr(found, name)
    return Predicted(**out)
