"""The plan of models that run on processors in a cluster: each replica is a pod of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from plimsoll.facts.cold_start import cold_start_facts
from plimsoll.facts.shape import ModelShape
from plimsoll.fleet import Fleet, Model, Pool
from plimsoll.plan.local import plan_local
from plimsoll.plan.types import ColdStart, Machine, Placement
from plimsoll.units import GIB

CORES = 4  # of a replica where neither the fleet file nor a pool's node says
MEMORY = 64 * GIB  # bytes that one replica may take where neither says; what it needs is less
NODE_SHARE = 0.9  # of a node's cores and memory; the rest is the system's and its DaemonSets'


def plan_on_processors(fleet: Fleet, shapes: Mapping[str, ModelShape]) -> dict[str, Placement]:
    """The placements of the models that `shapes` has, by name.

    Raises InputError for what the embedded engine cannot run, LedgerDoesNotFit (a DoesNotFit) where
    one replica is larger than a node.
    """
    return {
        model.name: _placement(fleet, model, shapes[model.name])
        for model in fleet.models
        if model.name in shapes
    }


def _placement(fleet: Fleet, model: Model, shape: ModelShape) -> Placement:
    pool = _pool(fleet, model)
    # Replicas do not share a machine here: each is planned as if it were the only one.
    single = msgspec.structs.replace(
        model, scaling=msgspec.structs.replace(model.scaling, min=1, max=1)
    )
    alone = msgspec.structs.replace(fleet, models=(single,))
    place = plan_local(alone, {model.name: shape}, _machine(model, pool)).placements[0]
    return replace(
        place,
        weight_bytes=shape.file_bytes,
        pool=pool.name if pool else "",
        replicas=max(1, model.scaling.min),
        most=model.scaling.max,
        cold_start=_cold_start(shape),
    )


def _pool(fleet: Fleet, model: Model) -> Pool | None:
    """The first pool that the model names, else the first without accelerators."""
    by_name = {pool.name: pool for pool in fleet.pools}
    named = [by_name[name] for name in model.placement.pools if name in by_name]
    plain = [pool for pool in fleet.pools if pool.accelerator == "none"]
    return next(iter([*named, *plain]), None)


def _machine(model: Model, pool: Pool | None) -> Machine:
    """What one replica may use: as the fleet file says, else one node, else a modest share."""
    node = pool.node if pool else None
    memory = model.resources.memory or (
        int(node.memory * NODE_SHARE) if node and node.memory else MEMORY
    )
    cores = model.resources.cpu or min(CORES, node.cpu * NODE_SHARE if node and node.cpu else CORES)
    return Machine(memory=memory, cores=max(1, int(cores)))


def _cold_start(shape: ModelShape) -> ColdStart:
    """No node is waited for; the embedded engine starts as soon as the weights are read."""
    weights = cold_start_facts()["weights"]
    return ColdStart(weights=shape.file_bytes / weights.typical, source=weights.source)
