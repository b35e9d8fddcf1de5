"""What objects ask of the cluster: pods, their requests, and accelerators among those."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from plimsoll.errors import UnitError
from plimsoll.facts.kubernetes import device_resources
from plimsoll.worlds.cluster.reference import Key, key_of

# Kinds whose `spec.replicas` a scaler may own instead of us.
SCALED_KINDS = frozenset({"Deployment", "StatefulSet", "LeaderWorkerSet"})
_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)([numkMGTPE]|[KMGTPE]i|)"
)
_FACTORS = {
    "": Decimal(1),
    **{sign: Decimal(1000) ** power for power, sign in enumerate("num", start=-3)},
    **{sign: Decimal(1000) ** power for power, sign in enumerate("kMGTPE", start=1)},
    **{f"{sign}i": Decimal(1024) ** power for power, sign in enumerate("KMGTPE", start=1)},
}
Requests = Mapping[str, Decimal]  # of one pod or of many, by resource name; bytes, cores, devices


def replicas(manifest: Mapping[str, Any], wished: Mapping[Key, int]) -> int:
    """Replicas of a workload: its own number, else that of `wished`, else Kubernetes' one."""
    if manifest.get("kind") not in SCALED_KINDS:
        return 1 if manifest.get("kind") in ("Pod", "RayService") else 0
    own = (manifest.get("spec") or {}).get("replicas")
    return int(own) if own is not None else wished.get(key_of(manifest), 1)


def pods(manifest: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """How many pods, with which spec, one replica of a workload is."""
    spec = manifest.get("spec") or {}
    kind = manifest.get("kind")
    if kind in ("Deployment", "StatefulSet"):
        yield 1, _pod_spec(spec)
    elif kind == "Pod":
        yield 1, spec
    elif kind == "LeaderWorkerSet":
        template = spec.get("leaderWorkerTemplate") or {}
        worker = _pod_spec(template, "workerTemplate")
        leader = _pod_spec(template, "leaderTemplate") or worker
        yield 1, leader
        yield int(template.get("size") or 1) - 1, worker
    elif kind == "RayService":
        cluster = spec.get("rayClusterConfig") or {}
        yield 1, _pod_spec(cluster.get("headGroupSpec") or {})
        for group in cluster.get("workerGroupSpecs") or []:
            hosts = int(group.get("numOfHosts") or 1)
            yield int(group.get("replicas") or 1) * hosts, _pod_spec(group)


def requests(manifest: Mapping[str, Any]) -> Requests:
    """What one replica of a workload requests, over all its pods; `pods` counts them."""
    total: dict[str, Decimal] = {}
    for count, spec in pods(manifest):
        for name, amount in (*pod_requests(spec).items(), ("pods", Decimal(1))):
            total[name] = total.get(name, Decimal(0)) + amount * count
    return {name: amount for name, amount in total.items() if amount}


def pod_requests(spec: Mapping[str, Any]) -> Requests:
    """What one pod requests: its containers together, or its largest init container if more."""
    running = _sum(spec.get("containers") or [])
    for container in spec.get("initContainers") or []:
        wants = _container(container)
        if container.get("restartPolicy") == "Always":  # a sidecar: it stays
            running = {
                name: running.get(name, Decimal(0)) + wants.get(name, Decimal(0))
                for name in running.keys() | wants.keys()
            }
        else:
            running = {
                name: max(running.get(name, Decimal(0)), wants.get(name, Decimal(0)))
                for name in running.keys() | wants.keys()
            }
    return running


def accelerators(manifest: Mapping[str, Any]) -> Decimal:
    """Accelerators, or slices of such, that one replica holds."""
    asked = requests(manifest)
    return sum((n for name, n in asked.items() if is_accelerator(name)), Decimal(0))


def is_accelerator(resource: str) -> bool:
    """Whether a resource name is of a maker of accelerators: `nvidia.com/mig-1g.10gb`."""
    return resource.partition("/")[0] in _domains()


def quantity(text: object) -> Decimal:
    """The number behind `500m`, `8Gi`, `4`, `0.5`, `1e3`. Raises UnitError.

    https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise UnitError(f"`{text}` is not a quantity", hint="write it like `500m` or `8Gi`")
    return Decimal(match[1]) * _FACTORS[match[2]]


@cache
def _domains() -> frozenset[str]:
    return frozenset(row.resource.partition("/")[0] for row in device_resources().values())


def _pod_spec(holder: Mapping[str, Any], name: str = "template") -> Mapping[str, Any]:
    found: Mapping[str, Any] = (holder.get(name) or {}).get("spec") or {}
    return found


def _sum(containers: list[Mapping[str, Any]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for container in containers:
        for name, amount in _container(container).items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total


def _container(container: Mapping[str, Any]) -> dict[str, Decimal]:
    """Requests of a container; what only has a limit requests that much."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity(amount) for name, amount in asked.items()}
