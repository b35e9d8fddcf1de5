"""Runs measured under a rate of arrivals, and the same in the simulator."""

from __future__ import annotations

import csv
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.planner.under_load import Stage, stages
from plimsoll.errors import InputError
from plimsoll.worlds.virtual.calibration.coefficients import Coefficients
from plimsoll.worlds.virtual.calibration.deployed import BLOCK, limits_of, times_of
from plimsoll.worlds.virtual.calibration.replay import replay
from plimsoll.worlds.virtual.engine.replica import Replica
from plimsoll.worlds.virtual.engine.types import Job

_COLUMNS = (
    "version", "model", "gpu", "tp", "precision", "isl", "osl", "concurrency", "metric", "value",
    "unit", "note",
)  # fmt: skip
_SHAPE = "shaped as vllm_under_load.csv"
_SEED = 20261121
_EXPERIMENT = re.compile(r"exp=(\S+)")
_USERS = re.compile(r"users_per_group=([\d.]+)")
_INFERRED = "rate_inferred"
_GROUP, _PROMPT = 1 << 20, 1 << 40  # so far apart lie the names of blocks of groups and of prompts


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One server through all stages of its load.

    name      model and number of the experiment
    model     as the file says it
    stages    one after the other
    joined    the rows that join them all; None where there are none
    inferred  whether the load was not recorded but inferred
    """

    name: str
    model: str
    stages: tuple[Stage, ...]
    joined: Stage | None
    inferred: bool


def runs(path: Path) -> tuple[list[Run], int]:
    """The runs of a file, and how many of its rows are of models or devices that are not known.

    Raises InputError where it cannot be read or has none.
    """
    try:
        _check(path)
        found, lines = stages(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    rates = [stage for stage in found if stage.rate]
    if not rates:
        raise InputError(
            "has no stage of a known model at a rate",
            where=str(path),
            hint="`concurrency` is `rate=2.5/s`, model and gpu are those of the catalogue",
        )
    guessed = _inferred(path)
    by_run: dict[str, list[Stage]] = {}
    for stage in found:
        by_run.setdefault(stage.run, []).append(stage)
    known = sum(len(stage.measured) for stage in found)
    made = [_run(name, parts, guessed) for name, parts in by_run.items()]
    return [run for run in made if run.stages], lines - known


def _check(path: Path) -> None:
    """Raises InputError by the line of what is no row of such a file."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"has no column {', '.join(missing)}", where=f"{path}:1", hint=_SHAPE)
        for line in reader:
            where = f"{path}:{reader.line_num}"
            if any(line[name] is None for name in _COLUMNS):
                raise InputError("ends before its last column", where=where, hint=_SHAPE)
            for name in ("isl", "osl"):
                if line[name].strip() and not _positive(line[name]):
                    raise InputError(
                        f"{name} is {line[name]!r}", where=where, hint="a number of tokens over 0"
                    )


def _positive(cell: str) -> bool:
    try:
        return 0.0 < float(cell) < math.inf
    except ValueError:
        return False


def _inferred(path: Path) -> frozenset[str]:
    """Experiments with a row that says so in any of its cells."""
    with path.open(encoding="utf-8") as file:
        lines = [line for line in file if _INFERRED in line]
    return frozenset(number[1] for line in lines if (number := _EXPERIMENT.search(line)))


def _run(name: str, parts: Sequence[Stage], guessed: frozenset[str]) -> Run:
    number = _EXPERIMENT.search(name)
    joined = [stage for stage in parts if not stage.rate]
    return Run(
        name=f"{parts[0].model} {number[1] if number else name}",
        model=parts[0].model,
        stages=tuple(stage for stage in parts if stage.rate),
        joined=joined[0] if joined else None,
        inferred=_INFERRED in name or bool(number and number[1] in guessed),
    )


def served(
    run: Run, coefficients: Coefficients, *, seconds: float | None = None
) -> list[list[Job]]:
    """The requests of each stage, served by the simulated engine: Poisson arrivals, seeded.

    seconds  of each stage; as long as it was measured where none are given

    Raises InputError where its server could not have held one of its requests.
    """
    deployment = run.stages[0].deployment
    limits = limits_of(deployment)
    longest = max(stage.prompt + stage.output for stage in run.stages)
    if limits.kv_blocks * BLOCK < longest:
        raise InputError(
            f"one request of {longest:.0f} tokens does not fit the KV cache that is left",
            where=run.name,
            hint="check model, gpu, tp and precision of its rows",
        )
    engine = Replica(times_of(deployment, coefficients), limits)
    chance = random.Random(_SEED)
    begin, sent = 0.0, 0
    result = []
    for stage in run.stages:
        prompts = _prompts(stage)
        tokens = max(1, int(stage.prompt)), max(1, int(stage.output))
        at, until = begin, begin + (seconds or stage.requests / stage.rate)
        jobs: list[Job] = []
        while (at := at + chance.expovariate(stage.rate)) < until or not jobs:
            names = prompts[sent % len(prompts)]  # in turn, as its load generator does
            jobs.append(Job(at=at, prompt=tokens[0], output=tokens[1], blocks=names))
            sent += 1
        replay([engine], jobs)
        begin = max(job.end for job in jobs)
        result.append(jobs)
    return result


def _prompts(stage: Stage) -> list[tuple[int, ...]]:
    """Names of the blocks of each prompt; of one, those that all share, where not more is known."""
    whole, shared = int(stage.prompt) // BLOCK, int(stage.shared) // BLOCK
    if not stage.prompts:
        return [tuple(range(1, 1 + shared))]
    said = _USERS.search(stage.run)
    users = max(1, int(float(said[1]))) if said else 1
    return [
        tuple(_GROUP * (1 + number // users) + place for place in range(shared))
        + tuple(_PROMPT * (1 + number) + place for place in range(shared, whole))
        for number in range(int(stage.prompts))
    ]


def seen(jobs: Sequence[Job]) -> Mapping[str, float]:
    """What a client measures of them, seconds by metric."""
    first = sorted(job.first - job.at for job in jobs)
    whole = sorted(job.end - job.at for job in jobs)
    tokens = [(job.end - job.first) / (job.output - 1) for job in jobs if job.output > 1]
    return {
        "e2e_mean": _mean(whole),
        "e2e_p90": quantile(whole, 0.9),
        "e2e_p99": quantile(whole, 0.99),
        "ttft_mean": _mean(first),
        "ttft_p90": quantile(first, 0.9),
        "ttft_p99": quantile(first, 0.99),
        "itl_mean": _mean(tokens),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of ascending values, what `share` of them stay under; between two of them, on a line."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
