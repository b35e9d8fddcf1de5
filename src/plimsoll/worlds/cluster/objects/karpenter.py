"""Karpenter adds the nodes of a pool: NodePools, the EC2NodeClass, and what MIG makes of a node."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.clouds import cloud_fact
from plimsoll.facts.instances import Instance
from plimsoll.facts.kubernetes import figure
from plimsoll.fleet import Pool
from plimsoll.units import GIB, MIB
from plimsoll.worlds.cluster.info import EC2_NODE_CLASS, NODE_POOL
from plimsoll.worlds.cluster.objects.mig import mig_resource, partition
from plimsoll.worlds.cluster.objects.names import FLEET, POOL, PREFIX, object_name
from plimsoll.worlds.cluster.objects.node_labels import node_labels
from plimsoll.worlds.cluster.objects.pool_nodes import (
    architecture,
    cluster_of,
    disk,
    has_accelerators,
    machines,
    per_node,
    resource,
    spot_share,
    taints,
)
from plimsoll.worlds.cluster.objects.site import Manifest, Site, metadata

NODE_OVERLAY = "karpenter.sh/v1alpha1/NodeOverlay"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
_FIRST, _SECOND = 50, 10  # weights: the higher is tried first
_SLACK = 300  # seconds that a node may take beyond its pods' own grace, for volumes and DaemonSets


def karpenter_pools(site: Site) -> tuple[Pool, ...]:
    """The pools whose nodes Karpenter adds: as written, else AWS pools where it is installed.

    Raises InputError for a pool that says `karpenter` and cannot have it.
    """
    return tuple(pool for pool in site.own_pools if _is_ours(pool, site))


def _is_ours(pool: Pool, site: Site) -> bool:
    obstacle = _obstacle(pool, site)
    if pool.provisioner == "karpenter" and obstacle is not None:
        message, hint = obstacle
        raise InputError(message, where=f"pool {pool.name}", hint=hint, code="nodes.karpenter")
    if pool.provisioner == "auto":
        return _installed(site) and obstacle is None
    return pool.provisioner == "karpenter"


def _obstacle(pool: Pool, site: Site) -> tuple[str, str] | None:
    """Why Karpenter cannot add the pool's nodes, and what to try."""
    if pool.cloud is None or pool.cloud.provider != "aws":
        return "Karpenter's nodes are made for `cloud.provider: aws` only", "use `nodeGroup`"
    if cluster_of(pool, site.fleet) is None:
        return "Karpenter finds subnets by the cluster's name", "say it in `cloud.cluster`"
    if pool.sharing.dra is not None:
        return (
            "Karpenter adds no node for a pod that asks by ResourceClaim",
            "use `provisioner: nodeGroup`, or leave `sharing.dra` out",
        )
    if _overlaid(pool) and not (site.info.assumed or site.info.has(NODE_OVERLAY)):
        return (
            "Karpenter knows no MIG resources without NodeOverlay, which this cluster has not",
            "write `strategy: single`, or use `provisioner: nodeGroup`",
        )
    return None


def _overlaid(pool: Pool) -> bool:
    return pool.sharing.mig is not None and pool.sharing.mig.strategy == "mixed"


def karpenter_objects(site: Site) -> Iterator[Manifest]:
    """Of each pool that Karpenter adds nodes to: EC2NodeClass, NodePools, and a NodeOverlay where
    its nodes offer MIG resources. Nothing where Karpenter is not installed: `karpenter_notes`.

    Raises InputError for a pool that cannot be there; see `partition` for MIG.
    """
    for pool in karpenter_pools(site):
        if not _installed(site):
            continue
        yield _node_class(pool, site)
        yield from _node_pools(pool, site)
        if _overlaid(pool):
            yield _node_overlay(pool, site)


def karpenter_notes(site: Site) -> tuple[str, ...]:
    """What Karpenter does otherwise than the fleet file says, for a reader."""
    if not _installed(site):
        return tuple(
            f"pool {pool.name}: Karpenter is not installed ({NODE_POOL}, {EC2_NODE_CLASS}), so "
            "nothing adds its nodes: replicas beyond the nodes that are there wait"
            for pool in karpenter_pools(site)
        )
    return tuple(note for pool in karpenter_pools(site) for note in _notes(pool))


def _installed(site: Site) -> bool:
    return site.info.has(NODE_POOL) and site.info.has(EC2_NODE_CLASS)


