"""Probes of an engine: time to start from the predicted cold start, then quick, then patient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from plimsoll.engines.protocol import Command, Probe
from plimsoll.facts.kubernetes import figure
from plimsoll.units import duration
from plimsoll.worlds.cluster.objects.names import PREFIX
from plimsoll.worlds.cluster.objects.site import Workload

PORT = "http"
_STARTUP_PERIOD = 5  # seconds; a replica is noticed at most so long after it is ready
_READY = {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3}
# Two minutes of silence: a process that computes a long prompt is not stuck.
_ALIVE = {"periodSeconds": 15, "timeoutSeconds": 10, "failureThreshold": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long a container may take to start.

    seconds  until it is given up
    why      the arithmetic in words
    """

    seconds: int
    why: str


def startup_budget(workload: Workload) -> Budget:
    """Seconds from the container's start to its first readiness.

    Nodes and images are waited for before a container starts. Never less than what is predicted:
    a limit below it would kill every replica just before it is ready.
    """
    cold = workload.place.cold_start
    limit = workload.model.startup.timeout
    predicted = cold.weights + cold.engine
    if predicted <= 0:
        return Budget(
            seconds=math.ceil(limit), why=f"{duration(limit)} (startup.timeout): nothing is known"
        )
    factor, floor = figure("startup_factor"), figure("startup_floor")
    generous = max(floor, factor * predicted)
    words = f"{duration(predicted)} predicted for weights and engine"
    if limit < predicted:
        why = f"{words}, which is more than startup.timeout ({duration(limit)})"
        return Budget(seconds=math.ceil(predicted), why=why)
    if limit < generous:
        return Budget(seconds=math.ceil(limit), why=f"{words}; startup.timeout: {duration(limit)}")
    return Budget(
        seconds=math.ceil(generous),
        why=f"{words}, times {factor:g}, at least {duration(floor)}",
    )


def probes(workload: Workload, command: Command) -> dict[str, Any]:
    """`startupProbe`, `readinessProbe` and, where the engine can tell, `livenessProbe`.

    Kubernetes begins with the others when the startup probe has succeeded: a replica that loads is
    never killed for not answering.
    """
    threshold = math.ceil(startup_budget(workload).seconds / _STARTUP_PERIOD)
    found = {
        "startupProbe": {
            **_get(command.ready),
            "periodSeconds": _STARTUP_PERIOD,
            "timeoutSeconds": _STARTUP_PERIOD,
            "failureThreshold": threshold,
        },
        "readinessProbe": {**_get(command.ready), **_READY},
    }
    if command.alive is not None:
        found["livenessProbe"] = {**_get(command.alive), **_ALIVE}
    return found


def explained(workload: Workload) -> dict[str, str]:
    """The annotation that says where the startup budget comes from."""
    return {f"{PREFIX}/why-startup-budget": startup_budget(workload).why}


def _get(probe: Probe) -> dict[str, Any]:
    return {"httpGet": {"path": probe.path, "port": PORT}}
