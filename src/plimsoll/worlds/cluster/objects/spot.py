"""Nodes that come and go: who adds them, and how spot nodes of a model's pools are known."""

from __future__ import annotations

from plimsoll.facts.kubernetes import Spot, spots
from plimsoll.fleet import Pool
from plimsoll.worlds.cluster.objects.site import Workload


def may_be_spot(pool: Pool) -> bool:
    """Whether nodes of the pool can be taken back."""
    return pool.capacity in ("spot", "mixed")


def spots_of(pool: Pool) -> tuple[Spot, ...]:
    """How the pool's spot nodes may look; empty where it has none, or nothing is known of them."""
    if not may_be_spot(pool) or pool.cloud is None:
        return ()
    known = spots()
    if pool.provisioner == "karpenter":
        return (known["karpenter"],)
    if pool.provisioner == "auto" and pool.cloud.provider == "aws":
        return (known["karpenter"], known["aws"])
    return (known[pool.cloud.provider],)


def grows(pool: Pool) -> bool:
    """Whether nodes of the pool come and go by themselves."""
    if pool.provisioner == "none" or (pool.provisioner == "auto" and pool.cloud is None):
        return False
    return pool.nodes.min != pool.nodes.max


def notice_of(workload: Workload) -> float | None:
    """The shortest notice, in seconds, that a pod may get on the model's pools; None: no spot."""
    known = [spot.for_pods for pool in workload.pools for spot in spots_of(pool)]
    return min(known, default=None)
