"""From what a Fleet means, and its plan, to the sites that its objects are rendered from. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import msgspec

from plimsoll.engines.protocol import Engine
from plimsoll.fleet import Model, Provider, Tenant
from plimsoll.plan.types import Plan
from plimsoll.worlds.cluster.info import ClusterInfo
from plimsoll.worlds.cluster.objects.names import (
    COMPONENT,
    GATEWAY_COMPONENT,
    MODEL,
    POOL,
    TENANT,
    label_value,
)
from plimsoll.worlds.cluster.objects.promql import together
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.reading import FleetKey

Render = Callable[[Site], Sequence[Manifest]]
"""Every object of a site, in the order in which they are to be made."""

OWNER = "plimsoll.dev/owner"
"""Annotation of everything that an operator makes: `namespace/name` of its Fleet."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The plan of one Fleet.

    plan   a placement for every model
    notes  what was assumed
    """

    plan: Plan
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What sites have in common.

    engines  adapters by name
    image    Plimsoll's own image
    info     what the cluster offers
    scaler   `host:port` of Plimsoll's external scaler; empty: KEDA asks Prometheus
    """

    engines: Mapping[str, Engine]
    image: str
    info: ClusterInfo
    scaler: str = ""


@dataclass(frozen=True, kw_only=True)
class Wished:
    """The objects that one Fleet is to have.

    manifests  in the order in which they are to be made, each marked as the Fleet's
    workloads  its models
    servers    the workload whose pods serve a model, by the model's name: mostly its own
    """

    manifests: tuple[Manifest, ...]
    workloads: tuple[Workload, ...]
    servers: Mapping[str, Workload]


def wished(
    effective: Effective,
    planned: Planned,
    others: Sequence[tuple[Effective, Planned]],
    *,
    around: Surroundings,
    render: Render,
) -> Wished:
    """What a Fleet is to have: its models, and its gateway where it holds one.

    others  the other Fleets that its gateway serves, as far as they are planned

    Raises what `render` raises.
    """
    site = _site(effective, planned, around)
    manifests = [
        manifest
        for manifest in render(site)
        if not _is_gateway(manifest, site) and _is_own(manifest, effective)
    ]
    if effective.holds_gateway:
        door = _gateway_site(effective, planned, others, around)
        manifests += [
            manifest
            for manifest in render(door)
            if _is_gateway(manifest, door) and _is_own(manifest, effective)
        ]
    return Wished(
        manifests=tuple(_marked(manifest, effective.key) for manifest in manifests),
        workloads=site.workloads,
        servers={one.model.name: together(site, one)[0] for one in site.workloads},
    )


def _site(effective: Effective, planned: Planned, around: Surroundings) -> Site:
    fleet = effective.fleet
    assert fleet is not None
    own = effective.own.get("tenants", frozenset())
    tenants = tuple(tenant for tenant in fleet.tenants if tenant.name in own)
    holder = effective.gateway
    elsewhere = None if holder is None or holder == effective.key else holder
    return Site(
        fleet=msgspec.structs.replace(fleet, tenants=_open(tenants, fleet.models, fleet.providers)),
        plan=planned.plan,
        engines=around.engines,
        namespace=effective.key.namespace,
        image=around.image,
        info=around.info,
        operator=True,
        scaler=around.scaler,
        served_by=None if elsewhere is None else (elsewhere.namespace, elsewhere.name),
        offered=frozenset(pool.name for pool in fleet.pools)
        - effective.own.get("pools", frozenset()),
    )


def _gateway_site(
    effective: Effective,
    planned: Planned,
    others: Sequence[tuple[Effective, Planned]],
    around: Surroundings,
) -> Site:
    """The site with every model behind the gateway, each with the Fleet that makes its objects."""
    site = _site(effective, planned, around)
    fleet = site.fleet
    models, placements = list(fleet.models), list(planned.plan.placements)
    owners: dict[str, str] = {}
    taken = {model.name for model in models}
    for other, plan in others:
        assert other.fleet is not None
        for model in other.fleet.models:
            if model.name in taken:
                continue  # an older Fleet's, until this one's next look
            taken.add(model.name)
            owners[model.name] = other.key.name
            models.append(_placed(model, other.key))
        placements += [place for place in plan.plan.placements if place.model in owners]
    assert effective.fleet is not None
    whole = msgspec.structs.replace(
        fleet,
        models=tuple(models),
        tenants=_open(effective.fleet.tenants, models, fleet.providers),
    )
    by_model = {place.model: place for place in placements}
    plan_ = Plan(placements=tuple(by_model[m.name] for m in models if m.name in by_model))
    return replace(site, fleet=whole, plan=plan_, owners=MappingProxyType(owners))


def _placed(model: Model, key: FleetKey) -> Model:
    return (
        model
        if model.namespace is not None
        else msgspec.structs.replace(model, namespace=key.namespace)
    )


def _open(
    tenants: Iterable[Tenant], models: Iterable[Model], providers: Iterable[Provider]
) -> tuple[Tenant, ...]:
    """Tenants without what they may call that is not there.

    A key that may call only such things is left out: without any name it could call everything
    that its tenant may.
    """
    called = {"*"}
    for model in models:
        called |= {model.name, *model.aliases, *(adapter.name for adapter in model.adapters)}
        if model.tier is not None:
            called.add(model.tier)
    for provider in providers:
        called |= {f"{provider.name}/*", *(f"{provider.name}/{m.name}" for m in provider.models)}
    return tuple(
        msgspec.structs.replace(
            tenant,
            models=tuple(name for name in tenant.models if name in called),
            keys=tuple(
                msgspec.structs.replace(
                    key, models=tuple(name for name in key.models if name in called)
                )
                for key in tenant.keys
                if not key.models or any(name in called for name in key.models)
            ),
        )
        for tenant in tenants
    )


def _is_gateway(manifest: Manifest, site: Site) -> bool:
    """Whether an object belongs to a gateway: by its label, or by the gateway's name."""
    meta = manifest["metadata"]
    labels = meta.get("labels") or {}
    named = meta["name"] == site.gateway_name
    return labels.get(COMPONENT) == GATEWAY_COMPONENT or named


def _is_own(manifest: Manifest, effective: Effective) -> bool:
    """Whether an object is not made from another Fleet's pool or tenant."""
    labels = dict(manifest["metadata"].get("labels") or {})
    if manifest["kind"] == "NodePool":
        labels |= manifest["spec"]["template"]["metadata"].get("labels") or {}
    for label, section in ((POOL, "pools"), (TENANT, "tenants")):
        value = labels.get(label)
        own = {label_value(name) for name in effective.own.get(section, ())}
        if value is not None and MODEL not in labels and value not in own:
            return False
    return True


def _marked(manifest: Manifest, key: FleetKey) -> Manifest:
    meta = manifest["metadata"]
    annotations = {**(meta.get("annotations") or {}), OWNER: str(key)}
    return {**manifest, "metadata": {**meta, "annotations": dict(sorted(annotations.items()))}}
