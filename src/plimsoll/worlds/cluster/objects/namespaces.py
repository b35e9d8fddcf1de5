"""Namespaces of tenants and models, with what bounds them: Pod Security, GPU quota, defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from plimsoll.errors import DoesNotFit, InputError
from plimsoll.facts.kubernetes import device_resources, figure
from plimsoll.units import MIB
from plimsoll.worlds.cluster.objects.accelerators import claims, handout
from plimsoll.worlds.cluster.objects.names import TENANT, label_value, object_name
from plimsoll.worlds.cluster.objects.security import pod_security_level
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata
from plimsoll.worlds.cluster.objects.storage import most_replicas

RESERVED = "kube-"  # Kubernetes keeps namespaces with this prefix for itself
_LEVEL = "pod-security.kubernetes.io"
_CLAIMED = ".deviceclass.resource.k8s.io/devices"  # quota of claimed devices of one class


def namespace_objects(site: Site, *, own: bool = False) -> Iterator[Manifest]:
    """The namespaces that the fleet needs, and in those of tenants a quota and defaults.

    own  also the fleet's own namespace, for a cluster in which nobody has made it; otherwise it is
         whoever's the Fleet object is in, and only limits are put there

    `default` is never made: it is always there. Raises InputError for a namespace of Kubernetes'
    own, DoesNotFit where a tenant's models need more accelerators than it may hold.
    """
    for name in site.namespaces:
        if name.startswith(RESERVED):
            raise InputError(
                f"namespace `{name}` is Kubernetes' own",
                where=_who(site, name),
                hint=f"choose one that does not begin with `{RESERVED}`",
                code="cluster.namespace",
            )
        if name != "default" and (own or name != site.namespace):
            yield _namespace(site, name)
        if site.tenants_of(name) and name not in (site.namespace, "default"):
            yield _defaults(site, name)
    yield from _quotas(site)


def _who(site: Site, namespace: str) -> str:
    for workload in site.workloads:
        if workload.namespace == namespace:
            return f"model {workload.model.name}"
    return next((f"tenant {tenant.name}" for tenant in site.tenants_of(namespace)), site.fleet.name)


def _namespace(site: Site, name: str) -> Manifest:
    level = pod_security_level(site, name)
    labels = {**site.labels, f"{_LEVEL}/enforce": level}
    # What a stricter level would say is told to whoever applies, and changes nothing.
    labels |= {f"{_LEVEL}/{mode}": "restricted" for mode in ("warn", "audit")}
    tenants = site.tenants_of(name)
    if len(tenants) == 1:
        labels[TENANT] = label_value(tenants[0].name)
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(name, None, labels)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """What one model takes of one resource.

    namespace  in which it runs
    resource   as a quota names it
    portion    part of an accelerator that one of them is
    least      of them, by its fewest replicas
    most       of them, by its most replicas
    """

    namespace: str
    resource: str
    portion: float
    least: int
    most: int


def _quotas(site: Site) -> Iterator[Manifest]:
    """A quota on every name under which an accelerator can be asked for.

    A quota bounds each name by itself, so the tenant's accelerators are divided among the names
    that its models use: first what their fewest replicas need, the rest by what their most could
    take. Other names get nothing: a pod with them would escape the bound.

    Raises DoesNotFit.
    """
    allowed = {name: _allowed(site, name) for name in site.namespaces}
    if all(limit is None for limit in allowed.values()):
        return
    uses = [use for workload in site.workloads for use in _uses(site, workload)]
    nothing = dict.fromkeys([*_known(site), *(use.resource for use in uses)], 0)
    for name, limit in allowed.items():
        if limit is not None:
            here = [use for use in uses if use.namespace == name]
            hard = nothing | _shares(site, name, here, limit)
            yield {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": metadata(
                    object_name(site.fleet.name, "accelerators"), name, site.labels
                ),
                "spec": {"hard": {word: str(count) for word, count in sorted(hard.items())}},
            }


def spare_accelerators(site: Site, workload: Workload) -> int | None:
    """How many of what a model's replicas ask for its namespace may hold beyond what its models
    take at their most; None where no quota bounds them.

    Raises DoesNotFit as `namespace_objects` does.
    """
    limit = _allowed(site, workload.namespace)
    if limit is None or workload.place.devices is None:
        return None
    inside = [one for one in site.workloads if one.namespace == workload.namespace]
    uses = [use for one in inside for use in _uses(site, one)]
    name = _quota_name(site, workload)
    taken = sum(use.most for use in uses if use.resource == name)
    return _shares(site, workload.namespace, uses, limit).get(name, 0) - taken


def _allowed(site: Site, namespace: str) -> int | None:
    """Accelerators that the tenants of a namespace may hold; None where one has no limit."""
    limits = [tenant.limits.gpus for tenant in site.tenants_of(namespace)]
    known = [limit for limit in limits if limit is not None]
    return sum(known) if limits and len(known) == len(limits) else None


def _shares(site: Site, namespace: str, uses: list[_Use], allowed: int) -> dict[str, int]:
    if not uses:
        first = next(iter(device_resources().values()))
        return {f"requests.{first.resource}": allowed}
    least = sum(use.least * use.portion for use in uses)
    if least > allowed:
        raise DoesNotFit(
            f"its models need {least:g} accelerators at their fewest replicas, it may hold "
            f"{allowed}",
            where=", ".join(f"tenant {tenant.name}" for tenant in site.tenants_of(namespace)),
            hint="raise `limits.gpus`, or lower `scaling.min` of its models",
            code="cluster.quota",
        )
    spare, extra = allowed - least, sum((use.most - use.least) * use.portion for use in uses)
    shares: dict[str, float] = {}
    for use in uses:
        # Without room to grow, what is over goes to all alike.
        part = (use.most - use.least) * use.portion / extra if extra else 1 / len(uses)
        count = use.least + spare * part / use.portion
        shares[use.resource] = shares.get(use.resource, 0.0) + count
    return {name: int(count + 1e-9) for name, count in shares.items()}


def _uses(site: Site, workload: Workload) -> Iterator[_Use]:
    """What a model takes, where it takes accelerators."""
    devices = workload.place.devices
    if devices is None:
        return
    each = devices.per_node * devices.nodes
    scaling = workload.model.scaling
    yield _Use(
        namespace=workload.namespace,
        resource=_quota_name(site, workload),
        portion=devices.portion,
        least=each * scaling.min,
        most=each * max(most_replicas(workload), scaling.min),
    )


def _quota_name(site: Site, workload: Workload) -> str:
    """What a quota calls the model's accelerators: a resource, or devices of a claimed class."""
    given = handout(site, workload).resources
    if given:
        return f"requests.{next(iter(given))}"
    requests = claims(site, workload)[0]["spec"]["spec"]["devices"]["requests"]
    return f"{requests[0]['exactly']['deviceClassName']}{_CLAIMED}"


