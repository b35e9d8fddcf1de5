"""What NVIDIA's GPU Operator must be told for the fleet's pools, and what it lacks in a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from plimsoll.facts.accelerators import accelerator
from plimsoll.facts.clouds import cloud_fact
from plimsoll.facts.kubernetes import spots
from plimsoll.fleet import Pool
from plimsoll.worlds.cluster.info import CLUSTER_POLICY, SERVICE_MONITOR, ClusterInfo
from plimsoll.worlds.cluster.objects.device_plugin import (
    DEFAULT,
    plugin_config_map,
    shared_by_cloud,
)
from plimsoll.worlds.cluster.objects.mig import OPERATOR_NAMESPACE, mig_config, mig_manager_config
from plimsoll.worlds.cluster.objects.pool_nodes import has_accelerators, taints
from plimsoll.worlds.cluster.objects.site import Site
from plimsoll.worlds.cluster.objects.spot import may_be_spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is missing on a cluster.

    what   is missing
    costs  what does not work without it
    hint   what to try
    """

    what: str
    costs: str
    hint: str


def operated_pools(site: Site) -> tuple[Pool, ...]:
    """Pools whose accelerators the GPU Operator sets up: NVIDIA's, where GKE does not do it."""
    return tuple(
        pool
        for pool in site.own_pools
        if has_accelerators(pool)
        and accelerator(pool.accelerator).vendor == "nvidia"
        and not shared_by_cloud(pool, site)
    )


def gpu_operator_values(site: Site) -> str | None:
    """Values for the GPU Operator's Helm chart; None where no pool needs the operator.

    Raises as `partition` and `plugin_settings`.
    """
    pools = operated_pools(site)
    if not pools:
        return None
    text: str = yaml.safe_dump(_values(site, pools), sort_keys=False, default_flow_style=False)
    names = ", ".join(pool.name for pool in pools)
    lines = [
        f"# Values of NVIDIA's GPU Operator {_version()} for the pools {names}.",
        "#   helm upgrade --install gpu-operator gpu-operator \\",
        f"#     --repo {cloud_fact('nvidia', 'gpu-operator.chart')} --version {_version()} \\",
        f"#     --namespace {OPERATOR_NAMESPACE} --create-namespace --values THIS_FILE",
    ]
    if mig_manager_config(site) or plugin_config_map(site):
        lines.append("# The ConfigMaps that it names must be there first: apply them before.")
    return "\n".join(lines) + "\n" + text


def _version() -> str:
    return cloud_fact("nvidia", "gpu-operator.version")


def _values(site: Site, pools: tuple[Pool, ...]) -> dict[str, Any]:
    clouds = {pool.cloud.provider if pool.cloud else "" for pool in pools}
    found: dict[str, Any] = {"daemonsets": {"tolerations": _tolerations(pools)}}
    if clouds == {"aws"}:
        # These nodes' image carries driver and toolkit.
        found["driver"] = {"enabled": False}
        found["toolkit"] = {"enabled": False}
    strategies = {pool.sharing.mig.strategy for pool in pools if pool.sharing.mig is not None}
    found["mig"] = {"strategy": "single" if strategies == {"single"} else "mixed"}
    cut = mig_manager_config(site)
    if cut:
        manager: dict[str, Any] = {
            "config": {"name": cut, "default": cloud_fact("nvidia", "mig.default")}
        }
        if any(_restarts(pool, site) for pool in pools):
            manager["env"] = [{"name": "WITH_REBOOT", "value": "true"}]
        found["migManager"] = manager
    shared = plugin_config_map(site)
    if shared:
        found["devicePlugin"] = {"config": {"name": shared, "default": DEFAULT}}
    found["dcgmExporter"] = {"serviceMonitor": _monitor(site)}
    return found


def _restarts(pool: Pool, site: Site) -> bool:
    """Whether a node must restart to switch MIG on, as virtual machines of clouds do."""
    return pool.cloud is not None and mig_config(pool, site) is not None


def _monitor(site: Site) -> dict[str, Any]:
    if not site.info.has(SERVICE_MONITOR):
        return {"enabled": False}
    labels = dict(sorted(site.fleet.gateway.monitoring.labels.items()))
    return {"enabled": True, **({"additionalLabels": labels} if labels else {})}


def _tolerations(pools: tuple[Pool, ...]) -> list[dict[str, str]]:
    """Of every taint of the pools; those of the operator's own default among them."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for taint in (one for pool in pools for one in (*taints(pool), *_spot(pool))):
        key, effect = taint["key"], taint["effect"]
        found[key, effect] = {"key": key, "operator": "Exists", "effect": effect}
    return [found[name] for name in sorted(found)]


def _spot(pool: Pool) -> Iterator[dict[str, str]]:
    if pool.cloud is not None and may_be_spot(pool):
        spot = spots()[pool.cloud.provider]
        if spot.taint:
            yield {"key": spot.taint, "effect": "NoSchedule"}


def gpu_operator_findings(info: ClusterInfo) -> tuple[Finding, ...]:
    """What a cluster lacks that the GPU Operator, or parts of it, would give."""
    found = []
    if not info.has(CLUSTER_POLICY):
        found.append(
            Finding(
                what="the NVIDIA GPU Operator (ClusterPolicy)",
                costs="no MIG, no time-slicing or MPS, no feature labels on nodes, no DCGM metrics",
                hint=f"install its chart {_version()} from "
                f"{cloud_fact('nvidia', 'gpu-operator.chart')}",
            )
        )
    unlabelled = [group for group in info.gpus if group.resources and not group.product]
    if unlabelled:
        nodes = sum(group.nodes for group in unlabelled)
        found.append(
            Finding(
                what=f"labels of GPU feature discovery on {nodes} nodes with accelerators",
                costs="pods cannot ask for an accelerator by its memory or its product",
                hint="switch `gfd.enabled` on in the GPU Operator, or label the nodes' pool",
            )
        )
    idle = [group for group in info.gpus if group.product and not any(group.resources.values())]
    if idle:
        nodes = sum(group.nodes for group in idle)
        found.append(
            Finding(
                what=f"a device plugin on {nodes} nodes with accelerators",
                costs="their accelerators cannot be asked for",
                hint="look at the pods of `nvidia-device-plugin-daemonset` and their tolerations",
            )
        )
    return tuple(found)
