"""Processor, memory and disk of a replica's pods: as the fleet file says, else derived."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.instances import Instance, instance
from plimsoll.facts.kubernetes import figure
from plimsoll.fleet import Pool
from plimsoll.units import MIB
from plimsoll.worlds.cluster.objects.accelerators import fitting_pools
from plimsoll.worlds.cluster.objects.names import PREFIX
from plimsoll.worlds.cluster.objects.site import Workload

WHY_NO_CPU_LIMIT = {
    f"{PREFIX}/why-no-cpu-limit": "a limit would pause the engine's scheduler in the middle of a "
    "step while the node has idle processors; the request already keeps others off"
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one pod's engine container needs.

    cpu            cores
    memory         bytes, shared memory included
    disk           bytes of ephemeral storage
    shared_memory  bytes of /dev/shm; 0 where there is none
    """

    cpu: float
    memory: int
    disk: int
    shared_memory: int = 0


def needs(workload: Workload, *, weights_on_disk: int) -> Needs:
    """What one pod of the replica needs.

    weights_on_disk  bytes of an emptyDir with weights, which count as the pod's scratch disk
    """
    wished = workload.model.resources
    shared = _shared_memory(workload)
    node = _node(workload)
    return Needs(
        cpu=wished.cpu or _cores(workload, node),
        memory=wished.memory or _memory(workload, node, shared),
        disk=wished.ephemeral_storage or int(figure("scratch")) + weights_on_disk,
        shared_memory=shared,
    )


def container_resources(need: Needs, devices: dict[str, str]) -> dict[str, Any]:
    """The container's `resources`: memory and disk are limited to what is requested.

    devices  extended resources by name; Kubernetes wants request and limit of these alike
    """
    fixed = {
        "ephemeral-storage": quantity(need.disk),
        "memory": quantity(need.memory),
        **devices,
    }
    return {"requests": {"cpu": cores(need.cpu), **fixed}, "limits": fixed}


def small_resources(*, memory: int, disk: int = 64 * MIB, cpu: float = 0.1) -> dict[str, Any]:
    """`resources` of a container that helps an engine: a download, a pause.

    memory  bytes
    disk    bytes of ephemeral storage
    cpu     cores
    """
    fixed = {"ephemeral-storage": quantity(disk), "memory": quantity(memory)}
    return {"requests": {"cpu": cores(cpu), **fixed}, "limits": fixed}


def quantity(amount: int) -> str:
    """Bytes as Kubernetes writes them, rounded up to whole MiB, or GiB where it is even."""
    whole = math.ceil(amount / MIB)
    return f"{whole // 1024}Gi" if whole % 1024 == 0 else f"{whole}Mi"


def cores(amount: float) -> str:
    """Cores as Kubernetes writes them: `4`, `1500m`."""
    thousandths = math.ceil(amount * 1000)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def weights_size(workload: Workload) -> int:
    """Bytes of disk for the weights of a model, its draft and its adapters.

    Raises InputError where neither the fleet file nor the plan knows.
    """
    if workload.model.storage.size is not None:
        return workload.model.storage.size
    if workload.place.weight_bytes == 0:
        raise InputError(
            "the size of its weights is not known",
            where=f"model {workload.model.name}",
            hint="set `storage.size`",
            code="cluster.size",
        )
    return int(workload.place.weight_bytes * figure("weight_margin"))


def shared_volume(need: Needs) -> dict[str, Any]:
    """Shared memory as a volume: memory, counted into the container's limit."""
    return {
        "name": "shared-memory",
        "emptyDir": {"medium": "Memory", "sizeLimit": quantity(need.shared_memory)},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """What one node has: cores, bytes of memory, accelerators; None where not known."""

    cpu: float | None
    memory: int | None
    devices: float


def _shared_memory(workload: Workload) -> int:
    """Bytes of /dev/shm; none beside MPS, whose clients find their server in the node's own, which
    the device plugin mounts there: a volume of ours would hide it (NVIDIA/k8s-device-plugin#805).
    """
    devices = workload.place.devices
    if devices is not None and devices.sharing == "mps":
        return 0
    if not workload.engine.container(workload.place).shared_memory:
        return 0
    return int(figure("shared_memory")) * (devices.per_node if devices else 1)


def _cores(workload: Workload, node: _Node | None) -> float:
    place = workload.place
    if place.devices is None:
        return float(max(1, place.threads))
    rule = figure("cores") + figure("cores_per_device") * place.devices.per_node
    rule *= min(1.0, place.devices.portion)
    if node is not None and node.cpu is not None:
        rule = min(rule, node.cpu * _share(workload, node))
    return math.floor(rule * 10) / 10


def _memory(workload: Workload, node: _Node | None, shared: int) -> int:
    place = workload.place
    if place.devices is None:
        return int(place.ledger.total * figure("memory_margin")) + shared
    each = figure("main_memory_per_device") * place.devices.per_node
    rule = int(figure("main_memory") + each) + shared
    if node is not None and node.memory is not None:
        rule = min(rule, int(node.memory * _share(workload, node)))
    return rule


def _share(workload: Workload, node: _Node) -> float:
    """Part of a node's processors and memory that goes with the accelerators of one pod."""
    devices = workload.place.devices
    assert devices is not None
    held = devices.per_node * devices.portion / node.devices
    return figure("node_share") * min(1.0, held)


def _node(workload: Workload) -> _Node | None:
    """The smallest node that the replica may get; None where nothing is known of it."""
    known = [node for pool in fitting_pools(workload) if (node := _node_of(pool)) is not None]
    if not known:
        return None
    return min(known, key=lambda node: (node.memory or 0) / node.devices)


def _node_of(pool: Pool) -> _Node | None:
    rented = _rented(pool)
    devices = pool.per_node or (rented.count if rented else 1)
    cpu = pool.node.cpu or (rented.vcpus if rented else None)
    memory = pool.node.memory or (rented.memory if rented else None)
    if cpu is None and memory is None:
        return None
    return _Node(cpu=cpu, memory=memory, devices=devices)


def _rented(pool: Pool) -> Instance | None:
    if pool.cloud is None or pool.cloud.instance_type is None:
        return None
    return instance(pool.cloud.provider, pool.cloud.instance_type)
