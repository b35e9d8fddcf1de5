"""Request logs of real engines beside the same requests in the simulator."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.simulator.under_load import quantile
from plimsoll.worlds.virtual.calibration.fit import Fit, fit, simulated
from plimsoll.worlds.virtual.calibration.request_log import (
    MeasuredRequest,
    RequestLog,
    logs_of,
)
from plimsoll.worlds.virtual.calibration.settings import settings_of
from plimsoll.worlds.virtual.engine.types import Job

_Pair = tuple[MeasuredRequest, Job]
_KINDS: dict[str, tuple[Callable[[MeasuredRequest], float], Callable[[Job], float]]] = {
    "ttft": (lambda one: one.ttft, lambda job: job.first - job.at),
    "tpot": (lambda one: one.tpot, lambda job: (job.end - job.first) / max(1, job.output - 1)),
    "endToEnd": (lambda one: one.end_to_end, lambda job: job.end - job.at),
}
TARGETS = {"ttft mean": 0.05, "ttft p99": 0.05, "tpot mean": 0.015, "endToEnd mean": 0.015}
_MILLISECONDS = 1e3


def logs_score(folder: Path, *, share: float) -> dict[str, Any]:
    """Each log's errors, by its name. Raises InputError for what cannot be read."""
    result = {}
    for log in logs_of(folder):
        print(f"fitting {log.name}", file=sys.stderr)
        result[log.name] = _score(log, share)
    return result


def _score(log: RequestLog, share: float) -> dict[str, Any]:
    settings = settings_of(log)
    found = fit(log, settings, share=share)
    jobs = simulated(found.settings, found.coefficients, log.requests)
    pairs = list(zip(log.requests, jobs, strict=True))
    rest = [pair for pair in pairs if pair[0].end > found.until]
    judged = _errors(rest)
    return {
        "fitted": _fitted(found),
        "notes": list(settings.notes),
        "rest": {"requests": len(rest), **judged},
        "all": {"requests": len(pairs), **_errors(pairs)},
        "preemptions": sum(job.preemptions for job in jobs),
        "holds": all(abs(judged[name]["error"]) <= most for name, most in TARGETS.items()),
    }


def _fitted(found: Fit) -> dict[str, Any]:
    return {
        "requests": found.requests,
        "untilSeconds": round(found.until, 3),
        "room": found.room,
        "factors": {name: round(value, 4) for name, value in found.factors.items()},
    }


def _errors(pairs: Sequence[_Pair]) -> dict[str, Any]:
    """Of means and quantiles over requests: measured, simulated (milliseconds), relative error."""
    result: dict[str, Any] = {}
    for kind, (measured, simulated_) in _KINDS.items():
        real = sorted(measured(one) for one, _ in pairs)
        ours = sorted(simulated_(job) for _, job in pairs)
        for name, of in (("mean", _mean), ("p50", _at(0.5)), ("p90", _at(0.9)), ("p99", _at(0.99))):
            one, other = of(real), of(ours)
            result[f"{kind} {name}"] = {
                "measuredMs": round(one * _MILLISECONDS, 3),
                "simulatedMs": round(other * _MILLISECONDS, 3),
                "error": round(other / one - 1.0, 5) if one else 0.0,
            }
    return result


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _at(share: float) -> Callable[[Sequence[float]], float]:
    return lambda values: quantile(values, share) if values else 0.0


def logs_report(result: dict[str, Any]) -> str:
    """The score as Markdown."""
    names = ("ttft mean", "ttft p99", "tpot mean", "tpot p99", "endToEnd mean", "endToEnd p99")
    lines = [
        f"| log | fitted on | judged on | {' | '.join(names)} | holds |",
        "|---" * (len(names) + 4) + "|",
    ]
    for name, found in result.items():
        for part in ("rest", "all"):
            cells = [f"{found[part][metric]['error']:+.2%}" for metric in names]
            fitted = f"{found['fitted']['requests']} ended"
            holds = ("yes" if found["holds"] else "no") if part == "rest" else ""
            judged = f"{part}: {found[part]['requests']}"
            lines.append(f"| {name} | {fitted} | {judged} | {' | '.join(cells)} | {holds} |")
    lines += [f"\n{name}: {note}" for name, found in result.items() for note in found["notes"]]
    return "\n".join(lines)
