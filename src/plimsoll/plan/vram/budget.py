"""How an engine divides one device: what is taken before the KV cache, and what is left for it."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.network import Network
from plimsoll.facts.vram import (
    EngineMemory,
    default_batch_tokens,
    device_memory,
    driver_held,
    engine_memory,
    workspace_bytes,
)
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.vram.cache import Layout, layout
from plimsoll.plan.vram.step import (
    Activations,
    activations,
    adapter_bytes,
    communication_bytes,
    graph_bytes,
    rotation_bytes,
)
from plimsoll.plan.vram.weights import Shard, shard

UNQUANTIZED = Formats()  # a draft model runs as published


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """One device of a replica, in bytes.

    memory         that the driver shows
    driver         that the driver keeps
    engine         that the engine may take
    shard          weights
    rotation       the table of rotations
    draft          weights of a draft model
    adapters       LoRA adapters
    peak           the largest step
    graphs         CUDA graphs
    communication  buffers between devices
    libraries      kernels and libraries
    context        the CUDA context
    inside         what comes out of the engine's share before the cache
    outside        what comes out of the rest: context, graphs and activations, as the engine has it
    layout         of the cache
    sequences      requests at once on this device
    facts          of the engine
    """

    memory: int
    driver: int
    engine: int
    shard: Shard
    rotation: int
    draft: int
    adapters: int
    peak: Activations
    graphs: int
    communication: int
    libraries: int
    context: int
    inside: int
    outside: int
    layout: Layout
    sequences: int
    facts: EngineMemory

    @property
    def usable(self) -> int:
        """What programs can take."""
        return self.memory - self.driver

    @property
    def left(self) -> int:
        """What is left for the cache; below 0 where something is missing."""
        return self.engine - self.inside

    @property
    def free(self) -> int:
        """What the engine leaves free."""
        return self.usable - self.engine


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as far as one device's memory depends on it, the context apart."""

    memory: int
    driver: int
    generation: str
    network: Network
    draft: Network | None
    engine: str
    version: str
    split: Split
    formats: Formats
    sequences: int
    batch_tokens: int
    utilization: float
    graphs: bool
    adapters: int
    adapter_rank: int


def budget(deployment: Deployment) -> Budget:
    """One device of a replica, worked out once for all contexts.

    Raises InputError for a number out of range, an unknown engine or an unknown format.
    """
    _check(deployment)
    device = deployment.device
    return _budget(
        _Asked(
            memory=device.memory,
            driver=driver_held(device),
            generation=device.generation,
            network=deployment.network,
            draft=deployment.draft,
            engine=deployment.engine,
            version=deployment.version,
            split=deployment.split,
            formats=deployment.formats,
            sequences=deployment.sequences,
            batch_tokens=deployment.batch_tokens,
            utilization=deployment.utilization,
            graphs=deployment.graphs,
            adapters=deployment.adapters,
            adapter_rank=deployment.adapter_rank,
        )
    )


def one_request(deployment: Deployment, held: Budget) -> int:
    """Bytes of cache without which the engine does not start: one request of the full context."""
    return held.layout.longest(deployment.context, held.peak.tokens)


def _check(deployment: Deployment) -> None:
    split = deployment.split
    if (
        deployment.context < 1
        or deployment.sequences < 1
        or min(deployment.batch_tokens, deployment.adapters, deployment.adapter_rank) < 0
        or not 0.0 <= deployment.utilization <= 1.0
        or min(split.tensor, split.pipeline, split.data, split.expert) < 1
    ):
        raise InputError(
            f"a number of this deployment of {deployment.network.name} is out of range",
            hint="context, sequences and the split are at least 1, `utilization` is at most 1",
            code="plan.vram.range",
        )


@lru_cache(maxsize=8192)
def _budget(asked: _Asked) -> Budget:
    network, split = asked.network, asked.split
    facts = engine_memory(asked.engine, asked.version)
    held = shard(network, split, asked.formats)
    sequences = ceil(asked.sequences / split.data)
    tokens = asked.batch_tokens or default_batch_tokens(
        asked.engine, asked.memory, asked.generation
    )
    peak = activations(
        network,
        split,
        facts,
        tokens=tokens,
        rows=min(sequences, tokens),
        workspace=workspace_bytes(asked.generation),
    )
    graphs = graph_bytes(held.layers, sequences, facts) if asked.graphs else 0
    draft = shard(asked.draft, split, UNQUANTIZED).total if asked.draft else 0
    adapters = asked.adapters * adapter_bytes(network, split, asked.adapter_rank)
    rotation = rotation_bytes(network, facts)
    communication = communication_bytes(split)
    context = device_memory().context
    always = held.total + rotation + draft + adapters + communication + facts.non_torch
    parts = (
        (context, facts.context_counted),
        (graphs, facts.graphs_counted),
        (peak.bytes, facts.share_of != "free"),
    )
    inside = always + sum(part for part, counted in parts if counted)
    return Budget(
        memory=asked.memory,
        driver=asked.driver,
        engine=_engine_share(asked, facts, tokens, inside),
        shard=held,
        rotation=rotation,
        draft=draft,
        adapters=adapters,
        peak=peak,
        graphs=graphs,
        communication=communication,
        libraries=facts.non_torch,
        context=context,
        inside=inside,
        outside=sum(part for part, counted in parts if not counted),
        layout=layout(network, asked.draft, split, asked.formats.cache, facts),
        sequences=sequences,
        facts=facts,
    )


def _engine_share(asked: _Asked, facts: EngineMemory, tokens: int, inside: int) -> int:
    """Bytes that the engine may take of those that programs can use."""
    usable = asked.memory - asked.driver
    share = asked.utilization or facts.utilization
    if facts.share_of == "device":
        return min(ceil(usable * share), usable)
    if facts.share_of == "left":
        return inside + floor((usable - inside) * share) if usable > inside else usable
    if share:
        return floor(usable * share)
    return max(0, usable - _reserve(asked, facts, usable, tokens))


def _reserve(asked: _Asked, facts: EngineMemory, usable: int, tokens: int) -> int:
    """Bytes that an engine without a given share keeps for activations and graphs."""
    captured = min(asked.sequences, facts.captured_sequences) if asked.graphs else 0
    reserve = (
        facts.reserve_fixed
        + facts.reserve_token * tokens
        + facts.reserve_device * asked.split.tensor * asked.split.pipeline
        + facts.reserve_sequence * captured
    )
    return max(reserve, facts.reserve_least) if usable > facts.reserve_least_above else reserve
