"""The Service behind which a model's replicas are found, and the budget of their disruption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plimsoll.worlds.cluster.objects.names import PREFIX
from plimsoll.worlds.cluster.objects.probes import PORT
from plimsoll.worlds.cluster.objects.site import Manifest, Workload, metadata
from plimsoll.worlds.cluster.objects.storage import most_replicas

WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
LEADER = {WORKER_INDEX: "0"}


def service(
    workload: Workload,
    *,
    selector: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Manifest:
    """A headless Service: its EndpointSlices tell the gateway which replicas are ready.

    selector  of the pods; by default the model's own
    port      on which they listen; by default the model's own
    """
    chosen = dict(selector or workload.selector)
    if over_nodes(workload):
        chosen |= LEADER  # only the first node of a replica answers
    number = port or workload.port
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(workload.name, workload.namespace, workload.labels),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": False,
            "selector": dict(sorted(chosen.items())),
            "ports": [{"name": PORT, "port": number, "targetPort": PORT, "protocol": "TCP"}],
        },
    }


def disruption_budgets(workload: Workload) -> Iterator[Manifest]:
    """A budget that lets one pod go at a time, where a model may have several replicas.

    With at most one replica there is none: a budget that protects it would keep its node from ever
    being drained, and one that does not would say nothing.
    """
    if most_replicas(workload) <= 1:
        return
    yield {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(workload.name, workload.namespace, workload.labels),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": dict(sorted(workload.selector.items()))},
            # A replica that never became ready must not hold a node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def why_no_budget(workload: Workload) -> dict[str, str]:
    """The annotation of a model without a disruption budget."""
    if most_replicas(workload) > 1:
        return {}
    why = "at most one replica: a budget would keep its node from ever being drained"
    return {f"{PREFIX}/why-no-disruption-budget": why}


def over_nodes(workload: Workload) -> bool:
    """Whether one replica is spread over several nodes."""
    devices = workload.place.devices
    return devices is not None and devices.nodes > 1
