"""The KV cache of one device: what a token, a block and a request take, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import ceil
from typing import Literal

import msgspec

from plimsoll.facts.network import Layer, Mixer, Network
from plimsoll.facts.vram import EngineMemory, device_memory
from plimsoll.facts.weight_formats import weight_format
from plimsoll.plan.deployment import Split

Reach = Literal["whole", "window", "chunk", "state"]


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of one device that keep alike.

    reach         `whole` the context, a sliding `window`, a `chunk` of it, or a fixed `state`
    limit         tokens of the window or chunk; 0 for the others
    layers        how many
    token_bytes   what one token takes over all of them; of a state, what one request takes
    block_bytes   what one block takes over all of them, padding included
    block_tokens  tokens of one block; a state has one block a request
    """

    reach: Reach
    limit: int
    layers: int
    token_bytes: int
    block_bytes: int
    block_tokens: int

    def held(self, tokens: float) -> float:
        """Blocks of a request of `tokens`, on average: its last block is half full."""
        if self.reach == "state":
            return 1.0
        if self.limit and tokens > self.limit:
            # A window moves inside its first block and its last one.
            return self.limit / self.block_tokens + (1.0 if self.reach == "window" else 0.5)
        return tokens / self.block_tokens + (0.5 if self.block_tokens > 1 else 0.0)

    def at_most(self, tokens: int, step: int) -> int:
        """Blocks of a request of `tokens` at its worst, with a step of `step` tokens in flight."""
        if self.reach == "state":
            return 1
        if self.limit:
            blocks = ceil(min(self.limit + step, tokens) / self.block_tokens)
            return blocks + (1 if self.reach == "window" and self.block_tokens > 1 else 0)
        return ceil(tokens / self.block_tokens)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How one device keeps keys, values and states.

    pools         layers that keep alike, each kind once; none for an embedding model
    block_tokens  tokens of one block over all layers
    block_bytes   bytes of one block over all layers
    """

    pools: tuple[Pool, ...]
    block_tokens: int
    block_bytes: int

    def request(self, tokens: float) -> float:
        """Bytes of one request of `tokens`, on average."""
        return sum(pool.held(tokens) * pool.block_bytes for pool in self.pools)

    def longest(self, tokens: int, step: int) -> int:
        """Bytes of one request of `tokens` at its worst."""
        return sum(pool.at_most(tokens, step) * pool.block_bytes for pool in self.pools)


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    reach: Reach
    limit: int
    layers: int
    token_bytes: int  # over all of them
    widest: int  # of one layer


@lru_cache(maxsize=4096)
def layout(
    network: Network, draft: Network | None, split: Split, cache_format: str, engine: EngineMemory
) -> Layout:
    """The cache of one device, a draft model's layers included.

    Raises InputError for an unknown format of the cache.
    """
    bytes_each = weight_format(cache_format).bytes
    kinds = _kinds(network, draft, split, bytes_each)
    latent = any(layer.mixer.kind == "latent" for layer in network.layers)
    tokens = engine.latent_block_tokens if latent else engine.block_tokens
    if engine.grouped_cache and len(kinds) > 1:
        pools = tuple(_grouped(kinds, tokens))
    else:
        pools = tuple(_plain(kinds, tokens))
    attention = [pool.block_tokens for pool in pools if pool.reach != "state"]
    return Layout(
        pools=pools,
        block_tokens=min(attention, default=tokens),
        block_bytes=sum(pool.block_bytes for pool in pools),
    )


def _kinds(
    network: Network, draft: Network | None, split: Split, bytes_each: float
) -> tuple[_Kind, ...]:
    if network.embedding:
        return ()
    found: dict[tuple[Reach, int], list[tuple[int, int]]] = {}
    for layer in (*network.layers, *(draft.layers if draft else ())):
        kept = _token_bytes(layer.mixer, split, bytes_each)
        if kept:
            key = _reach(layer.mixer)
            found.setdefault(key, []).append((_count(layer, split), kept))
    return tuple(
        _Kind(
            reach=reach,
            limit=limit,
            layers=sum(count for count, _ in members),
            token_bytes=sum(count * kept for count, kept in members),
            widest=max(kept for _, kept in members),
        )
        for (reach, limit), members in found.items()
    )


def _count(layer: Layer, split: Split) -> int:
    return ceil(layer.count / split.pipeline)


def _reach(mixer: Mixer) -> tuple[Reach, int]:
    if mixer.kind == "recurrent":
        return "state", 0
    if mixer.window:
        return "window", mixer.window
    if mixer.chunk:
        return "chunk", mixer.chunk
    return "whole", 0


def _token_bytes(mixer: Mixer, split: Split, bytes_each: float) -> int:
    """What one token (or one request, of a state) takes in one layer of one device.

    Heads are divided, at least one on each device; compressed vectors are whole on every one.
    """
    if mixer.kind == "recurrent":
        return ceil(mixer.state / split.tensor) * mixer.state_bytes
    elements = mixer.kept_elements
    if mixer.kind == "attention" and elements:
        heads = ceil(mixer.kv_heads / split.tensor)
        elements = elements // mixer.kv_heads * heads
    # An indexer keeps one byte an element, and a scale.
    index = mixer.index_dim + device_memory().index_scale if mixer.index_dim else 0
    return ceil((elements * bytes_each + index) / mixer.compression)


def _plain(kinds: Iterable[_Kind], tokens: int) -> Iterable[Pool]:
    """Every kind of layer has blocks of its own."""
    for kind in kinds:
        block = 1 if kind.reach == "state" else tokens
        yield Pool(
            reach=kind.reach,
            limit=kind.limit,
            layers=kind.layers,
            token_bytes=kind.token_bytes,
            block_bytes=kind.token_bytes * block,
            block_tokens=block,
        )


def _grouped(kinds: tuple[_Kind, ...], tokens: int) -> Iterable[Pool]:
    """Blocks of one size for all kinds: groups of equally many layers, pages of equal bytes.

    A group is as large as the rarest kind, or as the most frequent one where that is less than
    half again as large; the last group of a kind is padded. Where a layer keeps a state, blocks
    hold as many more tokens as make a page as large as it. Source: vLLM v1/core/kv_cache_utils.py.
    """
    counts = [kind.layers for kind in kinds]
    size = max(counts) if max(counts) < 1.5 * min(counts) else min(counts)
    widest = max((kind.widest for kind in kinds if kind.reach != "state"), default=0)
    state = max((kind.widest for kind in kinds if kind.reach == "state"), default=0)
    if state and widest:
        tokens = max(tokens, ceil(state / widest / tokens) * tokens)
    page = max(widest * tokens, state)
    for kind in kinds:
        groups = ceil(kind.layers / size)
        narrow = tokens if kind.reach == "state" else page // kind.widest
        yield Pool(
            reach=kind.reach,
            limit=kind.limit,
            layers=kind.layers,
            token_bytes=kind.token_bytes,
            block_bytes=groups * size * page,
            block_tokens=narrow,
        )