def _known(site: Site) -> Iterator[str]:
    """Names under which accelerators can be asked for, whether or not a model does.

    Pools of other Fleets count too: a tenant's pods may land on their nodes.
    """
    for row in device_resources().values():
        yield f"requests.{row.resource}"
    for nodes in site.info.gpus:
        yield from (f"requests.{resource}" for resource in sorted(nodes.resources))
    for name in site.info.device_classes:
        yield f"{name}{_CLAIMED}"
    for pool in site.fleet.pools:
        for part in pool.sharing.mig.layout if pool.sharing.mig else ():
            yield f"requests.nvidia.com/mig-{part.profile.replace('+', '.')}"


def _defaults(site: Site, namespace: str) -> Manifest:
    """What a container gets that says nothing, so that none is without bounds.

    Ours always say. One that asks for more memory than the default limit must say its own limit
    too, or the API server refuses it. The quota counts accelerators only, so it asks no container
    to say anything.
    """
    request = f"{int(figure('container_memory_request') / MIB)}Mi"
    limit = f"{int(figure('container_memory_limit') / MIB)}Mi"
    bounds = {
        "type": "Container",
        "defaultRequest": {"cpu": f"{figure('container_cores') * 1000:g}m", "memory": request},
        "default": {"memory": limit},
    }
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": metadata(object_name(site.fleet.name, "containers"), namespace, site.labels),
        "spec": {"limits": [bounds]},
    }
