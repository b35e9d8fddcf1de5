"""How a pool's accelerators are cut into MIG instances: what NVIDIA's MIG manager reads.

A cut is named after what is in it. A new cut is a new name and so a new label, which drains and
replaces nodes; the cut of a node that runs pods never changes under them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from plimsoll.errors import DoesNotFit, InputError
from plimsoll.facts.accelerators import accelerator
from plimsoll.facts.clouds import cloud_fact
from plimsoll.fleet import Pool
from plimsoll.plan.share.geometry import Geometry, counts, mig_geometry, placed
from plimsoll.plan.share.packing import pack
from plimsoll.plan.types import Accelerators
from plimsoll.worlds.cluster.objects.names import PREFIX, object_name
from plimsoll.worlds.cluster.objects.pool_nodes import per_node
from plimsoll.worlds.cluster.objects.site import Manifest, Site, metadata

MIG_LABEL = cloud_fact("nvidia", "mig.label")
OPERATOR_NAMESPACE = cloud_fact("nvidia", "gpu-operator.namespace")
_CUT_BY_CLOUD = ("gcp", "azure")  # these cut all accelerators of a pool alike when it is made


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Accelerators of a node that are cut alike.

    devices    their numbers on the node, from 0
    instances  how many of each profile on every one of them; empty: left whole
    """

    devices: tuple[int, ...]
    instances: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """How every node of a pool is cut.

    name  of the configuration, which is also the value of the node's label
    cuts  the node's accelerators, each in one cut
    """

    name: str
    cuts: tuple[Cut, ...]

    @property
    def resources(self) -> dict[str, int]:
        """Instances of one node by profile."""
        found: dict[str, int] = {}
        for cut in self.cuts:
            for profile, count in cut.instances.items():
                found[profile] = found.get(profile, 0) + count * len(cut.devices)
        return dict(sorted(found.items()))


def mig_resource(profile: str) -> str:
    """The extended resource of a profile with strategy `mixed`."""
    return f"nvidia.com/mig-{profile.replace('+me', '.me')}"


def partition(pool: Pool, site: Site) -> Partition | None:
    """How the pool's nodes are cut; None for a pool without MIG.

    As the pool says, else as the placements on it need: every node the same, so that each node
    that comes brings the same mixture, on as few accelerators as can be.

    Raises InputError for a profile that the accelerator lacks or instances that do not go
    together, DoesNotFit where the pool's nodes cannot hold what the plan put there.
    """
    if pool.sharing.mig is None:
        return None
    geometry = _geometry(pool)
    if pool.sharing.mig.layout:
        cuts: tuple[Cut, ...] = (
            Cut(devices=tuple(range(per_node(pool))), instances=_fixed(pool, geometry)),
        )
    else:
        cuts = _planned(pool, site, geometry)
    if pool.sharing.mig.strategy == "single":
        _check_alike(pool, cuts)
    return Partition(name=_named(pool, cuts), cuts=cuts)


def _named(pool: Pool, cuts: tuple[Cut, ...]) -> str:
    content = [[cut.devices, sorted(cut.instances.items())] for cut in cuts]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]
    return object_name("plimsoll", pool.name, digest, longest=63)


def _geometry(pool: Pool) -> Geometry:
    geometry = mig_geometry(accelerator(pool.accelerator).name)
    if geometry is None:
        raise InputError(
            f"no MIG profiles of {pool.accelerator} are known",
            where=f"pool {pool.name}",
            hint="take an accelerator with MIG, or another way of sharing",
            code="nodes.mig",
        )
    return geometry


def _fixed(pool: Pool, geometry: Geometry) -> dict[str, int]:
    assert pool.sharing.mig is not None
    wished = {piece.profile: piece.count for piece in pool.sharing.mig.layout}
    names = [profile for profile, count in wished.items() for _ in range(count)]
    if placed(geometry, counts(geometry, names)) is None:
        words = ", ".join(f"{count} x {profile}" for profile, count in wished.items())
        raise InputError(
            f"{words} do not go together on one {geometry.accelerator}",
            where=f"pool {pool.name}",
            hint="`plimsoll plan` shows layouts that do; leave `layout` out to let it choose",
            code="nodes.mig-layout",
        )
    return wished


def _on(pool: Pool, site: Site) -> list[tuple[Accelerators, int, int]]:
    """Devices of the placements on the pool, each with its average and its most replicas."""
    return [
        (place.devices, place.replicas, max(place.most, place.replicas))
        for place in site.plan.placements
        if place.pool == pool.name and place.devices is not None
    ]


def _planned(pool: Pool, site: Site, geometry: Geometry) -> tuple[Cut, ...]:
    """For the busiest minute, else for the average load; the fewest nodes that hold it."""
    held = _on(pool, site)
    if not any(devices.profile for devices, _, _ in held):
        return (Cut(devices=tuple(range(per_node(pool))), instances={}),)
    for busiest in (True, False):
        wanted = [(devices, most if busiest else usual) for devices, usual, most in held]
        for nodes in range(1, pool.nodes.max + 1):
            cuts = _per_node(pool, geometry, wanted, nodes)
            if cuts is not None:
                return cuts
    raise DoesNotFit(
        f"the MIG instances that the plan puts on {pool.nodes.max} nodes of {per_node(pool)} "
        f"{geometry.accelerator} do not fit when all nodes are cut alike",
        where=f"pool {pool.name}",
        hint="raise `nodes.max`, or split the pool by profile",
        code="nodes.mig-room",
    )


