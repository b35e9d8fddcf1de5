"""From the plan of a fleet on accelerators to placements: what a world needs to run a replica."""

from __future__ import annotations

from math import floor

from plimsoll.fleet import Model
from plimsoll.plan.search.types import Candidate, Choice, FleetPlan
from plimsoll.plan.speed.latency import latency
from plimsoll.plan.types import Accelerators, Placement, Plan, Speculation
from plimsoll.plan.vram.room import Room, cache_tokens, room

DRAFT_TOKENS = 4  # guessed per step where the fleet file leaves it to the plan
_LONG_PROMPT = 8192  # tokens, over which a prompt's own cost is all that counts


def placements(models: tuple[Model, ...], plan: FleetPlan) -> Plan:
    """The placements of every model that the plan has, in the models' order.

    models  of the fleet; those that the plan has nothing for are left out
    """
    chosen = {choice.model: choice for choice in plan.choices}
    return Plan(
        placements=tuple(
            placement(model, chosen[model.name]) for model in models if model.name in chosen
        )
    )


def placement(model: Model, choice: Choice) -> Placement:
    """How every replica of a model looks, from what was chosen for it."""
    candidate = choice.chosen
    deployment = candidate.deployment
    held = room(deployment)
    return Placement(
        model=model.name,
        engine="vllm" if model.engine == "auto" else model.engine,
        source=str(model.source),
        task=model.task,
        context=deployment.context,
        parallel=deployment.sequences,
        threads=0,
        batch=deployment.batch_tokens,
        kv_type=deployment.formats.cache,
        ledger=choice.ledger,
        why=_why(candidate),
        devices=_accelerators(model, candidate),
        split=deployment.split,
        formats=deployment.formats,
        quantization=candidate.label,
        converted=bool(candidate.quality) and not candidate.needs,
        utilization=_utilization(candidate, held),
        cache_bytes=max(0, held.cache) if _in_turns(candidate) else 0,
        weight_bytes=candidate.weight_bytes,
        adapters=tuple(adapter.name for adapter in model.adapters),
        adapter_rank=max((adapter.rank or 16 for adapter in model.adapters), default=0),
        speculation=_speculation(model),
        pool=candidate.ground.name,
        replicas=candidate.replicas,
        most=candidate.most,
        cold_start=candidate.cold_start,
        kv_tokens=cache_tokens(deployment),
        prefill_rate=_prefill_rate(candidate),
        options=model.engine_options,
    )


def _prefill_rate(candidate: Candidate) -> int:
    """Tokens of a long prompt that an idle replica reads per second; 0 where nothing is said."""
    if candidate.ttft is None:
        return 0
    prompt = min(_LONG_PROMPT, candidate.deployment.context // 2)
    return round(prompt / latency(candidate.deployment, prompt, 1, 1).ttft.value)


def _in_turns(candidate: Candidate) -> bool:
    """Whether other replicas use the same accelerator, without a wall between their memories."""
    return candidate.ground.portion < 1 and not candidate.deployment.device.profile


def _utilization(candidate: Candidate, held: Room) -> float:
    """As a share of the whole: an engine that takes turns sees all of the accelerator's memory."""
    if not _in_turns(candidate):
        return candidate.deployment.utilization
    whole = candidate.deployment.device.memory / candidate.ground.portion
    return floor(held.engine / whole * 100) / 100


def _accelerators(model: Model, candidate: Candidate) -> Accelerators:
    device, ground = candidate.deployment.device, candidate.ground
    count = candidate.devices
    nodes = -(-count // ground.per_node) if count > ground.per_node else 1
    shared = device.profile or ground.portion < 1
    return Accelerators(
        name=device.accelerator,
        per_node=count // nodes,
        nodes=nodes,
        memory=device.memory,
        profile=device.profile,
        sharing=model.placement.sharing if shared else "none",
        portion=ground.portion,
    )


def _speculation(model: Model) -> Speculation | None:
    if model.draft is None:
        return None
    return Speculation(method=model.draft.method, tokens=model.draft.tokens or DRAFT_TOKENS)


def _why(candidate: Candidate) -> tuple[str, ...]:
    what = f"{candidate.label} on {candidate.deployment.device.name}"
    able = f"{candidate.capacity:.2g} requests/s per replica, limited by {candidate.limited_by}"
    return (f"{what}: {able}",)
