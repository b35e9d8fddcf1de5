"""GKE node pools by `gcloud`."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.errors import InputError
from plimsoll.facts.clouds import cloud_fact, known_cloud_fact
from plimsoll.facts.instances import Instance
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
    comma,
    command,
    comments,
    quoted,
    taint_words,
    variable_name,
)
from plimsoll.worlds.cluster.objects.device_plugin import shared_by_cloud
from plimsoll.worlds.cluster.objects.mig import cut_by_cloud, mig_config
from plimsoll.worlds.cluster.objects.node_labels import node_labels
from plimsoll.worlds.cluster.objects.pool_nodes import (
    cloud_word,
    cluster_of,
    disk,
    has_accelerators,
    spot_taints,
    taints,
    whole,
)
from plimsoll.worlds.cluster.objects.site import Site

_WHERE = ("--cluster", '"$cluster"'), ("--location", '"$location"'), ("--project", '"$project"')


def commands(pool: Pool, site: Site) -> str:
    """The commands that make the pool's node pools, or set what can be changed of them.

    Raises InputError for what GKE cannot have: see `machines`, `partition`.
    """
    assert pool.cloud is not None
    zones = ",".join(pool.cloud.zones) or None
    lines = [
        *assigned(
            "project",
            cloud_word(pool, site.fleet, "project"),
            "GCP_PROJECT",
            "the Google Cloud project",
        ),
        *assigned(
            "cluster", cluster_of(pool, site.fleet), "GKE_CLUSTER", "the name of the GKE cluster"
        ),
        *assigned(
            "location",
            cloud_word(pool, site.fleet, "region"),
            "GKE_LOCATION",
            "the region or zone of the GKE cluster",
        ),
        *assigned(
            "zones",
            zones,
            variable_name("zones", pool.name),
            f"the zones of pool {pool.name} with commas between; accelerators are not in every "
            "zone",
        ),
        "# The autoscaler keeps the bounds of the whole pool, the first nodes are made per zone.",
        'IFS=, read -ra each_zone <<<"$zones"',
    ]
    lines += machine_asked(pool)
    for group in groups(pool, "gcp"):
        lines += ["", *_group(pool, group, site)]
    return "\n".join(lines) + "\n"


def _group(pool: Pool, group: Group, site: Site) -> Iterator[str]:
    yield from comments(
        [described(pool, group), *_notes(pool, site), *cut_notes(mig_config(pool, site))]
    )
    yield f"name={quoted(group.name, always=True)}"
    yield "per_zone=$(((" + str(group.fewest) + " + ${#each_zone[@]} - 1) / ${#each_zone[@]}))"
    yield f"if ((per_zone * ${{#each_zone[@]}} > {group.most})); then per_zone=0; fi"
    listing: Words = ["gcloud container node-pools list", *_WHERE, ("--format", "'value(name)'")]
    yield from captured("existing", listing)
    yield 'if has "$name" "$existing"; then'
    yield '  echo "node pool $name is there: setting its bounds, labels and taints"'
    for words in _updates(pool, group, site):
        yield from command(
            ["gcloud container node-pools update", '"$name"', *_WHERE, words, ("--quiet",)],
            indent="  ",
        )
    yield "else"
    yield '  echo "making node pool $name"'
    yield from command(
        ["gcloud container node-pools create", '"$name"', *_WHERE, *_made(pool, group, site)],
        indent="  ",
    )
    yield "fi"


def _notes(pool: Pool, site: Site) -> Iterator[str]:
    if pool.sharing.mig is not None and not cut_by_cloud(pool, site):
        yield "GKE cuts all accelerators of a pool into one MIG profile; these are cut by NVIDIA's"
        yield "GPU Operator instead, which also installs the driver (NVIDIA/gpu-operator#1679 tells"
        yield "of trouble with its toolkit on GKE)."
    if pool.fabric == "gpudirectTcpx":
        yield "GPUDirect needs further networks of the cluster: --additional-node-network for each."


def _bounds(group: Group) -> tuple[str, ...]:
    return (
        "--enable-autoscaling",
        f"--total-min-nodes={group.fewest}",
        f"--total-max-nodes={group.most}",
    )


def _labels(pool: Pool, site: Site) -> tuple[str, ...]:
    found = node_labels(pool, site)
    if has_accelerators(pool) and not shared_by_cloud(pool, site):
        key, _, value = cloud_fact("gcp", "own.plugin.label").partition("=")
        found[key] = value
    return (f"--node-labels={quoted(comma(found))}",)


def _taints(pool: Pool, group: Group) -> tuple[str, ...]:
    found = [*taints(pool), *(spot_taints("gcp") if group.spot else [])]
    return (f"--node-taints={quoted(','.join(taint_words(found)))}",) if found else ()


def _updates(pool: Pool, group: Group, site: Site) -> list[tuple[str, ...]]:
    """One after the other: gcloud changes one kind of thing at a time."""
    taints_ = _taints(pool, group) or ("--node-taints=",)
    return [_bounds(group), _labels(pool, site), taints_]


def _made(pool: Pool, group: Group, site: Site) -> Iterator[tuple[str, ...]]:
    assert pool.cloud is not None
    if group.machines:
        yield (f"--machine-type={machine_words(pool, group)[0]}",)
        yield (f"--accelerator={quoted(_accelerator(pool, group.machines[0], site))}",)
        yield ("--enable-gvnic",)
        yield from _local_disk(group.machines[0])
        if not shared_by_cloud(pool, site):
            yield (f"--image-type={cloud_fact('gcp', 'own.plugin.image')}",)
    else:
        yield (f"--machine-type={machine_words(pool, group)[0]}",)
    yield ("--node-locations", '"$zones"')
    yield ("--num-nodes", '"$per_zone"')
    yield _bounds(group)
    policy = "ANY" if group.spot or pool.capacity == "reserved" else "BALANCED"
    yield (f"--location-policy={policy}",)
    yield (f"--disk-size={disk(site, pool) // GIB}",)
    yield _labels(pool, site)
    if _taints(pool, group):
        yield _taints(pool, group)
    # Spare accelerators for an upgrade are seldom to be had: nodes are replaced one by one.
    yield ("--max-surge-upgrade=0", "--max-unavailable-upgrade=1")
    if group.spot:
        yield ("--spot",)
    yield from _reserved(pool)
    yield ("--quiet",)


def _accelerator(pool: Pool, row: Instance, site: Site) -> str:
    kind = known_cloud_fact("gcp", f"accelerator.{row.accelerator}.{row.type}")
    kind = kind or known_cloud_fact("gcp", f"accelerator.{row.accelerator}")
    if kind is None:
        raise InputError(
            f"GKE's name of {row.accelerator} is not known",
            where=f"pool {pool.name}",
            hint="take another accelerator",
            code="nodes.accelerator",
        )
    words = [f"type={kind}", f"count={whole(row)}"]
    if not shared_by_cloud(pool, site):
        return ",".join([*words, "gpu-driver-version=disabled"])
    words.append("gpu-driver-version=default")
    profile = cut_by_cloud(pool, site)
    if profile:
        words.append(f"gpu-partition-size={profile}")
    turns = pool.sharing.time_slicing or pool.sharing.mps
    if turns is not None:
        way = "timeSlicing" if pool.sharing.time_slicing else "mps"
        words.append(f"gpu-sharing-strategy={cloud_fact('gcp', f'sharing.{way}')}")
        words.append(f"max-shared-clients-per-gpu={turns.replicas}")
    return ",".join(words)


def _local_disk(row: Instance) -> Iterator[tuple[str, ...]]:
    """Pods' scratch space and downloaded weights on the disks inside the machine."""
    count = row.local_disk // int(cloud_fact("gcp", "local.ssd"))
    if count:
        yield (f"--ephemeral-storage-local-ssd=count={count}",)


def _reserved(pool: Pool) -> Iterator[tuple[str, ...]]:
    assert pool.cloud is not None
    if pool.capacity != "reserved":
        return
    if pool.cloud.reservation is None:
        yield ("--reservation-affinity=any",)
    else:
        yield (
            "--reservation-affinity=specific",
            f"--reservation={quoted(pool.cloud.reservation)}",
        )
