"""Which models are scaled here, and by which policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plimsoll.policy.scale.types import Policy


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ModelKey:
    """One model of one fleet of a cluster.

    namespace  of the fleet
    fleet      its name
    model      its name in the fleet
    """

    namespace: str
    fleet: str
    model: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.fleet}/{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """How one model is scaled.

    policy         decides; its settings hold limits and capacity
    max            replicas that are never exceeded, not even where none may be taken away for want
                   of figures; None leaves that to the policy and KEDA
    cold_start     seconds until a replica that was asked for answers, as far as is known
    prompt_tokens  of a request, until answers have shown better
    output_tokens  of an answer, until answers have shown better
    """

    policy: Policy[Any]
    max: int | None = None
    cold_start: float = 120.0
    prompt_tokens: float = 1000.0
    output_tokens: float = 250.0
