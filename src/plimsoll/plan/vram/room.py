"""How much one device has for the KV cache, and what the cache holds: blocks, tokens, requests."""

from __future__ import annotations

import msgspec

from plimsoll.plan.deployment import Deployment
from plimsoll.plan.vram.budget import Budget, budget


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """One device of a replica, in bytes.

    usable  what programs can take of it
    engine  what the engine may take of that
    cache   what is left of that for the KV cache; below 0 where something is missing
    """

    usable: int
    engine: int
    cache: int


def room(deployment: Deployment) -> Room:
    """What one device has. Raises InputError as `budget` does."""
    held = budget(deployment)
    return Room(usable=held.usable, engine=held.engine, cache=held.left)


def blocks(deployment: Deployment) -> int:
    """Blocks of the KV cache of one device, over all its layers, as the engine works them out.

    Where layers of several kinds share blocks it is what the engine logs as its cache's size in
    tokens, divided by the tokens of a block. 0 for an embedding model, and where nothing is left.
    """
    held = budget(deployment)
    return _blocks(held, held.left)


def blocks_between(deployment: Deployment) -> tuple[int, int]:
    """Fewest and most blocks that 90 % of replicas have."""
    held = budget(deployment)
    spread = held.facts.spread + (held.graphs // 2 if held.facts.graphs_counted else 0)
    return _blocks(held, held.left - spread), _blocks(held, held.left + spread)


def cache_tokens(deployment: Deployment) -> int:
    """Tokens that the caches of a replica hold in requests of the full context."""
    if not budget(deployment).layout.pools:
        return 0
    return int(largest_batch(deployment, deployment.context) * deployment.context)


def largest_batch(deployment: Deployment, tokens_per_request: float) -> float:
    """Requests of that average length which the caches of a replica hold at once, as a fraction.

    Not bounded by `sequences`. An embedding model keeps nothing: its sequences are the bound.
    """
    held = budget(deployment)
    if not held.layout.pools:
        return float(deployment.sequences)
    if held.left <= 0:
        return 0.0
    return held.left / held.layout.request(tokens_per_request) * deployment.split.data


def _blocks(held: Budget, left: int) -> int:
    return max(0, left) // held.layout.block_bytes if held.layout.block_bytes else 0
