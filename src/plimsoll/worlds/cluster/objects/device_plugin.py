"""How NVIDIA's device plugin offers a pool's accelerators: time-slicing, MPS, MIG strategy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import yaml

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerator
from plimsoll.facts.clouds import cloud_fact
from plimsoll.fleet import Pool
from plimsoll.worlds.cluster.objects.mig import (
    OPERATOR_NAMESPACE,
    cut_by_cloud,
    mig_resource,
    partition,
)
from plimsoll.worlds.cluster.objects.names import object_name
from plimsoll.worlds.cluster.objects.pool_nodes import has_accelerators
from plimsoll.worlds.cluster.objects.site import Manifest, Site, metadata

PLUGIN_LABEL = cloud_fact("nvidia", "plugin.label")
DEFAULT = "default"


def shared_by_cloud(pool: Pool, site: Site) -> bool:
    """Whether the cloud's own device plugin runs on the pool's nodes: GKE's.

    GKE's plugin shares and cuts accelerators as the pool says when it is made, except into several
    MIG profiles; for those NVIDIA's takes its place.
    """
    if pool.cloud is None or pool.cloud.provider != "gcp" or not has_accelerators(pool):
        return False
    return pool.sharing.mig is None or bool(cut_by_cloud(pool, site))


def plugin_settings(pool: Pool, site: Site) -> dict[str, Any] | None:
    """What the device plugin is told for the pool's nodes; None where its default will do.

    Raises InputError for MPS with MIG or with an accelerator that has no MPS.
    """
    sharing = pool.sharing
    if not has_accelerators(pool) or shared_by_cloud(pool, site):
        return None
    if sharing.mps is not None:
        _check_mps(pool)
    if sharing.mig is None and sharing.time_slicing is None and sharing.mps is None:
        return None
    strategy = sharing.mig.strategy if sharing.mig else "none"
    found: dict[str, Any] = {"version": "v1", "flags": {"migStrategy": strategy}}
    turns = sharing.time_slicing or sharing.mps
    if turns is not None:
        found["sharing"] = {
            "timeSlicing" if sharing.time_slicing else "mps": {
                "renameByDefault": False,
                "failRequestsGreaterThanOne": turns.fail_requests_above_one,
                "resources": [
                    {"name": name, "replicas": turns.replicas} for name in _offered(pool, site)
                ],
            }
        }
    return found


def _check_mps(pool: Pool) -> None:
    known = accelerator(pool.accelerator)
    reason = ""
    if pool.sharing.mig is not None:
        reason = "MPS does not work on MIG instances"
    elif not known.mps:
        reason = f"{known.name} has no MPS"
    if reason:
        raise InputError(
            reason,
            where=f"pool {pool.name}",
            hint="take `timeSlicing`, or remove one of the two",
            code="nodes.mps",
        )


def _offered(pool: Pool, site: Site) -> list[str]:
    """Names of the resources that are shared."""
    made = partition(pool, site)
    if made is None or pool.sharing.mig is None or pool.sharing.mig.strategy == "single":
        return ["nvidia.com/gpu"]
    names = [mig_resource(profile) for profile in made.resources]
    whole = any(not cut.instances for cut in made.cuts)
    return [*(["nvidia.com/gpu"] if whole else []), *names]


def plugin_config(pool: Pool, site: Site) -> str | None:
    """Name of the configuration, which is also the value of the nodes' label; None: the default."""
    settings = plugin_settings(pool, site)
    if settings is None:
        return None
    digest = hashlib.sha256(_text(settings).encode()).hexdigest()[:8]
    return object_name("plimsoll", pool.name, digest, longest=63)


def plugin_config_map(site: Site) -> str:
    """Name of the ConfigMap; empty where no pool needs one."""
    if any(plugin_settings(pool, site) for pool in site.own_pools):
        return object_name(site.fleet.name, "device-plugin")
    return ""


def device_plugin_objects(site: Site) -> Iterator[Manifest]:
    """The ConfigMap of every pool's settings, in the namespace of the GPU Operator, which reads it.

    A node takes the entry that its label names. Time-slicing walls off neither memory nor faults;
    MPS gives each pod an equal part of the memory and no wall against faults.

    Raises as `plugin_settings`.
    """
    name = plugin_config_map(site)
    if not name:
        return
    data = {DEFAULT: _text({"version": "v1", "flags": {"migStrategy": "none"}})}
    for pool in site.own_pools:
        key, settings = plugin_config(pool, site), plugin_settings(pool, site)
        if key is not None and settings is not None:
            data[key] = _text(settings)
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, OPERATOR_NAMESPACE, site.labels),
        "data": data,
    }


def _text(settings: dict[str, Any]) -> str:
    return yaml.safe_dump(settings, sort_keys=False)
