"""A fleet's plan for programs; the names of keys are part of the interface."""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.plan import Ledger
from plimsoll.plan.cost import HOURS_PER_MONTH
from plimsoll.plan.search import Candidate, Choice, FleetPlan, Ground
from plimsoll.plan.search.cheaper import Cheaper
from plimsoll.plan.share import Bill
from plimsoll.plan.speed.estimate import Estimate


def plan_json(plan: FleetPlan) -> dict[str, Any]:
    """The whole plan: `models`, `nodes`, `cost`, `notes`."""
    return {
        "models": [choice_json(choice) for choice in plan.choices],
        "nodes": [
            {
                **_ground(used.ground),
                "count": used.nodes,
                "acceleratorsInUse": used.devices,
                "layouts": used.layouts,
            }
            for used in plan.nodes
        ],
        "cost": {
            "perHour": plan.dollars,
            "perMonth": None if plan.dollars is None else plan.dollars * HOURS_PER_MONTH,
            "provenLeast": plan.proven,
            "bound": plan.bound,
            "unshared": None if plan.waste is None else _bill(plan, plan.waste.naive),
        },
        "notes": list(plan.notes),
    }


def _bill(plan: FleetPlan, bill: Bill) -> dict[str, Any]:
    """What an accelerator for each replica would take."""
    return {
        "accelerators": bill.gpus,
        "perHour": None if plan.dollars is None else bill.dollars,
    }


def choice_json(choice: Choice) -> dict[str, Any]:
    """One model: what it gets, what that costs, and the named alternatives."""
    demand = choice.found.demand
    return {
        "model": choice.model,
        "network": choice.found.network.name,
        "demand": msgspec.to_builtins(demand),
        "chosen": candidate_json(choice.chosen),
        "ledger": ledger_json(choice.ledger),
        "cost": None if choice.cost is None else msgspec.to_builtins(choice.cost),
        "alternatives": {
            "cheapest": candidate_json(choice.cheapest),
            "fastest": candidate_json(choice.fastest),
            "smallest": candidate_json(choice.smallest),
        },
        "apis": [msgspec.to_builtins(one) for one in choice.comparisons],
        "notes": list(choice.found.notes),
    }


def explained_json(choice: Choice, cheaper: tuple[Cheaper, ...]) -> dict[str, Any]:
    """One model with everything that was tried."""
    return choice_json(choice) | {
        "candidates": [candidate_json(one) for one in choice.found.candidates],
        "rejected": [
            {"what": one.what, "code": one.code, "reason": one.reason}
            for one in choice.found.rejected
        ],
        "cheaper": [
            {
                "perHour": one.dollars,
                "givesUp": one.gives_up,
                "candidate": candidate_json(one.candidate),
            }
            for one in cheaper
        ],
    }


def ledger_json(ledger: Ledger) -> dict[str, Any]:
    """The memory of one device: `total` and `terms`, in bytes."""
    return {"total": ledger.total, "terms": [msgspec.to_builtins(term) for term in ledger.terms]}


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """One configuration."""
    deployment = candidate.deployment
    return {
        "where": _ground(candidate.ground),
        "device": deployment.device.name,
        "engine": deployment.engine,
        "weights": candidate.label,
        "formats": msgspec.to_builtins(deployment.formats),
        "parallelism": msgspec.to_builtins(deployment.split),
        "context": deployment.context,
        "maxNumSeqs": deployment.sequences,
        "maxNumBatchedTokens": deployment.batch_tokens or None,
        "gpuMemoryUtilization": deployment.utilization or None,
        "replicas": candidate.replicas,
        "replicasAtPeak": candidate.most,
        "devicesPerReplica": candidate.devices,
        "requestsPerSecond": candidate.capacity,
        "concurrency": candidate.concurrency,
        "headroom": candidate.headroom,
        "ttft": _estimate(candidate.ttft),
        "tpot": _estimate(candidate.tpot),
        "perHour": candidate.dollars,
        "limitedBy": candidate.limited_by,
        "quality": candidate.quality or None,
        "needs": candidate.needs or None,
        "coldStart": msgspec.to_builtins(candidate.cold_start),
    }


def _ground(ground: Ground) -> dict[str, Any]:
    return {
        "name": ground.name,
        "accelerator": ground.device.accelerator,
        "perNode": ground.per_node,
        "provider": ground.provider or None,
        "instanceType": ground.instance or None,
        "nodePerHour": ground.price.dollars,
        "priceSource": ground.price.source or None,
        "missing": ground.price.missing or None,
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else msgspec.to_builtins(estimate)
