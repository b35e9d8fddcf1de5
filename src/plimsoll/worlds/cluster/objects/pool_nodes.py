"""The nodes of a pool, whoever adds them: machine types, labels, taints, spot share, disk."""

from __future__ import annotations

import math
from typing import Literal

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerator
from plimsoll.facts.clouds import architecture_of, cloud_fact
from plimsoll.facts.instances import Instance, instance, offers
from plimsoll.facts.kubernetes import device_resources, spots
from plimsoll.fleet import Fleet, Pool
from plimsoll.plan.types import Placement
from plimsoll.units import GIB
from plimsoll.worlds.cluster.objects.site import Site

SPOT_PERCENT = 70  # of `mixed` capacity where the pool does not say, as the plan reckons
_ROUND = 10 * GIB


def has_accelerators(pool: Pool) -> bool:
    """Whether the pool's nodes have accelerators."""
    return pool.accelerator != "none"


def machines(pool: Pool, provider: str) -> tuple[Instance, ...]:
    """The machine types that the pool's nodes may be, the one to take first; all with as many
    accelerators.

    The one that the pool names, else those of the catalogue that have what it asks for. Empty for
    a pool without accelerators whose machine type is not in the catalogue.

    Raises InputError for a type that is not known or does not fit, or where there is none.
    """
    named = pool.cloud.instance_type if pool.cloud and pool.cloud.provider == provider else None
    if not has_accelerators(pool):
        return ()
    if named is not None:
        return (_named(pool, provider, named),)
    fitting = [row for row in offers(pool.accelerator, provider) if _enough(row, pool)]
    # Where the pool does not say how many: the fewest, as the plan reckons with one.
    count = min((row.count for row in fitting), default=0)
    found = tuple(row for row in fitting if row.count == count)
    if not found:
        wish = f"{pool.per_node} of " if pool.per_node else ""
        raise InputError(
            f"no machine of {provider} that is known has {wish}{pool.accelerator}",
            where=f"pool {pool.name}",
            hint="name one in `cloud.instanceType`, or take another cloud or `perNode`",
            code="nodes.machine",
        )
    return found


def _named(pool: Pool, provider: str, kind: str) -> Instance:
    row = instance(provider, kind)
    if row.accelerator != accelerator(pool.accelerator).name:
        raise InputError(
            f"{row.type} has {row.accelerator}, not {pool.accelerator}",
            where=f"pool {pool.name}",
            hint=f"write `accelerator: {row.accelerator}`",
            code="nodes.accelerator",
        )
    if pool.per_node is not None and pool.per_node != whole(row):
        raise InputError(
            f"{row.type} has {whole(row)} accelerators, not {pool.per_node}",
            where=f"pool {pool.name}",
            hint=f"write `perNode: {whole(row)}`, or leave it out",
            code="nodes.per-node",
        )
    return row


def whole(row: Instance) -> int:
    """Accelerators that a node of the machine type shows; a part of one is shown as one."""
    return max(1, round(row.count))


def _enough(row: Instance, pool: Pool) -> bool:
    """Whole accelerators, as many as asked for, with the processor, memory and disk."""
    return (
        row.count >= 1
        and pool.per_node in (None, whole(row))
        and row.vcpus >= (pool.node.cpu or 0)
        and row.memory >= (pool.node.memory or 0)
        and row.local_disk >= (pool.node.local_disk or 0)
    )


def per_node(pool: Pool) -> int:
    """Accelerators of one node; 0 for a pool without.

    Raises InputError for a machine type that is not known.
    """
    if not has_accelerators(pool):
        return 0
    if pool.per_node is not None:
        return pool.per_node
    if pool.cloud is None:
        return 1
    return whole(machines(pool, pool.cloud.provider)[0])


def architecture(pool: Pool) -> str:
    """`amd64` or `arm64`."""
    if not has_accelerators(pool):
        return "amd64"
    return architecture_of(accelerator(pool.accelerator).name)


def cluster_of(pool: Pool, fleet: Fleet) -> str | None:
    """Name of the pool's cluster, from the pool or its cloud's other pools."""
    return cloud_word(pool, fleet, "cluster")


def cloud_word(
    pool: Pool,
    fleet: Fleet,
    name: Literal["cluster", "region", "project", "resource_group"],
) -> str | None:
    """What the pool says of its cloud, else what all others of that cloud agree on."""
    if pool.cloud is None:
        return None
    own: str | None = getattr(pool.cloud, name)
    if own is not None:
        return own
    provider = pool.cloud.provider
    clouds = [other.cloud for other in fleet.pools if other.cloud is not None]
    said = {getattr(cloud, name) for cloud in clouds if cloud.provider == provider} - {None}
    return said.pop() if len(said) == 1 else None


def spot_share(pool: Pool) -> tuple[int, int]:
    """Most spot nodes and most others of a pool; together `nodes.max`.

    A `mixed` pool of one node has (1, 0): that node is spot where there is one.
    """
    most = pool.nodes.max
    if pool.capacity == "spot":
        return most, 0
    if pool.capacity != "mixed":
        return 0, most
    percent = SPOT_PERCENT if pool.spot_percent is None else pool.spot_percent
    if percent in (0, 100) or most == 1:
        return (0, most) if percent == 0 else (most, 0)
    spot = min(max(1, round(most * percent / 100)), most - 1)
    return spot, most - spot


def resource(pool: Pool) -> str:
    """What the device plugin calls one whole accelerator of the pool: `nvidia.com/gpu`."""
    return device_resources()[accelerator(pool.accelerator).vendor].resource


def taints(pool: Pool) -> list[dict[str, str]]:
    """The taints of the pool's nodes, as Kubernetes writes them."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    if has_accelerators(pool):
        _, value, effect = parsed_taint(cloud_fact("nvidia", "taint"))
        key = resource(pool)
        found[key, effect] = {"key": key, "value": value, "effect": effect}
    for taint in pool.taints:
        own = {"key": taint.key, "effect": taint.effect}
        if taint.value:
            own = {"key": taint.key, "value": taint.value, "effect": taint.effect}
        found.setdefault((taint.key, taint.effect), own)
    return list(found.values())


def spot_taints(provider: str) -> list[dict[str, str]]:
    """Taints of a cloud's spot nodes beside the pool's own."""
    spot = spots()[provider]
    if not spot.taint:
        return []
    return [{"key": spot.taint, "value": spot.taint_value, "effect": "NoSchedule"}]


def parsed_taint(text: str) -> tuple[str, str, str]:
    """Key, value and effect of `key=value:Effect`."""
    word, _, effect = text.rpartition(":")
    key, _, value = word.partition("=")
    return key, value, effect


def disk(site: Site | None, pool: Pool) -> int:
    """Bytes that the disk of a node needs for images and for weights that its pods download.

    The weights are those of as many replicas as fit a node, of the model that takes most.
    """
    room = int(cloud_fact("disk", "images"))
    weights = [0]
    for workload in site.workloads if site is not None else ():
        named = {one.name for one in workload.pools}
        if workload.model.storage.strategy == "volume" or pool.name not in named:
            continue
        weights.append(workload.place.weight_bytes * _replicas_per_node(workload.place, pool))
    return math.ceil((room + max(weights)) / _ROUND) * _ROUND


def _replicas_per_node(place: Placement, pool: Pool) -> int:
    if place.devices is None:
        return max(1, place.replicas)
    held = place.devices.per_node * place.devices.portion
    return max(1, math.floor(per_node(pool) / held)) if held else 1
