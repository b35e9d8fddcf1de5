"""Whether a deployment fits its devices, runs starved of KV cache, or does not fit, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import msgspec

from plimsoll.facts.network import Network
from plimsoll.facts.vram import device_memory
from plimsoll.plan.deployment import Deployment
from plimsoll.plan.vram.budget import Budget, budget, one_request
from plimsoll.units import size

Fit = Literal["fits", "starved", "does not fit"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one device of a replica.

    fit       `fits`; `starved` where it runs, but the cache holds so few requests that throughput
              collapses; or `does not fit`
    limit     the term that decides: `weights`, `kv cache`, `activations`, `left free`, `heads`
    missing   bytes that one device lacks; 0 unless it does not fit
    requests  of the full context that the caches of the replica hold
    possible  whether it runs, or would if the engine took the highest usual share
    reason    one sentence
    """

    fit: Fit
    limit: str
    missing: int
    requests: float
    possible: bool
    reason: str

    def __bool__(self) -> bool:
        """Whether it runs."""
        return self.fit != "does not fit"


def fits(deployment: Deployment) -> Verdict:
    """The verdict on one deployment. Raises InputError as `budget` does."""
    held = budget(deployment)
    refusal = _refusal(deployment, held)
    if refusal is None:
        return _running(deployment, held)
    limit, missing, reason = refusal
    highest = device_memory().highest_share
    asked = deployment.utilization or held.engine / held.usable
    possible = asked < highest and _refusal_at(deployment, highest) is None
    return Verdict(
        fit="does not fit",
        limit=limit,
        missing=missing,
        requests=0.0,
        possible=possible,
        reason=reason + (f"; with a share of {highest} it would run" if possible else ""),
    )


def _refusal_at(deployment: Deployment, share: float) -> tuple[str, int, str] | None:
    raised = replace(deployment, utilization=share)
    return _refusal(raised, budget(raised))


def _refusal(deployment: Deployment, held: Budget) -> tuple[str, int, str] | None:
    """Why it does not fit: the term that decides, the bytes that lack, and a sentence."""
    tensor = deployment.split.tensor
    heads = _undivided(deployment.network, tensor)
    if heads:
        return "heads", 0, f"{heads} heads cannot be divided over {tensor} devices"
    if held.left < 0:
        largest = "weights" if held.shard.total >= held.peak.bytes else "activations"
        taken = f"weights and one step take {size(held.inside)}"
        return largest, -held.left, f"{taken} of the {size(held.engine)} the engine may take"
    if held.outside > held.free:
        reason = f"the engine leaves {size(held.free)}, and {size(held.outside)} come out of that"
        return "left free", held.outside - held.free, reason
    one = one_request(deployment, held)
    if one > held.left:
        asked = f"one request of {deployment.context:,} tokens takes {size(one)} of cache"
        return "kv cache", one - held.left, f"{asked}, and {size(held.left)} are left"
    return None


def _running(deployment: Deployment, held: Budget) -> Verdict:
    one = one_request(deployment, held)
    if not one:
        requests = float(deployment.sequences)
        return Verdict(
            fit="fits",
            limit="",
            missing=0,
            requests=requests,
            possible=True,
            reason="keeps no cache",
        )
    facts = device_memory()
    here = held.left / one
    requests = here * deployment.split.data
    few = here < min(facts.few_requests, held.sequences)
    small = held.left < facts.starved_share * held.shard.total
    if few or (small and here < min(facts.starved_requests, held.sequences)):
        return Verdict(
            fit="starved",
            limit="kv cache",
            missing=0,
            requests=requests,
            possible=True,
            reason=f"the cache of {size(held.left)} beside {size(held.shard.total)} of weights "
            f"holds {here:.1f} requests of {deployment.context:,} tokens, too few to share the "
            "reading of the weights",
        )
    return Verdict(
        fit="fits",
        limit="",
        missing=0,
        requests=requests,
        possible=True,
        reason=f"{size(held.left)} of cache hold {here:,.1f} requests of "
        f"{deployment.context:,} tokens on each device",
    )


def _undivided(network: Network, tensor: int) -> int:
    """Query heads that `tensor` devices cannot share equally; 0 where they can."""
    if tensor == 1:
        return 0
    for layer in network.layers:
        if layer.mixer.kind in ("attention", "latent") and layer.mixer.heads % tensor:
            return layer.mixer.heads
    return 0
