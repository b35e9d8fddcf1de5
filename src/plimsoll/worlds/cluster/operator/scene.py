"""What the operator sees of a cluster: Fleets, workloads and pods, and what callers want."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from plimsoll.policy.snapshot import ReplicaSeen
from plimsoll.worlds.cluster.objects.names import COMPONENT, FLEET, GATEWAY_COMPONENT, label_value
from plimsoll.worlds.cluster.objects.site import Manifest, Workload
from plimsoll.worlds.cluster.operator.applying import Version
from plimsoll.worlds.cluster.operator.demand import Demand
from plimsoll.worlds.cluster.operator.fleets import Sum
from plimsoll.worlds.cluster.operator.mirror import Mirror
from plimsoll.worlds.cluster.operator.reading import FleetKey
from plimsoll.worlds.cluster.reference import Key

Observe = Callable[[Workload, Sequence[Manifest], float], tuple[ReplicaSeen, ...]]
"""The replicas that some pods of a workload are, at a time in seconds since 1970."""


@dataclass(kw_only=True)
class Scene:
    """Everything that passes look at.

    fleets     every Fleet object
    workloads  what has our pods, by kind
    pods       every pod that is marked with a Fleet
    demand     what callers want
    observe    reads pods
    sum        what all Fleets mean together
    """

    fleets: Mirror
    workloads: Mapping[str, Mirror]
    pods: Mirror
    demand: Demand
    observe: Observe
    sum: Sum = field(default_factory=Sum)

    def replicas(self, workload: Workload, now: float) -> tuple[ReplicaSeen, ...]:
        """The replicas of one model."""
        wanted = workload.selector.items()
        pods = [
            pod
            for pod in self.pods.found((workload.namespace, label_value(workload.fleet)))
            if wanted <= (pod["metadata"].get("labels") or {}).items()
        ]
        return self.observe(workload, pods, now)

    def gateway_pods(self, gateway: FleetKey) -> list[Manifest]:
        """The pods of one Fleet's gateway."""
        return [
            pod
            for pod in self.pods.found((gateway.namespace, label_value(gateway.name)))
            if pod["metadata"]["labels"].get(COMPONENT) == GATEWAY_COMPONENT
        ]

    def pods_of_fleet(self, key: FleetKey) -> Iterable[Manifest]:
        """Every pod that is marked with a Fleet of that name, in all namespaces."""
        value = label_value(key.name)
        return [pod for pod in self.pods.all() if pod["metadata"]["labels"].get(FLEET) == value]

    def version(self, key: Key) -> Version | None:
        """An object as its watch has it; None where nobody watches its kind."""
        mirror = self.workloads.get(key.kind)
        if mirror is None:
            return None
        found = mirror.get((key.namespace, key.name))
        if found is None:
            return Version()
        meta = found["metadata"]
        return Version(uid=meta.get("uid", ""), generation=meta.get("generation", 0))

    def replicas_written(self, key: Key) -> int | None:
        """The replicas that a workload says; None where it is not there."""
        mirror = self.workloads.get(key.kind)
        found = mirror.get((key.namespace, key.name)) if mirror is not None else None
        return None if found is None else int(found["spec"].get("replicas", 1))

    def scaled(self, key: Key, replicas: int) -> None:
        """Take over a number that was just written, ahead of the watch."""
        found = self.workloads[key.kind].get((key.namespace, key.name))
        if found is not None:
            found["spec"]["replicas"] = replicas


def pod_index(pod: Manifest) -> tuple[str, str] | None:
    """Under which namespace and Fleet a pod is found."""
    meta = pod["metadata"]
    fleet = (meta.get("labels") or {}).get(FLEET)
    return (meta["namespace"], fleet) if fleet else None
