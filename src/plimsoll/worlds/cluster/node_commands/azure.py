"""AKS node pools by `az`."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerator
from plimsoll.facts.clouds import cloud_fact, known_cloud_fact
from plimsoll.facts.mig import mig_profiles
from plimsoll.fleet import Pool
from plimsoll.units import GIB
from plimsoll.worlds.cluster.node_commands.groups import (
    Group,
    cut_notes,
    described,
    groups,
    machine_asked,
    machine_words,
)
from plimsoll.worlds.cluster.node_commands.shell import (
    Words,
    assigned,
    captured,
    command,
    comments,
    quoted,
    taint_words,
)
from plimsoll.worlds.cluster.objects.mig import cut_by_cloud, mig_config
from plimsoll.worlds.cluster.objects.node_labels import node_labels
from plimsoll.worlds.cluster.objects.pool_nodes import (
    cloud_word,
    cluster_of,
    disk,
    has_accelerators,
    spot_taints,
    taints,
)
from plimsoll.worlds.cluster.objects.site import Site

_WHERE = ("--resource-group", '"$resources"'), ("--cluster-name", '"$cluster"')


def commands(pool: Pool, site: Site) -> str:
    """The commands that make the pool's node pools, or set what can be changed of them.

    Raises InputError for what AKS cannot have: see `machines`, `partition`.
    """
    assert pool.cloud is not None
    lines = [
        *assigned(
            "resources",
            cloud_word(pool, site.fleet, "resource_group"),
            "AKS_RESOURCE_GROUP",
            "the resource group of the AKS cluster",
        ),
        *assigned(
            "cluster", cluster_of(pool, site.fleet), "AKS_CLUSTER", "the name of the AKS cluster"
        ),
    ]
    lines += machine_asked(pool)
    for group in groups(pool, "azure"):
        lines += ["", *_group(pool, group, site)]
    return "\n".join(lines) + "\n"


def _group(pool: Pool, group: Group, site: Site) -> Iterator[str]:
    yield from comments(
        [described(pool, group), *_notes(pool, group), *cut_notes(mig_config(pool, site))]
    )
    yield f"name={quoted(group.name, always=True)}"
    listing: Words = [
        "az aks nodepool list",
        *_WHERE,
        ("--query", "'[].name'"),
        ("--output", "tsv"),
    ]
    yield from captured("existing", listing)
    yield 'if has "$name" "$existing"; then'
    yield '  echo "node pool $name is there: setting its bounds, labels and taints"'
    yield from command(
        [
            "az aks nodepool update", *_WHERE, ("--name", '"$name"'),
            ("--update-cluster-autoscaler",), *_bounds(group), _labels(pool, site),
            ("--node-taints", quoted(_taints(pool, group))), ("--output", "none"),
        ],
        indent="  ",
    )  # fmt: skip
    yield "else"
    yield '  echo "making node pool $name"'
    yield from command(
        ["az aks nodepool add", *_WHERE, ("--name", '"$name"'), *_made(pool, group, site)],
        indent="  ",
    )
    yield "fi"


def _notes(pool: Pool, group: Group) -> Iterator[str]:
    yield f"AKS takes short names: `{group.name}` is its name there, the label says the pool's."
    if pool.fabric == "infiniband":
        yield "InfiniBand needs NVIDIA's Network Operator on the cluster."


def _bounds(group: Group) -> Iterator[tuple[str, ...]]:
    yield ("--min-count", str(group.fewest))
    yield ("--max-count", str(group.most))


def _labels(pool: Pool, site: Site) -> tuple[str, ...]:
    pairs = sorted(node_labels(pool, site).items())
    return ("--labels", *(quoted(f"{key}={value}") for key, value in pairs))


def _taints(pool: Pool, group: Group) -> str:
    """AKS taints spot nodes itself; said again, because what is said replaces all."""
    found = [*taints(pool), *(spot_taints("azure") if group.spot else [])]
    return ",".join(taint_words(found))


def _made(pool: Pool, group: Group, site: Site) -> Iterator[tuple[str, ...]]:
    assert pool.cloud is not None
    yield ("--mode", "User")
    yield ("--node-vm-size", machine_words(pool, group)[0])
    yield ("--node-count", str(group.fewest))
    yield ("--enable-cluster-autoscaler",)
    yield from _bounds(group)
    yield ("--node-osdisk-size", str(disk(site, pool) // GIB))
    if pool.cloud.zones:
        yield ("--zones", *(quoted(zone) for zone in pool.cloud.zones))
    yield _labels(pool, site)
    if _taints(pool, group):
        yield ("--node-taints", quoted(_taints(pool, group)))
    if group.spot:
        # -1: up to the price on demand, and never taken back because of the price.
        yield ("--priority", "Spot")
        yield ("--eviction-policy", "Delete")
        yield ("--spot-max-price", "-1")
    if has_accelerators(pool):
        yield from _accelerated(pool, site)
    if pool.capacity == "reserved" and pool.cloud.reservation is not None:
        yield ("--crg-id", quoted(pool.cloud.reservation))
    yield ("--output", "none")


def _accelerated(pool: Pool, site: Site) -> Iterator[tuple[str, ...]]:
    """The driver is the GPU Operator's, but for MIG that AKS itself cuts."""
    profile = cut_by_cloud(pool, site)
    if not profile:
        yield ("--gpu-driver", cloud_fact("azure", "driver.none"))
        return
    rows = mig_profiles(accelerator(pool.accelerator).name)
    slices = {row.name: row.compute_slices for row in rows}[profile]
    kind = known_cloud_fact("azure", f"mig.{slices}")
    if kind is None:
        raise InputError(
            f"AKS has no MIG profile of {slices} compute slices",
            where=f"pool {pool.name}",
            hint="write `strategy: mixed`; the GPU Operator then cuts them",
            code="nodes.mig",
        )
    yield ("--gpu-driver", cloud_fact("azure", "driver.cloud"))
    yield ("--gpu-instance-profile", kind)
