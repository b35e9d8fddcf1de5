"""The weights that one device of a replica holds: the worst one, to the byte."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import ceil

import msgspec

from plimsoll.facts.network import Layer, Mixer, Network
from plimsoll.facts.parameters import feed_forward_weights, mixer_weights
from plimsoll.facts.vram import device_memory, kept_parts
from plimsoll.facts.weight_formats import WeightFormat, weight_format
from plimsoll.plan.deployment import Formats, Split

SIXTEEN_BITS = 2  # bytes: what is kept, and what is computed with
EIGHT_BITS = 8.0  # a format of exactly these has one FP32 scale an output row, not counted in
KNOWN_WITHIN = 0.1  # published bytes further off than this hold something else too


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of weights of one device.

    dense       attention and dense feed-forward matrices
    experts     experts' matrices
    embeddings  input embedding and output head
    whole       norms and routers, which every device holds
    absorbed    products of compressed projections that engines keep beside them (MLA)
    extra       vision and other towers
    rounding    what the allocator adds, as tensors end between its steps
    layers      layers of the device
    """

    dense: int
    experts: int
    embeddings: int
    whole: int
    absorbed: int
    extra: int
    rounding: int
    layers: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.published + self.absorbed + self.rounding

    @property
    def published(self) -> int:
        """Those that are in the model's files."""
        return self.dense + self.experts + self.embeddings + self.whole + self.extra


@lru_cache(maxsize=4096)
def shard(network: Network, split: Split, formats: Formats) -> Shard:
    """The weights of the device that holds most.

    Tensor parallelism divides matrices, keys and values no further than their heads, and rounds
    up; norms, routers and compressed projections are whole on every device. A pipeline gives
    each stage its part of every kind of layer, rounded up. Raises InputError for an unknown
    format.
    """
    counted = _counted(network, split, formats)
    scale = _published(network, formats)
    if scale == 1.0:
        return counted
    return Shard(
        dense=ceil(counted.dense * scale),
        experts=ceil(counted.experts * scale),
        embeddings=ceil(counted.embeddings * scale),
        whole=ceil(counted.whole * scale),
        absorbed=counted.absorbed,
        extra=ceil(counted.extra * scale),
        rounding=counted.rounding,
        layers=counted.layers,
    )


def _published(network: Network, formats: Formats) -> float:
    """Published bytes over counted ones, where the replica runs the published formats."""
    if not network.stored_bytes:
        return 1.0
    experts = formats.experts if network.mixture else network.expert_stored
    if not (_same(formats.weights, network.stored) and _same(experts, network.expert_stored)):
        return 1.0
    scale = network.stored_bytes / _counted(network, Split(), formats).published
    return scale if abs(scale - 1.0) <= KNOWN_WITHIN else 1.0


def _same(one: str, other: str) -> bool:
    return weight_format(one).name == weight_format(other).name


@lru_cache(maxsize=4096)
def _counted(network: Network, split: Split, formats: Formats) -> Shard:
    dense = experts = whole = absorbed = rounding = layers = 0
    table = _embedding_bytes(network, split, formats)
    for layer in network.layers:
        count = ceil(layer.count / split.pipeline)
        layers += count
        dense += count * _dense_bytes(network, layer, split, formats)
        experts += count * _expert_bytes(network.hidden, layer, split, formats)
        whole += count * _whole_bytes(network.hidden, layer)
        absorbed += count * _absorbed_bytes(layer.mixer, split)
        rounding += count * sum(map(_rounding, _tensors(network, layer, split, formats)))
    return Shard(
        dense=dense,
        experts=experts,
        embeddings=table * _tables(network, split),
        whole=whole,
        absorbed=absorbed,
        extra=ceil(network.extra / split.tensor) * SIXTEEN_BITS,
        rounding=rounding + _rounding(table) * _tables(network, split),
        layers=min(layers, network.depth),
    )


def _dense_bytes(network: Network, layer: Layer, split: Split, formats: Formats) -> int:
    """Attention and dense feed-forward matrices of one layer on one device."""
    stored = _width(formats.weights, network.hidden)
    mixer = mixer_weights(network.hidden, layer.mixer)
    heads = max(1, layer.mixer.kv_heads)
    held = (
        ceil(mixer.divided / split.tensor)
        + mixer.by_head // heads * ceil(heads / split.tensor)
        + mixer.whole
    )
    part = feed_forward_weights(network.hidden, layer.feed_forward)
    attention = _attention_width(network, formats)
    return ceil(held * attention) + ceil(ceil(part.divided / split.tensor) * stored)


