"""Everything that a cluster is asked before it is judged; what we may not see is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plimsoll.facts.cluster import kubernetes_groups
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.each import each
from plimsoll.worlds.cluster.errors import Forbidden, MissingApi, NotFound, ServerFault
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.reference import Resource, group_of

_WIDTH = 8
Listed = tuple[Manifest, ...] | None  # None: we may not list them

# What `plimsoll apply` makes, and does with it, in a namespace.
_RIGHTS = (
    ("v1", "ConfigMap"), ("v1", "Service"), ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"), ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"),
    ("policy/v1", "PodDisruptionBudget"), ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "Role"), ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"), ("keda.sh/v1alpha1", "ScaledObject"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
)  # fmt: skip
_VERBS = ("get", "list", "create", "patch", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One look at a cluster.

    version       of the API server: `1.34.2`
    namespace     about which quotas and rights were asked
    api_versions  that are served
    apis          `group/version/Kind` beside Kubernetes' own
    refused       what we may not do in the namespace: `create deployments.apps`
    """

    version: str
    namespace: str
    api_versions: frozenset[str]
    apis: tuple[str, ...]
    nodes: Listed = ()
    workloads: Listed = ()
    storage_classes: Listed = ()
    device_classes: Listed = ()
    resource_slices: Listed = ()
    cluster_policies: Listed = ()
    quotas: Listed = ()
    refused: Sequence[str] = field(default=())


async def survey(kube: Kube, namespace: str | None = None, *, rights: bool = True) -> Survey:
    """Ask a cluster everything; `namespace` None: the context's own. Raises what `Kube` raises."""
    space = namespace or kube.namespace
    versions = await kube.api_versions()
    installed = await _installed(kube, versions)
    wishes: Mapping[str, tuple[str, str, str | None]] = {
        "nodes": ("v1", "Node", None),
        "storage_classes": ("storage.k8s.io/v1", "StorageClass", None),
        "device_classes": ("resource.k8s.io/v1", "DeviceClass", None),
        "resource_slices": ("resource.k8s.io/v1", "ResourceSlice", None),
        "cluster_policies": ("nvidia.com/v1", "ClusterPolicy", None),
        "quotas": ("v1", "ResourceQuota", space),
        "daemon_sets": ("apps/v1", "DaemonSet", None),
        "deployments": ("apps/v1", "Deployment", None),
    }

    async def of(wish: tuple[str, str, str | None]) -> Listed:
        return await _list(kube, *wish)

    found = dict(zip(wishes, await each(wishes.values(), of, width=_WIDTH), strict=True))
    daemons, deployments = found.pop("daemon_sets"), found.pop("deployments")
    unseen = daemons is None or deployments is None
    return Survey(
        version=await kube.version(),
        namespace=space,
        api_versions=versions,
        apis=tuple(sorted(f"{one.api_version}/{one.kind}" for one in installed)),
        workloads=None if unseen else (*(daemons or ()), *(deployments or ())),
        refused=await _refused(kube, space, installed) if rights else (),
        **found,
    )


async def _installed(kube: Kube, versions: frozenset[str]) -> tuple[Resource, ...]:
    """Kinds that are not Kubernetes' own."""
    others = sorted(one for one in versions if group_of(one) not in kubernetes_groups())

    async def kinds(api_version: str) -> tuple[Resource, ...]:
        try:
            return await kube.resources(api_version)
        except (ServerFault, Forbidden):  # an aggregated API whose own server is away
            return ()

    return tuple(one for found in await each(others, kinds, width=_WIDTH) for one in found)


async def _list(kube: Kube, api_version: str, kind: str, namespace: str | None) -> Listed:
    try:
        return (await kube.list(api_version, kind, namespace=namespace)).items
    except (MissingApi, NotFound):
        return ()
    except Forbidden:
        return None


async def _refused(kube: Kube, namespace: str, installed: Sequence[Resource]) -> tuple[str, ...]:
    """Verbs on kinds that we may not use in the namespace."""
    there = {(one.api_version, one.kind) for one in installed}
    kinds = [
        (api_version, kind)
        for api_version, kind in _RIGHTS
        if group_of(api_version) in kubernetes_groups() or (api_version, kind) in there
    ]

    async def ask(wish: tuple[str, str, str]) -> str:
        verb, api_version, kind = wish
        if await kube.allowed(verb, api_version, kind, namespace):
            return ""
        return f"{verb} {(await kube.resource(api_version, kind)).full_name}"

    wishes = [(verb, *kind) for kind in kinds for verb in _VERBS]
    return tuple(answer for answer in await each(wishes, ask, width=_WIDTH) if answer)
