"""Where a replica's pods may run: node labels, taints, spread, and what they prefer."""

from __future__ import annotations

from typing import Any

from plimsoll.facts.kubernetes import spots
from plimsoll.fleet import Pool
from plimsoll.worlds.cluster.objects.accelerators import (
    fitting_pools,
    memory_label,
    products,
    single_strategy,
    taint_keys,
)
from plimsoll.worlds.cluster.objects.names import POOL, label_value
from plimsoll.worlds.cluster.objects.site import Site, Workload
from plimsoll.worlds.cluster.objects.spot import spots_of

HOSTNAME = "kubernetes.io/hostname"
_ZONE = "topology.kubernetes.io/zone"
_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
_FIRST_WEIGHT = 100  # of the preferred pool; each next one less, and spot less than any pool
_WEIGHT_STEP = 10
_SPOT_WEIGHT = 5
Expression = dict[str, Any]


def scheduling(site: Site, workload: Workload) -> dict[str, Any]:
    """Fields of the pod spec: `affinity`, `tolerations`, `topologySpreadConstraints`."""
    found: dict[str, Any] = {}
    node = _node_affinity(site, workload)
    if node:
        found["affinity"] = {"nodeAffinity": node}
    tolerated_taints = tolerations(workload)
    if tolerated_taints:
        found["tolerations"] = tolerated_taints
    spread = spread_over(workload)
    if spread:
        found["topologySpreadConstraints"] = spread
    return found


def tolerations_of(pools: tuple[Pool, ...]) -> list[Expression]:
    """Tolerations of the taints that these pools' nodes carry, the accelerators' own left out."""
    found: dict[str, Expression] = {}
    for pool in pools:
        for taint in pool.taints:
            found[f"{taint.key} {taint.value} {taint.effect}"] = {
                "key": taint.key,
                "operator": "Equal",
                "value": taint.value,
                "effect": taint.effect,
            }
        for spot in spots_of(pool):
            if spot.taint:
                found[spot.taint] = {
                    "key": spot.taint,
                    "operator": "Equal",
                    "value": spot.taint_value,
                    "effect": "NoSchedule",
                }
    return list(found.values())


def tolerated(key: str) -> Expression:
    """The toleration of a taint with that key, whatever its value."""
    return {"key": key, "operator": "Exists", "effect": "NoSchedule"}


def spread_over(workload: Workload) -> list[Expression]:
    """Constraints that keep replicas apart.

    Zones are a wish: accelerators are often to be had in one zone only, and a replica there is
    better than none.
    """
    spread = workload.model.placement.spread
    if spread == "none":
        return []
    return [
        {
            "maxSkew": 1,
            "topologyKey": HOSTNAME if spread == "node" else _ZONE,
            "whenUnsatisfiable": "DoNotSchedule" if spread == "node" else "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(workload.selector)},
            "nodeTaintsPolicy": "Honor",
        }
    ]


def tolerations(workload: Workload) -> list[Expression]:
    """Tolerations of the taints that the model's nodes may carry."""
    return [
        *(tolerated(key) for key in taint_keys(workload)),
        *tolerations_of(fitting_pools(workload)),
    ]


def _node_affinity(site: Site, workload: Workload) -> dict[str, Any]:
    found: dict[str, Any] = {}
    required = node_terms(site, workload)
    if required:
        found["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": required}
    preferred = [*_pool_order(workload), *_capacity(workload)]
    if preferred:
        found["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    return found


def node_terms(site: Site, workload: Workload) -> list[Expression]:
    """Terms of node affinity, of which one must hold; empty: any node.

    An autoscaler that thinks of a new node knows the labels that its pool writes, not those that
    feature discovery will add: a bare `Gt` would keep it from ever adding one. So a node of the
    right pool may also have no such label (yet); one that has it must show enough memory.
    """
    pools = fitting_pools(workload)
    memory = _memory(site, workload)
    if not pools:
        return [{"matchExpressions": [*_product(site, workload), *memory]}] if memory else []
    inside = _in(POOL, [label_value(pool.name) for pool in pools])
    if not memory:
        return [{"matchExpressions": [inside]}]
    absent = {"key": memory[0]["key"], "operator": "DoesNotExist"}
    return [{"matchExpressions": [inside, *memory]}, {"matchExpressions": [inside, absent]}]


def _memory(site: Site, workload: Workload) -> list[Expression]:
    devices = workload.place.devices
    if devices is None or devices.sharing == "dra":
        return []
    label = memory_label(devices, single=single_strategy(site, workload))
    if label is None:
        return []
    key, least = label
    return [{"key": key, "operator": "Gt", "values": [str(least)]}]


def _product(site: Site, workload: Workload) -> list[Expression]:
    devices = workload.place.devices
    known = products(devices, single=single_strategy(site, workload)) if devices else None
    return [_in(known[0], list(known[1]))] if known else []


def _pool_order(workload: Workload) -> list[Expression]:
    """A weight for every pool but the last, in the order in which the model names them."""
    pools = fitting_pools(workload)
    if not pools and workload.place.pool:
        return [_preferred(_FIRST_WEIGHT, _in(_INSTANCE_TYPE, [workload.place.pool]))]
    return [
        _preferred(
            max(_WEIGHT_STEP, _FIRST_WEIGHT - _WEIGHT_STEP * index),
            _in(POOL, [label_value(pool.name)]),
        )
        for index, pool in enumerate(pools[:-1])
    ]


def _capacity(workload: Workload) -> list[Expression]:
    """Spot first on mixed pools; batch work as its `capacity` says."""
    model = workload.model
    known = {
        (spot.label, spot.label_value)
        for pool in fitting_pools(workload)
        for spot in spots_of(pool)
    }
    wish = model.batch.capacity if model.batch else "any"
    if wish == "onDemand":
        return [
            _preferred(_SPOT_WEIGHT, {"key": key, "operator": "NotIn", "values": [value]})
            for key, value in sorted(known)
        ]
    if wish == "spot" and not known and not fitting_pools(workload):
        known = {(spot.label, spot.label_value) for spot in spots().values()}
    return [_preferred(_SPOT_WEIGHT, _in(key, [value])) for key, value in sorted(known)]


def _preferred(weight: int, expression: Expression) -> Expression:
    return {"weight": weight, "preference": {"matchExpressions": [expression]}}


def _in(key: str, values: list[str]) -> Expression:
    return {"key": key, "operator": "In", "values": values}
