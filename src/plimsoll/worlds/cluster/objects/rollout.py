"""How a new version of a model's replicas takes the place of the old one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from plimsoll.fleet import Pool
from plimsoll.worlds.cluster.objects.accelerators import fitting_pools
from plimsoll.worlds.cluster.objects.names import PREFIX
from plimsoll.worlds.cluster.objects.namespaces import spare_accelerators
from plimsoll.worlds.cluster.objects.pool_nodes import per_node
from plimsoll.worlds.cluster.objects.site import Site, Workload
from plimsoll.worlds.cluster.objects.storage import tied_to_one_node

MIN_READY = 10  # seconds; a replica that fails its first requests does not take the old one away
HISTORY = 3  # old versions that are kept to go back to


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One replica at a time.

    surge  whether the new one comes before the old one goes
    why    in words
    """

    surge: bool
    why: str

    @property
    def bounds(self) -> dict[str, int]:
        """`maxSurge` and `maxUnavailable`."""
        return {"maxSurge": int(self.surge), "maxUnavailable": int(not self.surge)}

    @property
    def annotations(self) -> dict[str, str]:
        """Why it is so."""
        return {f"{PREFIX}/why-rollout": self.why}


def rollout(site: Site, workload: Workload) -> Rollout:
    """How replicas are replaced.

    A new replica needs accelerators beside those of the old ones; where the pools can never have
    them, or the namespace's quota never lets them be asked for, it would wait forever for what
    only the old one's end makes free.
    """
    if tied_to_one_node(workload):
        why = "the volume can be mounted by one node only: the old replica goes first"
        return Rollout(surge=False, why=why)
    devices = workload.place.devices
    if devices is None:
        return Rollout(surge=True, why="the new replica comes before the old one goes")
    spare = spare_accelerators(site, workload)
    if spare is not None and spare < devices.per_node * devices.nodes:
        why = "the namespace's quota has no room beside its models' most replicas"
        return Rollout(surge=False, why=f"{why}: the old replica goes first")
    pools = fitting_pools(workload)
    wanted = devices.per_node * devices.nodes * devices.portion
    if not pools:
        return Rollout(surge=True, why="the new replica comes before the old one goes")
    free = sum(_capacity(pool) for pool in pools) - _taken(site, pools)
    if free + 1e-6 >= wanted:
        why = f"{free:g} accelerators are free in the planned pools: the new replica comes first"
        return Rollout(surge=True, why=why)
    why = f"a second replica needs {wanted:g} accelerators, and {max(0.0, free):g} are free in the "
    return Rollout(surge=False, why=f"{why}planned pools: the old replica goes first")


def deadline(workload: Workload, grace: int, *, surge: bool) -> int:
    """progressDeadlineSeconds: how long one replica may take before the rollout counts as stuck.

    grace  seconds that the old replica may take to end, waited for where there is no surge
    """
    start = max(workload.model.startup.timeout, workload.place.cold_start.total)
    return math.ceil(start) + MIN_READY + (0 if surge else grace)


def replicas(workload: Workload) -> dict[str, int]:
    """`replicas`, where nobody else sets them."""
    if workload.driver != "none":
        return {}
    scaling = workload.model.scaling
    wanted = workload.place.replicas + scaling.warm
    return {"replicas": min(max(wanted, scaling.min), scaling.max)}


def _capacity(pool: Pool) -> float:
    return float(pool.nodes.max * per_node(pool))


def _taken(site: Site, pools: tuple[Pool, ...]) -> float:
    """Accelerators that the plan's replicas hold on these pools."""
    names = {pool.name for pool in pools}
    return sum(
        place.replicas * place.devices.per_node * place.devices.nodes * place.devices.portion
        for place in site.plan.placements
        if place.pool in names and place.devices is not None
    )
