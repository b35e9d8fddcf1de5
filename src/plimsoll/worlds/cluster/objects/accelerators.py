"""The accelerators of a replica as Kubernetes hands them out: resources, claims, node labels."""

from __future__ import annotations

from dataclasses import dataclass

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerator
from plimsoll.facts.kubernetes import device_resources, figure, kubernetes_features
from plimsoll.fleet import Pool
from plimsoll.plan.types import Accelerators
from plimsoll.units import MIB
from plimsoll.worlds.cluster.objects.mig import cut_by_cloud, mig_resource
from plimsoll.worlds.cluster.objects.names import object_name
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata

CLAIM = "accelerator"  # of a container, by which it names the pod's claim
_MIG_CLASS = "mig.nvidia.com"
_DRIVER = "gpu.nvidia.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """How one pod gets its accelerators.

    resources  extended resources of the engine's container, by name
    claim      name of the ResourceClaimTemplate; empty where there is none
    """

    resources: dict[str, str]
    claim: str = ""


def handout(site: Site, workload: Workload) -> Handout:
    """How one pod of the replica gets its accelerators.

    Raises InputError for claims that the cluster cannot serve.
    """
    devices = workload.place.devices
    if devices is None:
        return Handout(resources={})
    if devices.sharing == "dra":
        _able(site, workload)
        return Handout(resources={}, claim=claim_name(workload))
    return Handout(resources={resource_name(workload, devices, site): str(devices.per_node)})


def resource_name(workload: Workload, devices: Accelerators, site: Site) -> str:
    """The extended resource that is one of them: a whole one, a MIG slice, or a turn."""
    whole = device_resources()[accelerator(devices.name).vendor].resource
    pool = workload.pools[0] if workload.pools else None
    if devices.profile and not single_strategy(site, workload):
        return mig_resource(devices.profile)
    renamed = f"{whole}.shared"
    if devices.sharing in ("timeSlicing", "mps") and _offers(site, pool, renamed):
        return renamed
    return whole


def claim_name(workload: Workload) -> str:
    """Of the model's ResourceClaimTemplate."""
    return object_name(workload.name, "devices")


def claims(site: Site, workload: Workload) -> list[Manifest]:
    """The ResourceClaimTemplate of a model whose accelerators are claimed; else nothing."""
    if not handout(site, workload).claim:
        return []
    devices = workload.place.devices
    assert devices is not None
    exactly = {
        "deviceClassName": _device_class(workload, devices),
        "allocationMode": "ExactCount",
        "count": devices.per_node,
        "selectors": [{"cel": {"expression": _expression(devices)}}],
    }
    return [
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaimTemplate",
            "metadata": metadata(claim_name(workload), workload.namespace, workload.labels),
            "spec": {"spec": {"devices": {"requests": [{"name": CLAIM, "exactly": exactly}]}}},
        }
    ]


def fitting_pools(workload: Workload) -> tuple[Pool, ...]:
    """The model's pools that have what was planned for, in order of preference.

    A replica is made for one kind of accelerator: its flags, its memory and its weight format.
    """
    devices = workload.place.devices
    if devices is None:
        return workload.pools
    return tuple(pool for pool in workload.pools if _has(pool, devices))


def memory_label(devices: Accelerators, *, single: bool) -> tuple[str, int] | None:
    """The node label of the memory of one of them, and a value in MiB just below it.

    None where no label tells, as of makers other than NVIDIA. Feature discovery writes whole MiB;
    what `Gt` compares with must be an integer.
    """
    whole = accelerator(devices.name)
    if whole.vendor != "nvidia":
        return None
    margin = figure("label_margin")
    if devices.profile:
        least = int(devices.memory / MIB * margin)
        if single:
            return "nvidia.com/gpu.memory", least
        return f"{mig_resource(devices.profile)}.memory", least
    shown = whole.memory_label or whole.usable // MIB
    if devices.sharing == "mps":
        # Some versions of feature discovery show each client's part.
        shown = int(shown * devices.portion)
    return "nvidia.com/gpu.memory", int(shown * margin)


