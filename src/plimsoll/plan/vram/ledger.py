"""The memory ledger of one device of a replica: every term with its arithmetic in words."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.plan.deployment import Deployment
from plimsoll.plan.types import Ledger, Term
from plimsoll.plan.vram.budget import Budget, budget, one_request
from plimsoll.plan.vram.cache import Pool
from plimsoll.units import size


def ledger(deployment: Deployment) -> Ledger:
    """What the worst device of a replica needs; it fits where the total is at most its memory.

    The KV cache is what `sequences` requests of `context` tokens take, at most what is left for
    it, and never less than one of them, without which engines do not start.
    """
    held = budget(deployment)
    terms = (
        *_weights(deployment, held),
        *_step(deployment, held),
        _cache(deployment, held),
        *_kept(held),
    )
    return Ledger(terms=tuple(term for term in terms if term.bytes))


def cache_bytes(deployment: Deployment, held: Budget) -> int:
    """Bytes of the KV cache as the ledger has it."""
    one = one_request(deployment, held)
    return max(one, min(one * held.sequences, held.left))


def _weights(deployment: Deployment, held: Budget) -> Iterable[Term]:
    network, formats, split = deployment.network, deployment.formats, deployment.split
    shard = held.shard
    over = _over(deployment)
    experts = max((layer.feed_forward.experts for layer in network.layers), default=0)
    yield Term(
        name="weights",
        bytes=shard.dense,
        why=f"{shard.layers} layers of {formats.weights}{over}",
    )
    yield Term(
        name="experts",
        bytes=shard.experts,
        why=f"{experts} experts a layer of {formats.experts} over "
        f"{split.tensor * split.data} devices",
    )
    yield Term(
        name="embeddings",
        bytes=shard.embeddings,
        why=f"{network.vocab:,} tokens x {network.hidden:,}, not quantized{over}",
    )
    yield Term(name="norms and routers", bytes=shard.whole, why="whole on every device, 16 bits")
    yield Term(
        name="absorbed projections",
        bytes=shard.absorbed,
        why="compressed keys and values are expanded by a copy of their projections, 16 bits",
    )
    yield Term(
        name="towers", bytes=shard.extra, why=f"{network.extra:,} parameters of 16 bits{over}"
    )
    yield Term(
        name="allocator",
        bytes=shard.rounding,
        why="ends of 2 MiB steps that are too short to be split off their tensors",
    )
    if held.rotation:
        yield Term(
            name="rotation table",
            bytes=held.rotation,
            why=f"{network.context:,} positions x {held.facts.rotation_bytes} B an element",
        )
    if deployment.draft:
        yield Term(name="draft model", bytes=held.draft, why=f"{deployment.draft.name}{over}")
    yield Term(
        name="adapters",
        bytes=held.adapters,
        why=f"{deployment.adapters} LoRA adapters of rank {deployment.adapter_rank}",
    )


def _over(deployment: Deployment) -> str:
    """` over 4 devices and 2 stages`."""
    split = deployment.split
    parts = []
    if split.tensor > 1:
        parts.append(f"{split.tensor} devices")
    if split.pipeline > 1:
        parts.append(f"{split.pipeline} stages")
    return f" over {' and '.join(parts)}" if parts else ""


def _step(deployment: Deployment, held: Budget) -> Iterable[Term]:
    network, peak = deployment.network, held.peak
    why = {
        "layer": f"the widest layer of a step of {peak.tokens:,} tokens, 16 bits",
        "sampler": f"{peak.rows:,} sequences x {network.vocab:,} logits x "
        f"{held.facts.sampler_bytes} B while sampling, beside {peak.tokens:,} hidden states",
        "compiler": "the largest table of a fused kernel, copied while the compiler times it",
    }
    yield Term(name="activations", bytes=peak.bytes, why=why[peak.limit])
    yield Term(
        name="graphs",
        bytes=held.graphs,
        why=f"{held.shard.layers} layers, captured for batches of up to "
        f"{min(2 * held.sequences, held.facts.captured_sequences)} tokens",
    )
    yield Term(
        name="communication",
        bytes=held.communication,
        why=f"buffers for exchanges between {deployment.split.devices} devices",
    )
    yield Term(name="libraries", bytes=held.libraries, why="kernels and handles, measured")
    yield Term(name="context", bytes=held.context, why="the process's CUDA context")


def _cache(deployment: Deployment, held: Budget) -> Term:
    taken = cache_bytes(deployment, held)
    one = one_request(deployment, held)
    pools = "; ".join(_in_words(pool) for pool in held.layout.pools)
    requests = taken / one if one else 0.0
    return Term(
        name="kv cache",
        bytes=taken,
        why=f"{requests:,.1f} requests of {deployment.context:,} tokens x {size(one)}: {pools}",
    )


def _in_words(pool: Pool) -> str:
    reach = {
        "whole": "",
        "window": f", a window of {pool.limit:,}",
        "chunk": f", chunks of {pool.limit:,}",
        "state": "",
    }[pool.reach]
    unit = "a request" if pool.reach == "state" else "a token"
    return f"{pool.layers} layers, {pool.token_bytes:,} B {unit}{reach}"


def _kept(held: Budget) -> Iterable[Term]:
    yield Term(name="driver", bytes=held.driver, why="shown as memory, kept by the driver")
    yield Term(
        name="left free",
        bytes=max(0, held.free - held.outside),
        why=f"the engine takes {size(held.engine)} of {size(held.usable)}",
    )