def _per_node(
    pool: Pool, geometry: Geometry, wanted: list[tuple[Accelerators, int]], nodes: int
) -> tuple[Cut, ...] | None:
    """How each of so many nodes is cut, or None where they do not hold it."""
    total: dict[str, int] = {}
    for devices, replicas in wanted:
        total[devices.profile] = total.get(devices.profile, 0) + replicas * devices.per_node
    # An instance is nobody's: whichever model's replica comes may have it, on whichever node.
    each = {profile: math.ceil(count / nodes) for profile, count in total.items()}
    whole = each.pop("", 0)
    demands = each
    assert pool.sharing.mig is not None
    if pool.sharing.mig.strategy == "single":
        return _alike(pool, geometry, demands, whole)
    try:
        packing = pack(demands, geometry, limit=per_node(pool) - whole)
    except DoesNotFit:
        return None
    cuts: list[Cut] = []
    first = 0
    for run in packing.runs:
        names = [instance.profile for instance in run.layout]
        instances = {name: names.count(name) for name in dict.fromkeys(names)}
        cuts.append(Cut(devices=tuple(range(first, first + run.count)), instances=instances))
        first += run.count
    if first < per_node(pool):
        cuts.append(Cut(devices=tuple(range(first, per_node(pool))), instances={}))
    return tuple(cuts)


def _alike(
    pool: Pool, geometry: Geometry, demands: Mapping[str, int], whole: int
) -> tuple[Cut, ...] | None:
    """Every accelerator into as many of one profile as it holds; the whole node alike."""
    if len(demands) != 1 or whole:
        words = ", ".join(sorted(demands)) + (" and whole accelerators" if whole else "")
        raise InputError(
            f"strategy `single` gives one profile per node, and the plan puts {words} there",
            where=f"pool {pool.name}",
            hint="write `strategy: mixed`, or a pool for each",
            code="nodes.mig-single",
        )
    (name, count), *_ = demands.items()
    most = geometry.profile(name).most
    if count > most * per_node(pool):
        return None
    return (Cut(devices=tuple(range(per_node(pool))), instances={name: most}),)


def _check_alike(pool: Pool, cuts: tuple[Cut, ...]) -> None:
    kinds = {profile for cut in cuts for profile in cut.instances}
    if len(kinds) > 1:
        raise InputError(
            f"strategy `single` takes one profile, not {', '.join(sorted(kinds))}",
            where=f"pool {pool.name}",
            hint="write `strategy: mixed`, or a pool for each profile",
            code="nodes.mig-single",
        )


def cut_by_cloud(pool: Pool, site: Site) -> str:
    """The profile into which the cloud itself cuts every accelerator; empty where it does not.

    GKE and AKS can when a pool is made: one profile, as many instances as go on an accelerator,
    offered as `nvidia.com/gpu`, which is strategy `single`.
    """
    if pool.cloud is None or pool.cloud.provider not in _CUT_BY_CLOUD or pool.sharing.mig is None:
        return ""
    made = partition(pool, site)
    if pool.sharing.mig.strategy != "single" or made is None or len(made.cuts) != 1:
        return ""
    geometry = _geometry(pool)
    for name, count in made.cuts[0].instances.items():
        profile = geometry.profile(name)
        alike = [one.memory for one in geometry.profiles if one.compute == profile.compute]
        # AKS names its cuts by compute slices alone, and means those with the least memory.
        plain = pool.cloud.provider != "azure" or profile.memory == min(alike)
        if count == profile.most and plain:
            return name
    return ""


def mig_config(pool: Pool, site: Site) -> str | None:
    """Name of the configuration that the MIG manager applies to the pool's nodes, if any."""
    made = partition(pool, site)
    if made is None or cut_by_cloud(pool, site):
        return None
    return made.name


def mig_manager_config(site: Site) -> str:
    """Name of the ConfigMap; empty where no pool needs one."""
    if any(mig_config(pool, site) for pool in site.own_pools):
        return object_name(site.fleet.name, "mig")
    return ""


def mig_objects(site: Site) -> Iterator[Manifest]:
    """The ConfigMap of every pool's cut, in the namespace of the GPU Operator, which reads it.

    Raises as `partition`.
    """
    name = mig_manager_config(site)
    if not name:
        return
    configs: dict[str, list[dict[str, Any]]] = {
        cloud_fact("nvidia", "mig.default"): [{"devices": "all", "mig-enabled": False}]
    }
    notes = []
    for pool in site.own_pools:
        made = partition(pool, site)
        if made is not None and mig_config(pool, site):
            configs[made.name] = [_entry(cut, len(made.cuts)) for cut in made.cuts]
            notes.append(f"{made.name}: pool {pool.name}")
    text = yaml.safe_dump({"version": "v1", "mig-configs": configs}, sort_keys=False)
    why = (
        "A node is cut when its label says so, with no pod on its accelerators. A new cut gets a "
        "new name: replace the nodes, or drain one, change its label, and the accelerators are "
        "reset; on clouds the node may restart."
    )
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(
            name,
            OPERATOR_NAMESPACE,
            site.labels,
            {f"{PREFIX}/pools": "; ".join(notes), f"{PREFIX}/why": why},
        ),
        "data": {cloud_fact("nvidia", "mig.file"): text},
    }


def _entry(cut: Cut, cuts: int) -> dict[str, Any]:
    devices: Any = "all" if cuts == 1 else list(cut.devices)
    if not cut.instances:
        return {"devices": devices, "mig-enabled": False}
    return {"devices": devices, "mig-enabled": True, "mig-devices": dict(cut.instances)}
