"""How near predicted latency under a rate of arrivals is to what was measured.

Alone: `python -m benchmarks.planner.under_load FILE [--json]`.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.planner.throughput import errors
from plimsoll.errors import InputError
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.speed.estimate import Estimate
from plimsoll.plan.speed.load import LoadedLatency, under_load
from plimsoll.plan.speed.queueing import normal_quantile

NEARLY = 0.97  # of the highest rate: what a replica serves while a line grows before it
BLOCK = 16  # tokens of a cached block: the last one of a prompt is computed again
ROOM = 2.0  # of the context beside prompt and answer: the runs' own limit is not recorded
METRICS = {
    "e2e_mean": ("e2e", "mean"), "e2e_p90": ("e2e", "p90"), "e2e_p99": ("e2e", "p99"),
    "ttft_mean": ("ttft", "mean"), "ttft_p90": ("ttft", "p90"), "ttft_p99": ("ttft", "p99"),
    "itl_mean": ("tpot", "mean"),
}  # fmt: skip
MEANS = {"e2e": "e2e_mean", "ttft": "ttft_mean", "tpot": "itl_mean"}
SHARES = {"mean": None, "p90": 0.9, "p99": 0.99}
_SECONDS_OF = {"ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One measured stage of one run.

    run         rows of one run share it
    model gpu   as the file says them
    deployment  what was measured
    rate        requests per second; 0 for the row that joins all stages of a run
    prompt output  tokens
    shared      tokens that the prompts of a group share
    prompts     different prompts of the run, which come again and again; 0 where not known
    requests    of the stage
    first       whether the cache was empty when it began
    measured    seconds by metric
    """

    run: str
    model: str
    gpu: str
    deployment: Deployment
    rate: float
    prompt: float
    output: float
    shared: float
    prompts: float
    requests: float
    first: bool
    measured: Mapping[str, float]


def _noted(note: str, name: str, otherwise: float) -> float:
    found = re.search(rf"{name}=([\d.]+)", note)
    return float(found[1]) if found else otherwise


def stages(path: str | Path) -> tuple[list[Stage], int]:
    """The stages of a file whose model and device are known, and the number of all its rows."""
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    with Path(path).open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    keys = ("model", "gpu", "tp", "precision", "isl", "osl", "concurrency", "note", "version")
    for line in lines:
        try:
            seconds = float(line["value"]) * _SECONDS_OF.get(line["unit"], 1.0)
        except ValueError:
            continue  # counted as a row that is not predicted
        rows.setdefault(tuple(line[key] for key in keys), {})[line["metric"]] = seconds
    found = []
    for key, measured in rows.items():
        try:
            found.append(_stage(dict(zip(keys, key, strict=True)), measured))
        except (InputError, ValueError):
            continue
    return found, len(lines)


def _stage(cells: Mapping[str, str], measured: Mapping[str, float]) -> Stage:
    note = cells["note"]
    said = re.search(r"rate=([\d.]+)", cells["concurrency"])
    rate = float(said[1]) if said else 0.0
    prompt, output = float(cells["isl"]), float(cells["osl"])
    number = re.search(r"stage=(-?\d+)", note)
    fp8 = cells["precision"] == "FP8"
    groups = _noted(note, "n_prefix_groups", 0.0)
    deployment = Deployment(
        network=network(cells["model"]),
        device=device(cells["gpu"]),
        engine="vllm",
        version=cells["version"],
        split=Split(tensor=int(float(cells["tp"]))),
        formats=Formats(weights="fp8", experts="fp8", compute="fp8") if fp8 else Formats(),
        context=int(ROOM * (prompt + output)),
        sequences=int(_noted(note, "max_num_seqs", 128.0)),
        batch_tokens=int(_noted(note, "max_num_batched_tokens", 2048.0)),
        utilization=_noted(note, "gpu_mem_util", 0.0),
    )
    run = re.sub(r"stage=-?\d+", "", note)
    stage = int(number[1]) if number else -1
    return Stage(
        run=f"{cells['model']} {cells['gpu']} {cells['tp']} {cells['precision']} {run}",
        model=cells["model"],
        gpu=cells["gpu"],
        deployment=deployment,
        rate=rate,
        prompt=prompt,
        output=output,
        shared=_noted(note, "shared_prefix_len", 0.0),
        prompts=groups * _noted(note, "users_per_group", 1.0),
        requests=rate * _noted(note, "stage_duration_s", 600.0),
        first=stage == 0,
        measured=measured,
    )


def latency(stage: Stage, cached: float, constants: Mapping[str, float] | None) -> LoadedLatency:
    """What requests see with `cached` tokens of each prompt in the cache."""
    return under_load(
        stage.deployment, stage.rate, stage.prompt, stage.output, cached, constants=constants
    )


def repeated(stage: Stage) -> float:
    """Tokens of a prompt that are in the cache: all but its last block where prompts come again."""
    return max(stage.shared, stage.prompt - BLOCK) if stage.prompts else stage.shared


