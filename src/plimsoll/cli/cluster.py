"""What commands that speak to a cluster share: how to reach it, and what it is asked about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from plimsoll.cli.cluster_options import Reach
from plimsoll.cli.cluster_plan import ClusterPlan, plan_for_cluster
from plimsoll.cli.files import LoadedFleet
from plimsoll.cli.rendering import site_with
from plimsoll.worlds.cluster.changes import Scope
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.doctor import cluster_info
from plimsoll.worlds.cluster.objects.render import Rendered, render
from plimsoll.worlds.cluster.objects.scaling import scale_target
from plimsoll.worlds.cluster.objects.site import Site, Workload
from plimsoll.worlds.cluster.reference import Key

Result = TypeVar("Result")


def with_cluster(reach: Reach, work: Callable[[Kube], Coroutine[Any, Any, Result]]) -> Result:
    """Do `work` with a connection, which is closed afterwards.

    Raises InputError where no cluster is known, and whatever the work raises.
    """

    async def connected() -> Result:
        kube = await Kube.connect(kubeconfig=reach.kubeconfig, context=reach.context)
        async with kube:
            return await work(kube)

    return asyncio.run(connected())


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a fleet should be in one cluster.

    site      what its objects are made from
    rendered  its objects
    planned   its plan
    scope     what an apply of them is about
    """

    site: Site
    rendered: Rendered
    planned: ClusterPlan
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What an apply may do beside its own things; see Scope.

    create_namespace  make the fleet's own namespace
    """

    create_namespace: bool = False
    adopt: bool = False
    force: bool = False
    prune_data: bool = False


async def wanted_in(
    kube: Kube,
    loaded: LoadedFleet,
    *,
    image: str,
    namespace: str | None,
    scaler: str = "",
    may: Permissions,
) -> Wanted:
    """Plan and render a fleet for the cluster that is there.

    Raises InputError and DoesNotFit as planning and rendering do, and what `Kube` raises.
    """
    info = await cluster_info(kube)
    planned = await asyncio.to_thread(plan_for_cluster, loaded)
    site = site_with(
        loaded, planned, info=info, namespace=namespace or kube.namespace, image=image,
        scaler=scaler,
    )  # fmt: skip
    rendered = render(site, own_namespace=may.create_namespace)
    scope = Scope(
        fleet=site.fleet.name,
        namespace=site.namespace,
        replicas=first_replicas(site),
        adopt=may.adopt,
        force=may.force,
        prune_data=may.prune_data,
    )
    return Wanted(site=site, rendered=rendered, planned=planned, scope=scope)


def first_replicas(site: Site) -> dict[Key, int]:
    """How many replicas a workload begins with whose scaler sets them afterwards."""
    return {_target(workload): _first(workload) for workload in site.workloads}


def _target(workload: Workload) -> Key:
    api_version, kind, name = scale_target(workload)
    return Key(api_version=api_version, kind=kind, namespace=workload.namespace, name=name)


def _first(workload: Workload) -> int:
    scaling = workload.model.scaling
    return max(scaling.min, min(scaling.max, workload.place.replicas))
