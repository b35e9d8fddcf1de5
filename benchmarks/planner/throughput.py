"""How near predicted throughput at full load is to what was published.

Alone: `python -m benchmarks.planner.throughput FILE [--json]`.
"""

from __future__ import annotations

import csv
import json
import re
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.facts.network import Network
from plimsoll.facts.weight_formats import weight_format
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.speed.constants import release
from plimsoll.plan.speed.estimate import Estimate
from plimsoll.plan.speed.load import under_load
from plimsoll.plan.speed.saturation import saturated

RUNS = Path(__file__).with_name("published_runs.csv")
MOST_REQUESTS = 30000.0  # of one published run
_COUNTED = re.compile(r"(\d+) requests")
_MEET = 6.0  # how sharply a replica goes from keeping up with a rate to full
_SPREAD_DEVICES, _SPREAD_RELEASE = 8, "1.0"
_STAGES = re.compile(r"pp=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One published row.

    number      its place in the file
    model gpu precision version  as the file says them
    rate        requests per second; 0: as fast as they are taken
    requests    that were served in all; 0 where the file does not say
    deployment  what was measured
    prompt      tokens
    output      tokens
    measured    output tokens per second over all devices
    """

    number: int
    model: str
    gpu: str
    precision: str
    version: str
    rate: float
    requests: float
    deployment: Deployment
    prompt: float
    output: float
    measured: float


def rows(path: Path) -> Iterator[Row | None]:
    """Every row of throughput; None for one whose model or accelerator is not known."""
    with path.open(encoding="utf-8", newline="") as file:
        for number, cells in enumerate(csv.DictReader(file)):
            if cells["metric"] != "output_throughput_total":
                continue
            try:
                yield _row(number, cells)
            except (InputError, ValueError, KeyError):
                yield None


def _row(number: int, cells: Mapping[str, str]) -> Row:
    counted = _COUNTED.search(cells["note"] or "")
    model, where = network(cells["model"]), device(cells["gpu"])
    prompt, output = float(cells["isl"]), float(cells["osl"])
    return Row(
        number=number,
        model=cells["model"],
        gpu=cells["gpu"],
        precision=cells["precision"],
        version=cells["version"],
        rate=_rate(cells["concurrency"]),
        requests=float(counted[1]) if counted else 0.0,
        deployment=Deployment(
            network=model,
            device=where,
            engine="trtllm",
            version=cells["version"],
            split=_split(cells, model),
            formats=formats(model, cells["precision"], where.generation),
            context=int(prompt + output),
            sequences=2048,
        ),
        prompt=prompt,
        output=output,
        measured=float(cells["value"]),
    )


def _rate(concurrency: str) -> float:
    said = concurrency.removeprefix("qps=")
    return 0.0 if said in ("max", "INF") else float(said)


def _split(cells: Mapping[str, str], model: Network) -> Split:
    devices, note = int(float(cells["n_gpu"])), cells["note"] or ""
    tensor = int(float(cells["tp"] or devices))
    # Release 1.0 says only that models with experts ran on 8 devices. Their throughput is that of
    # attention data parallel, as 1.2 has it: read as tensor parallel they would be twice too fast.
    spread = model.mixture and tensor == _SPREAD_DEVICES and cells["version"] == _SPREAD_RELEASE
    if "DEP" in note or spread:
        return Split(data=devices, expert=devices)
    stages = _STAGES.search(note)
    return Split(tensor=tensor, pipeline=int(stages[1]) if stages else max(1, devices // tensor))


def formats(model: Network, precision: str, generation: str) -> Formats:
    """What a precision of the tables means: FP8 and FP4 rows keep the cache in FP8."""
    if model.expert_stored == "mxfp4":
        compute = "fp8" if generation == "blackwell" else "bf16"
        return Formats(weights="bf16", experts="mxfp4", compute=compute, cache="fp8")
    if precision == "FP8":
        return Formats(weights="fp8", experts="fp8", compute="fp8", cache="fp8")
    if precision in ("FP4", "NVFP4"):
        # DeepSeek's attention stays as published where its experts are in FP4.
        dense = "bf16" if model.stored == "fp8_block" else "nvfp4"
        return Formats(weights=dense, experts="nvfp4", compute="fp4", cache="fp8")
    if precision in ("FP16", "BF16"):
        return Formats()
    other = weight_format(precision)
    return Formats(weights=other.name, experts=other.name, compute=other.compute)


@cache
def runs() -> Mapping[str, float]:
    """How published runs were loaded, as fitted: `slots.<release>`, `requests`, ..."""
    with RUNS.open(encoding="utf-8", newline="") as file:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(file)}


def requests_of(row: Row, most: float, slope: float) -> float:
    """Requests of a run in all: `most` for answers of 1,000 tokens, fewer for longer ones."""
    return row.requests or min(MOST_REQUESTS, most * (row.output / 1000.0) ** -slope)


def with_slots(row: Row) -> Deployment:
    """A row's deployment with as many slots as runs of its release had."""
    fitted = runs()
    slots = {name.removeprefix("slots."): value for name, value in fitted.items() if "." in name}
    most = slots[release(row.version, tuple(slots))] * row.deployment.split.data
    return replace(row.deployment, sequences=max(1, round(most)))


def predicted(row: Row) -> Estimate:
    """Output tokens per second of a row's run."""
    fitted = runs()
    requests = requests_of(row, fitted["requests"], fitted["requests_slope"])
    found = saturated(with_slots(row), row.prompt, row.output, requests=requests)
    full = found.tokens_per_second
    if not row.rate:
        return full
    asked = row.rate * row.output
    last = under_load(row.deployment, row.rate, row.prompt, row.output)
    if row.requests and last.stable:
        # The run ends when its last request does.
        whole = row.requests / row.rate + last.end_to_end.mean.value
        asked *= row.requests / row.rate / whole
    low, value, high = (
        (some**-_MEET + asked**-_MEET) ** (-1.0 / _MEET)
        for some in (full.low, full.value, full.high)
    )
    return Estimate(value=value, low=low, high=high)


def errors(pairs: Iterable[tuple[Estimate, float]]) -> dict[str, float]:
    """Absolute percentage errors, as shares, and the share of rows inside their intervals."""
    found = list(pairs)
    off = sorted(abs(estimate.value / measured - 1.0) for estimate, measured in found)
    if not off:
        return {"rows": 0}
    inside = [estimate.low <= measured <= estimate.high for estimate, measured in found]
    return {
        "rows": len(off),
        "mean": statistics.fmean(off),
        "median": statistics.median(off),
        "p90": off[min(len(off) - 1, int(0.9 * len(off)))],
        "intervals": statistics.fmean(inside),
    }


def score(path: str | Path) -> dict[str, Any]:
    """Errors over all rows and by device, model and release."""
    every = list(rows(Path(path)))
    known = [row for row in every if row]
    pairs = [(row, (predicted(row), row.measured)) for row in known]
    coverage = len(known) / len(every) if every else 0.0
    whole = errors(pair for _, pair in pairs) | {"coverage": coverage}
    result: dict[str, Any] = {"throughput": whole, **whole}
    for part in ("gpu", "model", "version"):
        found = sorted({getattr(row, part) for row in known})
        result[part] = {
            name: errors(pair for row, pair in pairs if getattr(row, part) == name)
            for name in found
        }
    return result


def report(result: dict[str, Any]) -> str:
    """The score as Markdown tables."""
    lines = [
        "| rows of | rows | mean | median | p90 | in 90 % interval |",
        "|---|---|---|---|---|---|",
    ]
    parts = {"all": result} | {
        name: found for part in ("gpu", "model", "version") for name, found in result[part].items()
    }
    for name, found in parts.items():
        if found["rows"]:
            shares = (f"{found[key]:.1%}" for key in ("mean", "median", "p90", "intervals"))
            lines.append(f"| {name} | {found['rows']} | {' | '.join(shares)} |")
    return "\n".join([*lines, "", f"{result['coverage']:.1%} of rows predicted"])


if __name__ == "__main__":
    result = score(sys.argv[1])
    print(json.dumps(result, indent=2) if "--json" in sys.argv else report(result))
