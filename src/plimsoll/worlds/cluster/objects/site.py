"""What every object is made from: the fleet, its plan, what the cluster offers. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from plimsoll.engines.protocol import Engine
from plimsoll.errors import InputError
from plimsoll.fleet import Fleet, Model, Pool, Tenant
from plimsoll.plan.types import Placement, Plan
from plimsoll.worlds.cluster.info import ASSUMED, KEDA, ClusterInfo
from plimsoll.worlds.cluster.objects.names import (
    COMPONENT,
    ENGINE_COMPONENT,
    FLEET,
    MODEL,
    label_value,
    object_name,
)

Manifest = dict[str, Any]  # one Kubernetes object as plain data
MANAGER = "plimsoll"  # our field manager, and the value of `app.kubernetes.io/managed-by`
ENGINE_PORT = 8000
Driver = Literal["none", "operator", "keda", "hpa"]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One model on its way to objects.

    model      as wished
    place      as planned
    engine     its adapter
    fleet      name of the fleet
    name       of its Deployment (or LeaderWorkerSet, ...) and its Service
    namespace  in which its replicas run
    pools      pools that its replicas may run on, the planned one first; empty: any node
    driver     who sets the number of replicas
    """

    model: Model
    place: Placement
    engine: Engine
    fleet: str
    name: str
    namespace: str
    pools: tuple[Pool, ...]
    driver: Driver

    @property
    def port(self) -> int:
        """TCP port on which a replica listens."""
        custom = self.place.engine == "custom"
        return self.place.options.port if custom else ENGINE_PORT

    @cached_property
    def selector(self) -> Mapping[str, str]:
        """Labels that only this model's replicas have; they never change."""
        return {
            COMPONENT: ENGINE_COMPONENT,
            FLEET: label_value(self.fleet),
            MODEL: label_value(self.model.name),
        }

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Labels of everything that is made for the model."""
        return {
            **self.model.labels,
            "app.kubernetes.io/name": label_value(self.place.engine),
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/managed-by": MANAGER,
            "app.kubernetes.io/part-of": label_value(self.fleet),
            **self.selector,
        }


@dataclass(frozen=True, kw_only=True)
class Site:
    """A fleet that is to be rendered.

    fleet      as wished
    plan       a placement for every model
    engines    adapters by name
    namespace  the fleet's own
    image      Plimsoll's own image: gateway, downloads, the embedded engine
    info       what the cluster offers
    operator   whether Plimsoll's operator keeps this fleet, so that it may set replicas
    scaler     `host:port` of Plimsoll's external scaler; empty: KEDA asks Prometheus
    scaler_secret  Secret with `ca.crt`, `tls.crt` and `tls.key` for the scaler, in the namespaces
               of the models; empty: the scaler speaks in the open
    owners     the Fleet that makes a model's objects, by model, where it is not this one: its
               models are behind this fleet's gateway
    served_by  namespace and name of the Fleet whose gateway serves this one; None: its own does
    offered    names of pools that other Fleets define: what is made for a pool is made there
    """

    fleet: Fleet
    plan: Plan
    engines: Mapping[str, Engine]
    namespace: str
    image: str
    info: ClusterInfo = field(default=ASSUMED)
    operator: bool = False
    scaler: str = ""
    scaler_secret: str = ""
    owners: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    served_by: tuple[str, str] | None = None
    offered: frozenset[str] = frozenset()

    @cached_property
    def workloads(self) -> tuple[Workload, ...]:
        """One per placement, in the fleet's order. Raises InputError for an unknown engine."""
        models = {model.name: model for model in self.fleet.models}
        return tuple(self._workload(models[place.model], place) for place in self.plan.placements)

    @cached_property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace that the fleet uses, its own first."""
        others = {
            *(workload.namespace for workload in self.workloads),
            *(tenant.namespace for tenant in self.fleet.tenants if tenant.namespace),
        }
        return (self.namespace, *sorted(others - {self.namespace}))

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Labels of everything that belongs to the fleet as a whole."""
        return {
            "app.kubernetes.io/managed-by": MANAGER,
            "app.kubernetes.io/part-of": label_value(self.fleet.name),
            FLEET: label_value(self.fleet.name),
        }

    @property
    def gateway_name(self) -> str:
        """Of the gateway's Deployment and Service."""
        return object_name(self.fleet.name, "gateway")

    def tenants_of(self, namespace: str) -> tuple[Tenant, ...]:
        """The tenants whose own namespace that is."""
        return tuple(tenant for tenant in self.fleet.tenants if tenant.namespace == namespace)

    @property
    def own_pools(self) -> tuple[Pool, ...]:
        """The pools for which this fleet makes objects."""
        return tuple(pool for pool in self.fleet.pools if pool.name not in self.offered)

    @property
    def gateway_fleet(self) -> tuple[str, str]:
        """Namespace and name of the Fleet whose gateway serves this one; maybe itself."""
        return self.served_by or (self.namespace, self.fleet.name)

    def _workload(self, model: Model, place: Placement) -> Workload:
        engine = self.engines.get(place.engine)
        if engine is None:
            raise InputError(
                f"engine `{place.engine}` cannot be rendered",
                where=f"model {model.name}",
                hint=f"take one of {', '.join(sorted(self.engines))}",
                code="cluster.engine",
            )
        fleet = self.owners.get(model.name, self.fleet.name)
        return Workload(
            model=model,
            place=place,
            engine=engine,
            fleet=fleet,
            name=object_name(fleet, model.name),
            namespace=model.namespace or self.namespace,
            pools=self._pools(model, place),
            driver=self._driver(model),
        )

    def _pools(self, model: Model, place: Placement) -> tuple[Pool, ...]:
        by_name = {pool.name: pool for pool in self.fleet.pools}
        wished = [name for name in model.placement.pools if name in by_name]
        names = dict.fromkeys([*([place.pool] if place.pool in by_name else []), *wished])
        return tuple(
            pool
            for pool in (by_name[name] for name in names)
            if place.devices is None or pool.accelerator != "none"
        )

    def _driver(self, model: Model) -> Driver:
        """Who sets the replicas: as wished, else what the cluster has."""
        scaling = model.scaling
        if scaling.driver != "auto":
            return scaling.driver
        if scaling.min == scaling.max and not scaling.schedules:
            return "none"
        if self.operator:
            return "operator"
        ours = self.scaler and scaling.policy == "plimsoll"
        if self.info.has(KEDA) and (ours or self.fleet.gateway.monitoring.prometheus):
            return "keda"
        return "hpa" if self.info.external_metrics else "none"


def metadata(
    name: str,
    namespace: str | None,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The metadata of an object; labels and annotations in order of their names."""
    found: dict[str, Any] = {"name": name}
    if namespace is not None:
        found["namespace"] = namespace
    found["labels"] = dict(sorted(labels.items()))
    if annotations:
        found["annotations"] = dict(sorted(annotations.items()))
    return found