def products(devices: Accelerators, *, single: bool) -> tuple[str, tuple[str, ...]] | None:
    """The node label of the product, and every value of it that these accelerators may show.

    None where it is not known. Shared ones show a suffix unless their resource is renamed, MIG
    instances show their profile.
    """
    whole = accelerator(devices.name)
    if not whole.product_label:
        return None
    if devices.profile:
        kind = device_resources()["nvidia"].resource if single else mig_resource(devices.profile)
        shown = mig_resource(devices.profile).partition("mig-")[2]
        return f"{kind}.product", (f"{whole.product_label}-MIG-{shown}",)
    shared = (f"{whole.product_label}-SHARED",) if devices.sharing != "none" else ()
    return "nvidia.com/gpu.product", (whole.product_label, *shared)


def taint_keys(workload: Workload) -> tuple[str, ...]:
    """Keys of the taints that keep others off nodes with these accelerators."""
    devices = workload.place.devices
    if devices is None:
        guarded = any(pool.accelerator != "none" for pool in workload.pools)
        return (device_resources()["nvidia"].resource,) if guarded else ()
    # Nodes of every GPU pool carry the taint that all clouds agree on, whoever made the GPU.
    vendor = device_resources()[accelerator(devices.name).vendor].resource
    return tuple(dict.fromkeys((device_resources()["nvidia"].resource, vendor)))


def single_strategy(site: Site, workload: Workload) -> bool:
    """Whether the nodes offer their MIG instances as if they were whole accelerators.

    So it is with strategy `single`, and where the cloud itself cuts them (GKE, AKS).
    """
    pool = workload.pools[0] if workload.pools else None
    if pool is None or pool.sharing.mig is None:
        return False
    return pool.sharing.mig.strategy == "single" or bool(cut_by_cloud(pool, site))


def _offers(site: Site, pool: Pool | None, resource: str) -> bool:
    """Whether the cluster's nodes show a resource under that name."""
    return any(
        resource in nodes.resources
        for nodes in site.info.gpus
        if pool is None or nodes.pool in ("", pool.name)
    )


def _has(pool: Pool, devices: Accelerators) -> bool:
    if pool.accelerator == "none" or accelerator(pool.accelerator).name != devices.name:
        return False
    if pool.per_node is not None and not devices.profile and devices.per_node > pool.per_node:
        return False
    ways = {
        "mig": pool.sharing.mig,
        "timeSlicing": pool.sharing.time_slicing,
        "mps": pool.sharing.mps,
        "dra": pool.sharing.dra,
    }
    return devices.sharing == "none" or ways[devices.sharing] is not None


def _able(site: Site, workload: Workload) -> None:
    """Raises InputError where claims cannot be served, saying what is missing."""
    devices = workload.place.devices
    assert devices is not None
    wanted = _device_class(workload, devices)
    karpenter = [pool.name for pool in workload.pools if pool.provisioner == "karpenter"]
    if karpenter:
        raise _refused(
            workload,
            f"Karpenter adds no nodes for claims, and it provisions pool `{karpenter[0]}`",
            "use `sharing: none`, `mig` or `timeSlicing` there, or another provisioner",
        )
    least = kubernetes_features()["dynamicResources"].minor
    if site.info.minor < least:
        raise _refused(
            workload,
            f"Kubernetes {site.info.kubernetes} has no resource.k8s.io/v1",
            f"use 1.{least} or later, or another way of sharing",
        )
    if wanted not in site.info.device_classes:
        source = "is not known to have" if site.info.assumed else "does not have"
        raise _refused(
            workload,
            f"the cluster {source} the DeviceClass `{wanted}`",
            "turn on the GPU plugin of NVIDIA's DRA driver, which is off by default, and give "
            "what `plimsoll doctor --json` says to `--cluster-info`",
        )


def _refused(workload: Workload, message: str, hint: str) -> InputError:
    return InputError(
        f"`sharing: dra` cannot be rendered: {message}",
        where=f"model {workload.model.name}",
        hint=hint,
        code="cluster.dra",
    )


def _device_class(workload: Workload, devices: Accelerators) -> str:
    named = [pool.sharing.dra.device_class for pool in workload.pools if pool.sharing.dra]
    if devices.profile:
        return _MIG_CLASS
    return named[0] if named else _DRIVER


def _expression(devices: Accelerators) -> str:
    """What one device must be, in CEL: its profile, or its memory."""
    if devices.profile:
        return f"device.attributes['{_DRIVER}'].profile == '{devices.profile}'"
    least = int(devices.memory / MIB * figure("label_margin"))
    memory = f"device.capacity['{_DRIVER}'].memory"
    return f"{memory}.compareTo(quantity('{least}Mi')) >= 0"
