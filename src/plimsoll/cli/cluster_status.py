"""How a fleet is in a cluster, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from plimsoll.cli.cluster import with_cluster
from plimsoll.cli.cluster_options import Reach
from plimsoll.cli.files import LoadedFleet
from plimsoll.cli.tables import table
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.status import FleetStatus, ModelStatus, fleet_status


def look(
    loaded: LoadedFleet, kubeconfig: str | None, context: str | None, namespace: str | None
) -> FleetStatus:
    """Ask the cluster. Raises what `Kube` raises."""
    fleet = loaded.fleet

    async def work(kube: Kube) -> FleetStatus:
        own = fleet.namespace or namespace or kube.namespace
        others = [model.namespace for model in fleet.models if model.namespace]
        return await fleet_status(
            kube,
            fleet.name,
            list(dict.fromkeys([own, *others])),
            models=[model.name for model in fleet.models],
        )

    return with_cluster(Reach(kubeconfig=kubeconfig, context=context), work)


def status_json(status: FleetStatus) -> str:
    """For programs."""
    body = {
        "fleet": status.fleet,
        "ok": status.well,
        "models": [_model_json(model) for model in status.models],
        "gateway": _model_json(status.gateway) if status.gateway else None,
    }
    return json.dumps(body, indent=2)


def _model_json(model: ModelStatus) -> dict[str, object]:
    return {
        "name": model.name,
        "namespace": model.namespace,
        "kind": model.kind,
        "wanted": model.wanted,
        "ready": model.ready,
        "loading": model.loading,
        "scaler": None if model.scaler is None else msgspec.to_builtins(model.scaler),
        "problems": list(model.problems),
        "replicas": [
            {
                "name": replica.pod.name,
                "state": replica.state.value,
                "phase": replica.pod.phase,
                "reason": replica.pod.reason,
                "pods": replica.pods,
            }
            for replica in model.replicas
        ],
    }


def status_text(status: FleetStatus) -> str:
    """To read: a line per model, then each replica that is not ready and why."""
    told = [*status.models, *([status.gateway] if status.gateway else [])]
    rows = [
        (
            model.name,
            model.kind or "not there",
            str(model.wanted),
            str(model.ready),
            str(model.loading),
            _scaled(model),
        )
        for model in told
    ]
    parts = [table(("MODEL", "KIND", "WANTED", "READY", "LOADING", "SCALED BY"), rows)]
    troubles = [line for model in told for line in _troubles(model)]
    if troubles:
        parts.append("\n".join(troubles))
    return "\n\n".join(parts)


def _scaled(model: ModelStatus) -> str:
    scaler = model.scaler
    if scaler is None:
        return ""
    paused = ", paused" if scaler.paused else ""
    return f"{scaler.kind}, {scaler.low} to {scaler.high}{paused}"


def _troubles(model: ModelStatus) -> Iterator[str]:
    for problem in model.problems:
        yield f"{model.name}: {problem}"
    if model.scaler is not None and model.scaler.problem:
        yield f"{model.name}: {model.scaler.kind}: {model.scaler.problem}"
    for replica in model.replicas:
        pod = replica.pod
        if pod.phase != "ready":
            words = [pod.name, pod.phase, pod.reason]
            hint = f" ({pod.hint})" if pod.hint else ""
            yield ": ".join(word for word in words if word) + hint
