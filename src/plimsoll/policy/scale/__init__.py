"""How many replicas a model wants: rules that are pure functions of a look and a memory.

May live here: policies, each in its file, and the plain data between them and the worlds. May
not: clocks, randomness, I/O.
"""

from __future__ import annotations

from plimsoll.policy.scale.keda import Keda, Metric
from plimsoll.policy.scale.knative import Knative
from plimsoll.policy.scale.mm1 import Mm1, Service
from plimsoll.policy.scale.predictive import Predictive
from plimsoll.policy.scale.queue_depth import Bounds, LowWater, Want, wanted_replicas
from plimsoll.policy.scale.queue_drain import QueueDrain
from plimsoll.policy.scale.types import (
    Answer,
    Arrived,
    Capacity,
    ColdStart,
    Floor,
    Limits,
    Notice,
    Observed,
    Policy,
    Queued,
    Signals,
)

__all__ = [
    "Answer",
    "Arrived",
    "Bounds",
    "Capacity",
    "ColdStart",
    "Floor",
    "Keda",
    "Knative",
    "Limits",
    "LowWater",
    "Metric",
    "Mm1",
    "Notice",
    "Observed",
    "Policy",
    "Predictive",
    "QueueDrain",
    "Queued",
    "Service",
    "Signals",
    "Want",
    "wanted_replicas",
]