def _notes(pool: Pool) -> Iterator[str]:
    where = f"pool {pool.name}"
    spot, rest = spot_share(pool)
    if spot and rest:
        yield (
            f"{where}: Karpenter holds no share of spot: up to {spot} nodes are spot and are taken "
            f"first, up to {rest} are on demand, which is the share when all are there"
        )
    if pool.nodes.min:
        yield (
            f"{where}: Karpenter keeps no empty nodes: `nodes.min: {pool.nodes.min}` holds only "
            "while replicas need them (`scaling.min`, `scaling.warm`)"
        )
    if pool.capacity == "reserved" and not _reserved(pool):
        yield (
            f"{where}: `capacity: reserved` without `cloud.reservation` is taken as a price that "
            "was agreed on: its nodes are on demand"
        )
    if _overlaid(pool):
        yield f"{where}: MIG with Karpenter needs its feature gate NodeOverlay=true (alpha)"
    if pool.sharing.time_slicing or pool.sharing.mps:
        yield (
            f"{where}: Karpenter counts one pod per accelerator until a node is ready, so that it "
            "may add more nodes at once than shares need"
        )


def _name(pool: Pool, site: Site) -> str:
    return object_name(site.namespace, site.fleet.name, pool.name)


def _reserved(pool: Pool) -> bool:
    assert pool.cloud is not None
    return pool.capacity == "reserved" and pool.cloud.reservation is not None


def _node_class(pool: Pool, site: Site) -> Manifest:
    cluster = cluster_of(pool, site.fleet)
    assert pool.cloud is not None
    assert cluster is not None
    found = [{"tags": {cloud_fact("aws", "discovery.tag"): cluster}}]
    spec: dict[str, Any] = {
        "amiSelectorTerms": [{"alias": cloud_fact("aws", "ami.alias")}],
        "role": cloud_fact("aws", "node.role") + cluster,
        "subnetSelectorTerms": found,
        "securityGroupSelectorTerms": found,
        "blockDeviceMappings": [_volume(pool, site)],
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpProtocolIPv6": "disabled",
            "httpPutResponseHopLimit": 1,
            "httpTokens": "required",
        },
        "tags": {FLEET: site.fleet.name, POOL: pool.name},
    }
    if _local_disks(pool):
        spec["instanceStorePolicy"] = "RAID0"
    if _reserved(pool):
        spec["capacityReservationSelectorTerms"] = [_reservation(pool.cloud.reservation or "")]
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": metadata(_name(pool, site), None, site.labels),
        "spec": spec,
    }


def _reservation(text: str) -> dict[str, Any]:
    if re.fullmatch(r"cr-[0-9a-z]+", text):
        return {"id": text}
    return {"tags": {"Name": text}}


def _local_disks(pool: Pool) -> bool:
    rows = machines(pool, "aws")
    return bool(rows) and all(row.local_disk for row in rows)


def _volume(pool: Pool, site: Site) -> dict[str, Any]:
    """The root disk; without the weights where disks inside the machine take them."""
    size = disk(None if _local_disks(pool) else site, pool)
    return {
        "deviceName": cloud_fact("aws", "root.device"),
        "ebs": {
            "deleteOnTermination": True,
            "encrypted": True,
            "iops": int(cloud_fact("aws", "root.iops")),
            "throughput": int(cloud_fact("aws", "root.throughput")),
            "volumeSize": f"{size // GIB}Gi",
            "volumeType": cloud_fact("aws", "root.volume"),
        },
        "rootVolume": True,
    }


def _node_pools(pool: Pool, site: Site) -> Iterator[Manifest]:
    spot, rest = spot_share(pool)
    if spot and rest:
        yield _node_pool(pool, site, ["spot"], spot, suffix="spot", weight=_FIRST)
        yield _node_pool(pool, site, ["on-demand"], rest, suffix="on-demand", weight=_SECOND)
    elif pool.capacity == "mixed" and pool.nodes.max == 1 and spot:
        yield _node_pool(pool, site, ["spot", "on-demand"], 1, weight=_FIRST)
    elif spot:
        yield _node_pool(pool, site, ["spot"], spot, weight=_FIRST)
    else:
        kind = "reserved" if _reserved(pool) else "on-demand"
        weight = _FIRST if kind == "reserved" else _SECOND
        yield _node_pool(pool, site, [kind], rest, weight=weight)


