"""What scales a workload and how that is going: ScaledObjects and plain autoscalers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.worlds.cluster.objects.site import Manifest

_PAUSED = ("autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas")
_DEFAULT_MIN = {"ScaledObject": 0, "HorizontalPodAutoscaler": 1}
_DEFAULT_MAX = {"ScaledObject": 100, "HorizontalPodAutoscaler": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerState:
    """What scales one workload.

    kind      `ScaledObject`, `HorizontalPodAutoscaler`
    name      of that object
    low       fewest replicas
    high      most replicas
    active    whether there is demand now; None: it does not say
    paused    whether a person paused it
    problem   why it does not work; empty where it does
    """

    kind: str
    name: str
    low: int
    high: int
    active: bool | None = None
    paused: bool = False
    problem: str = ""


def scaler_states(scalers: Iterable[Manifest]) -> dict[tuple[str, str, str], ScalerState]:
    """Scalers by their target: kind, namespace, name. KEDA's own autoscalers count as KEDA."""
    found: dict[tuple[str, str, str], ScalerState] = {}
    for one in sorted(scalers, key=lambda one: str(one["kind"])):
        target = (one.get("spec") or {}).get("scaleTargetRef") or {}
        kind = str(target.get("kind") or "Deployment")
        place = (kind, one["metadata"].get("namespace", ""), str(target.get("name", "")))
        found[place] = _state(one)  # a ScaledObject sorts after the autoscaler that it makes
    return found


def _state(one: Manifest) -> ScalerState:
    kind, spec = one["kind"], one.get("spec") or {}
    keda = kind == "ScaledObject"
    low = spec.get("minReplicaCount" if keda else "minReplicas")
    high = spec.get("maxReplicaCount" if keda else "maxReplicas")
    annotations = one["metadata"].get("annotations") or {}
    paused = any(annotations.get(name) not in (None, "false") for name in _PAUSED)
    return ScalerState(
        kind=kind,
        name=one["metadata"]["name"],
        low=_DEFAULT_MIN[kind] if low is None else int(low),
        high=_DEFAULT_MAX[kind] if high is None else int(high),
        active=_active(one),
        paused=paused,
        problem=_problem(one, keda=keda),
    )


def _active(one: Manifest) -> bool | None:
    said = _condition(one, "Active").get("status")
    return None if said not in ("True", "False") else said == "True"


def _problem(one: Manifest, *, keda: bool) -> str:
    if keda:
        ready, fallback = _condition(one, "Ready"), _condition(one, "Fallback")
        if ready.get("status") == "False":
            return str(ready.get("message") or ready.get("reason") or "it is not ready")
        if fallback.get("status") == "True":
            return "it cannot read its metrics and keeps its fallback replicas"
        return "" if ready else "KEDA has not looked at it yet"
    for kind in ("ScalingActive", "AbleToScale"):
        said = _condition(one, kind)
        if said.get("status") == "False" and said.get("reason") != "ScalingDisabled":
            return str(said.get("message") or said.get("reason"))
    return ""


def _condition(one: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = (one.get("status") or {}).get("conditions") or []
    return next((said for said in conditions if said.get("type") == kind), {})