def _attention_width(network: Network, formats: Formats) -> float:
    """Bytes of one weight of attention; formats and checkpoints may leave it at 16 bits."""
    stored = weight_format(formats.weights)
    kept = stored.kept and "attention" in (*stored.kept, *kept_parts(network.architecture))
    return SIXTEEN_BITS if kept else _width(formats.weights, network.hidden)


def _width(name: str, hidden: int) -> float:
    """Bytes of one weight with its share of a row's scale; rows are about as long as `hidden`."""
    stored = weight_format(name)
    return stored.bytes + (device_memory().row_scale / hidden if stored.bits == EIGHT_BITS else 0.0)


def _expert_bytes(hidden: int, layer: Layer, split: Split, formats: Formats) -> int:
    """Experts' matrices of one layer on one device: cut over all devices, or spread whole."""
    part = layer.feed_forward
    if not part.experts:
        return 0
    devices = split.tensor * split.data
    spread = min(split.expert, devices)
    one = feed_forward_weights(hidden, part).experts // part.experts
    cut = ceil(one * spread / devices)
    return ceil(ceil(part.experts / spread) * cut * _width(formats.experts, hidden))


def _whole_bytes(hidden: int, layer: Layer) -> int:
    """Two norms, the router and, where experts are narrow, the projections to them."""
    return (feed_forward_weights(hidden, layer.feed_forward).whole + 2 * hidden) * SIXTEEN_BITS


def _absorbed_bytes(mixer: Mixer, split: Split) -> int:
    """MLA's projections of keys and values as engines keep them again, for decoding."""
    if mixer.kind != "latent":
        return 0
    width = mixer.key_dim - mixer.rope_dim + mixer.value_dim
    return ceil(mixer.kv_rank * mixer.heads * width / split.tensor) * SIXTEEN_BITS


def _embedding_bytes(network: Network, split: Split, formats: Formats) -> int:
    """One table of a device: its part of the vocabulary, rounded up, by the model's width."""
    return ceil(
        vocab_rows(network, split)
        * network.hidden
        * _embedding_width(weight_format(formats.weights))
    )


def vocab_rows(network: Network, split: Split) -> int:
    """Tokens of the vocabulary that one device holds, rounded up as engines do."""
    multiple = device_memory().vocab_multiple
    return ceil(ceil(network.vocab / multiple) * multiple / split.tensor)


def _embedding_width(stored: WeightFormat) -> float:
    return SIXTEEN_BITS if stored.kept else stored.bytes


def _tables(network: Network, split: Split) -> int:
    """Tables on one device; a pipeline's first stage has the embedding, its last the head."""
    if split.pipeline > 1 or network.tied or network.embedding:
        return 1
    return 2


def _tensors(network: Network, layer: Layer, split: Split, formats: Formats) -> Iterable[float]:
    """Bytes of the large tensors of one layer on one device, fused as engines fuse them."""
    hidden, mixer, part = network.hidden, layer.mixer, layer.feed_forward
    attention, dense = _attention_width(network, formats), weight_format(formats.weights).bytes
    heads, kv_heads = (ceil(number / split.tensor) for number in (mixer.heads, mixer.kv_heads))
    if mixer.kind == "attention":
        queries = heads * mixer.key_dim * (1 + mixer.gated)
        yield hidden * (queries + kv_heads * (mixer.key_dim + mixer.value_dim)) * attention
        yield hidden * heads * mixer.value_dim * attention
    elif mixer.kind == "latent":
        plain = mixer.key_dim - mixer.rope_dim
        yield hidden * (mixer.q_rank + mixer.kv_rank + mixer.rope_dim) * attention
        yield (mixer.q_rank or hidden) * heads * mixer.key_dim * attention
        yield mixer.kv_rank * heads * (plain + mixer.value_dim) * attention
        yield hidden * heads * mixer.value_dim * attention
    for width in (part.width, part.shared_width):
        here = ceil(width / split.tensor)
        yield hidden * here * (part.matrices - 1) * dense
        yield hidden * here * dense
    if part.experts:
        held = _expert_bytes(hidden, layer, split, formats)
        yield held * (part.matrices - 1) / part.matrices
        yield held / part.matrices


def _rounding(tensor: float) -> int:
    """Bytes that the allocator adds to a tensor.

    It takes steps of memory; an end of a step that is too short to be split off belongs to the
    tensor. Source: PyTorch c10/cuda/CUDACachingAllocator.cpp.
    """
    facts = device_memory()
    if tensor < facts.allocation_large:
        return 0
    spare = -ceil(tensor) % facts.allocation_step
    return spare if spare <= facts.allocation_spare else 0