def _node_pool(
    pool: Pool, site: Site, kinds: list[str], nodes: int, *, weight: int, suffix: str = ""
) -> Manifest:
    grace = figure("endpoint_removal") + site.fleet.gateway.max_stream + figure("shutdown_margin")
    template: dict[str, Any] = {
        "expireAfter": _duration(pool.disruption.expire_after),
        "nodeClassRef": {
            "group": "karpenter.k8s.aws",
            "kind": "EC2NodeClass",
            "name": _name(pool, site),
        },
        "requirements": [*_requirements(pool), _in(CAPACITY_TYPE, kinds)],
        "terminationGracePeriod": _duration(grace + _SLACK),
    }
    if taints(pool):
        template["taints"] = taints(pool)
    name = object_name(site.namespace, site.fleet.name, pool.name, suffix)
    why = {f"{PREFIX}/why": "; ".join(_notes(pool))} if any(_notes(pool)) else None
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": metadata(name, None, site.labels, why),
        "spec": {
            "disruption": {
                # Weights are dear to read again: a node goes only when nobody is on it.
                "consolidationPolicy": "WhenEmpty",
                "consolidateAfter": _duration(pool.disruption.consolidate_after),
                "budgets": [
                    {"nodes": "100%", "reasons": ["Empty"]},
                    {"nodes": "1", "reasons": ["Drifted", "Underutilized"]},
                ],
            },
            "limits": _limits(pool, site, nodes),
            "template": {"metadata": {"labels": node_labels(pool, site)}, "spec": template},
            "weight": weight,
        },
    }


def _limits(pool: Pool, site: Site, nodes: int) -> dict[str, str]:
    """Most nodes, and the most of what their device plugin offers as whole accelerators.

    Karpenter counts a node that is there by what its plugin offers, so that shares count too.
    """
    found = {"nodes": str(nodes)}
    if has_accelerators(pool):
        found[resource(pool)] = str(nodes * _offered(pool, site))
    return dict(sorted(found.items()))


def _offered(pool: Pool, site: Site) -> int:
    turns = pool.sharing.time_slicing or pool.sharing.mps
    made = partition(pool, site)
    count = per_node(pool)
    if made is not None and pool.sharing.mig is not None and pool.sharing.mig.strategy == "single":
        count = max(count, sum(made.resources.values()))
    return count * (turns.replicas if turns else 1)


def _requirements(pool: Pool) -> Iterator[dict[str, Any]]:
    assert pool.cloud is not None
    rows = machines(pool, "aws")
    yield _in("kubernetes.io/arch", [architecture(pool)])
    yield _in("kubernetes.io/os", ["linux"])
    if rows:
        yield from _accelerated(rows)
    elif pool.cloud.instance_type is not None:
        yield _in("node.kubernetes.io/instance-type", [pool.cloud.instance_type])
    else:
        yield from _plain(pool)
    if pool.cloud.zones:
        yield _in("topology.kubernetes.io/zone", list(pool.cloud.zones))


def _accelerated(rows: tuple[Instance, ...]) -> Iterator[dict[str, Any]]:
    yield _in("node.kubernetes.io/instance-type", [row.type for row in rows])
    if rows[0].count >= 1:  # EC2 says 0 of a machine that has a part of one
        yield _in("karpenter.k8s.aws/instance-gpu-count", [str(round(rows[0].count))])


def _plain(pool: Pool) -> Iterator[dict[str, Any]]:
    """Machines with the processor and memory that the pool asks for, and no accelerator."""
    yield {"key": "karpenter.k8s.aws/instance-gpu-count", "operator": "DoesNotExist"}
    if pool.node.cpu is not None:
        yield _at_least("karpenter.k8s.aws/instance-cpu", math.ceil(pool.node.cpu))
    if pool.node.memory is not None:
        yield _at_least("karpenter.k8s.aws/instance-memory", math.ceil(pool.node.memory / MIB))
    if pool.node.local_disk is not None:
        size = math.ceil(pool.node.local_disk / 10**9)
        yield _at_least("karpenter.k8s.aws/instance-local-nvme", size)


def _in(key: str, values: list[str]) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": values}


def _at_least(key: str, value: int) -> dict[str, Any]:
    return {"key": key, "operator": "Gte", "values": [str(value)]}


def _duration(seconds: float | None) -> str:
    """As Karpenter writes it, whole seconds; `Never` where there is no end."""
    return "Never" if seconds is None else f"{math.ceil(seconds)}s"


def _node_overlay(pool: Pool, site: Site) -> Manifest:
    """What a node offers once it is cut, so that Karpenter adds one for a pod that asks for it."""
    made = partition(pool, site)
    assert made is not None
    capacity = {mig_resource(name): str(count) for name, count in made.resources.items()}
    return {
        "apiVersion": "karpenter.sh/v1alpha1",
        "kind": "NodeOverlay",
        "metadata": metadata(_name(pool, site), None, site.labels),
        "spec": {
            "requirements": [_in(POOL, [node_labels(pool, site)[POOL]])],
            "capacity": capacity,
        },
    }
