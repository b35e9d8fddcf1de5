"""Placements that a test makes up, and the objects that come of them: no planning."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from plimsoll.fleet import Document, load_fleet
from plimsoll.plan.types import Accelerators, ColdStart, Ledger, Placement, Term
from plimsoll.units import GIB
from plimsoll.worlds.cluster.info import ASSUMED
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload
from plimsoll.worlds.cluster.objects.workloads import shared_objects, workload_objects
from tests.worlds.cluster.pools import site_of_pools
from tests.worlds.cluster.schemas import problems
from tests.worlds.cluster.sites import fleet_text

H100: dict[str, Any] = {"name": "h100", "accelerator": "H100-80GB-SXM", "perNode": 8}
GGUF = "hf://Qwen/Qwen2.5-3B-Instruct-GGUF/qwen2.5-3b-instruct-q4_k_m.gguf"
REPOSITORY = "hf://acme/llama"
EVERY_DEVICE_CLASS = msgspec.structs.replace(
    ASSUMED, device_classes=("gpu.nvidia.com", "mig.nvidia.com")
)


def devices(name: str = "H100-80GB-SXM", **words: Any) -> Accelerators:
    """One whole accelerator."""
    given: dict[str, Any] = {"per_node": 1, "memory": 79 * GIB}
    return Accelerators(name=name, **{**given, **words})


def model(name: str = "m", **words: Any) -> dict[str, Any]:
    """A model of a fleet file, on vLLM and an H100 where nothing else is said."""
    given: dict[str, Any] = {"name": name, "source": REPOSITORY, "engine": "vllm"}
    return {**given, **words}


def made(
    *models: dict[str, Any],
    pools: tuple[dict[str, Any], ...] = (H100,),
    place: dict[str, Any] | None = None,
    gateway: dict[str, Any] | None = None,
    tenants: tuple[dict[str, Any], ...] = (),
    **words: Any,
) -> Site:
    """A site of these models, each placed on the first pool that it names, or that there is.

    place  fields of every Placement that are not as below
    words  fields of the Site
    """
    listed = list(models or (model(),))
    spec = {"models": listed, "pools": list(pools), "gateway": gateway or {}}
    if tenants:
        spec["tenants"] = list(tenants)
    spec = {name: value for name, value in spec.items() if value}
    text = yaml.safe_dump(spec)
    fleet = load_fleet([Document(file="test.yaml", text=fleet_text(text))])
    placements = []
    for one in fleet.models:
        first = next(iter([*one.placement.pools, *(pool.name for pool in fleet.pools)]), "")
        given: dict[str, Any] = {
            "model": one.name,
            "engine": one.engine,
            "source": str(one.source),
            "task": one.task,
            "context": 4096,
            "parallel": 8,
            "threads": 0,
            "batch": 2048,
            "kv_type": "f16" if one.engine == "llamacpp" else "bf16",
            "ledger": Ledger(terms=(Term(name="weights", bytes=4 * GIB),)),
            "devices": devices(),
            "weight_bytes": 16 * GIB,
            "pool": first,
            "adapters": tuple(adapter.name for adapter in one.adapters),
            "cold_start": ColdStart(weights=10.0, engine=70.0, source="test"),
            "options": one.engine_options,
        }
        if one.engine == "llamacpp":
            given |= {"devices": None, "threads": 4, "kv_type": "f16"}
        placements.append(Placement(**{**given, **(place or {})}))
    return site_of_pools(text, *placements, **words)


def objects(site: Site) -> list[Manifest]:
    """Every object of every model and those that they share; strictly valid."""
    found = [
        *(each for workload in site.workloads for each in workload_objects(site, workload)),
        *shared_objects(site),
    ]
    wrong = [
        problem
        for manifest in found
        for problem in problems(manifest, kubernetes=f"1.{site.info.minor}")
    ]
    assert not wrong, "\n".join(wrong)
    return found


def one(site: Site, kind: str) -> Manifest:
    """The only object of a kind."""
    (found,) = [manifest for manifest in objects(site) if manifest["kind"] == kind]
    return found


def first(site: Site) -> Workload:
    """The first model's workload."""
    return site.workloads[0]


def pod_of(manifest: Manifest) -> dict[str, Any]:
    """The pod's spec of what runs replicas; the leader's of a LeaderWorkerSet."""
    spec = manifest["spec"]
    if manifest["kind"] == "LeaderWorkerSet":
        return dict(spec["leaderWorkerTemplate"]["leaderTemplate"]["spec"])
    return dict(spec["template"]["spec"])


def engine_of(manifest: Manifest) -> dict[str, Any]:
    """The engine's container."""
    (found,) = [one for one in pod_of(manifest)["containers"] if one["name"] == "engine"]
    return dict(found)


def notes_of(manifest: Manifest) -> dict[str, str]:
    """The annotations of the pod."""
    return dict(manifest["spec"]["template"]["metadata"]["annotations"])