def predicted(stage: Stage, constants: Mapping[str, float] | None = None) -> dict[str, Estimate]:
    """Seconds by metric of one stage; with other constants than the fitted ones, for a fit."""
    found = latency(stage, repeated(stage), constants)
    if not found.stable:
        return _overrun(stage, found.utilization, constants)
    slow = found
    if stage.first and stage.prompts > 0.01 * stage.requests:
        # More than one request in a hundred met an empty cache.
        slow = latency(stage, stage.shared, constants)
    return {
        "e2e_mean": found.end_to_end.mean,
        "e2e_p90": found.end_to_end.p90,
        "e2e_p99": slow.end_to_end.p99,
        "ttft_mean": found.ttft.mean,
        "ttft_p90": found.ttft.p90,
        "ttft_p99": slow.ttft.p99,
        "itl_mean": found.tpot,
    }


def _overrun(
    stage: Stage, utilization: float, constants: Mapping[str, float] | None
) -> dict[str, Estimate]:
    """A stage that asks more than the replica can do: the line grows until the stage ends."""
    fast = replace(stage, rate=NEARLY * stage.rate / utilization, first=False)
    full = predicted(fast, constants)
    longest = stage.requests / stage.rate * (utilization - 1.0)

    def after(metric: str, share: float) -> Estimate:
        one = full[metric]
        wait = share * longest
        return Estimate(
            value=one.value + wait, low=one.low + wait / 1.5, high=one.high + wait * 1.5
        )

    shares = {"mean": 0.5, "p90": 0.9, "p99": 0.99}
    return {
        metric: full[metric] if kind == "tpot" else after(metric, shares[statistic])
        for metric, (kind, statistic) in METRICS.items()
    }


def joined(parts: list[tuple[float, dict[str, Estimate]]]) -> dict[str, Estimate]:
    """All stages of a run as one, each with its weight."""
    total = sum(weight for weight, _ in parts)
    result = {}
    for metric, (kind, statistic) in METRICS.items():
        share = SHARES[statistic]
        values = [
            _mixed(
                [
                    (
                        weight / total,
                        getattr(found[MEANS[kind]], side),
                        getattr(found[metric], side),
                    )
                    for weight, found in parts
                ],
                share,
            )
            for side in ("value", "low", "high")
        ]
        result[metric] = Estimate(value=values[0], low=values[1], high=values[2])
    return result


def _mixed(parts: list[tuple[float, float, float]], share: float | None) -> float:
    """Mean, or quantile, of normal parts with weight, mean and that quantile."""
    if share is None:
        return sum(weight * mean for weight, mean, _ in parts)
    deviations = normal_quantile(share)
    low, high = min(part[2] for part in parts), max(part[2] for part in parts)
    for _ in range(40):
        middle = (low + high) / 2.0
        under = 0.0
        for weight, mean, quantile in parts:
            spread = max(1e-9, (quantile - mean) / deviations)
            under += weight * _normal((middle - mean) / spread)
        low, high = (middle, high) if under < share else (low, middle)
    return high


def _normal(deviations: float) -> float:
    """Share of a normal variable below so many standard deviations: a logistic stands for it."""
    return 1.0 / (1.0 + math.exp(-max(-40.0, min(40.0, 1.702 * deviations))))


def all_predicted(found: list[Stage]) -> list[tuple[Stage, dict[str, Estimate]]]:
    """Every stage that can be predicted; those that join others are made of them."""
    single = [(stage, predicted(stage)) for stage in found if stage.rate]
    result = list(single)
    for stage in found:
        parts = [(part.rate, values) for part, values in single if part.run == stage.run]
        if not stage.rate and parts:
            result.append((stage, joined(parts)))
    return result


def score(path: str | Path) -> dict[str, Any]:
    """Errors by kind of latency, by metric and by device."""
    found, lines = stages(path)
    done = all_predicted(found)
    pairs = [
        (stage, metric, (values[metric], seconds))
        for stage, values in done
        for metric, seconds in stage.measured.items()
        if metric in METRICS
    ]
    result: dict[str, Any] = {"coverage": len(pairs) / lines if lines else 0.0}
    for kind in ("ttft", "tpot", "e2e"):
        result[kind] = errors(pair for _, metric, pair in pairs if metric == MEANS[kind])
    result["metrics"] = {
        metric: errors(pair for _, other, pair in pairs if other == metric) for metric in METRICS
    }
    for part in ("model", "gpu"):
        names = sorted({getattr(stage, part) for stage, _, _ in pairs})
        result[part] = {
            name: errors(
                pair
                for stage, metric, pair in pairs
                if getattr(stage, part) == name and metric.endswith("mean")
            )
            for name in names
        }
    return result


def report(result: dict[str, Any]) -> str:
    """The score as Markdown tables."""
    lines = [
        "| metric | rows | mean | median | p90 | in 90 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in (result["metrics"] | result["model"] | result["gpu"]).items():
        if found["rows"]:
            shares = (f"{found[key]:.1%}" for key in ("mean", "median", "p90", "intervals"))
            lines.append(f"| {name} | {found['rows']} | {' | '.join(shares)} |")
    return "\n".join([*lines, "", f"{result['coverage']:.1%} of rows predicted"])


if __name__ == "__main__":
    result = score(sys.argv[1])
    print(json.dumps(result, indent=2) if "--json" in sys.argv else report(result))
