"""What became of a simulation, for programs."""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.cli.simulate_run import Run, first_failing, worst_queue
from plimsoll.worlds.virtual.tally import Figures


def run_json(run: Run) -> dict[str, Any]:
    """Times in seconds, hours of whole GPUs, money in US dollars."""
    simulated, outcome = run.simulated, run.outcome
    worst, failing = worst_queue(run), first_failing(run)
    ready = [row.ready for row in run.minutes]
    return {
        "model": simulated.model.name,
        "ground": simulated.choice.chosen.ground.name,
        "policy": simulated.scaled.name,
        "minReplicas": simulated.limits.min,
        "maxReplicas": simulated.limits.max,
        "coldStartSeconds": simulated.one.phases.expected(new_node=True),
        "seconds": run.seconds,
        "serves": run.serves,
        "requests": {
            "arrived": run.arrived,
            "answered": outcome.ended,
            "broken": outcome.broken,
            "refused": run.refused,
        },
        "objectives": {
            each.name: {
                "seconds": each.asked,
                "share": each.share,
                "attained": each.attained,
                "met": each.met,
            }
            for each in run.objectives
        },
        "attainment": outcome.attained * outcome.arrived / max(1, run.arrived),
        "ttftSeconds": _figures(outcome.ttft),
        "tpotSeconds": _figures(outcome.tpot),
        "endToEndSeconds": _figures(outcome.e2e),
        "tokens": {
            "prompt": outcome.prompt,
            "cached": outcome.cached,
            "output": outcome.output,
        },
        "hitRate": outcome.hit_rate,
        "gpuHours": {**run.gpu_hours, "total": sum(run.gpu_hours.values())},
        "dollars": run.dollars,
        "replicas": {
            "least": min(ready),
            "mean": sum(ready) / len(ready),
            "most": max(ready),
            "started": outcome.starts - simulated.one.ready,
            "lost": outcome.lost,
            "directionChanges": outcome.turns,
        },
        "queue": {
            "most": worst.queued if worst is not None else 0,
            "atSeconds": worst.at + 60 if worst is not None else None,
        },
        "firstFailingMinute": int(failing.at // 60) + 1
        if failing is not None and not run.serves
        else None,
        "notes": list(simulated.notes),
    }


def _figures(figures: Figures) -> dict[str, float]:
    found: dict[str, float] = msgspec.to_builtins(figures)
    return found
