"""What one engine step asks of one device: bytes to read, operations, bytes to exchange.

Pure counting, no time: the same numbers for every accelerator and engine. Seconds are made of
them in `step`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from plimsoll.facts.network import Layer, Mixer, Network
from plimsoll.facts.parameters import feed_forward_weights, mixer_weights
from plimsoll.plan.deployment import Deployment, Split

EXCHANGED_BYTES = 2  # bytes per element of activations between devices: bf16 in every engine
HEAD_BYTES = 2  # engines keep the output head at 16 bits
# Matrix products of one layer, one kernel after the other.
_PRODUCTS = {"attention": 2, "latent": 5, "recurrent": 3, "none": 0}
_INDEXER_PRODUCTS = 3
_FEED_FORWARD_PRODUCTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is in one step, over the whole replica.

    prefill        prompt tokens computed in this step
    prefill_seen   tokens in the cache before them, on average per prompt token: half of the
                   chunk itself included (attention is causal)
    decodes        requests that get one token each
    context        tokens in the cache of a decoding request, on average
    """

    prefill: float = 0.0
    prefill_seen: float = 0.0
    decodes: float = 0.0
    context: float = 0.0

    @property
    def tokens(self) -> float:
        """Tokens that pass the network."""
        return self.prefill + self.decodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of one step on one device of a replica.

    dense_bytes      weights read beside experts: layers and output head
    expert_bytes     weights read of the experts that any token of the step passes, on the device
                     that most of them meet
    dense_flops      operations of matrices beside experts
    expert_flops     operations of experts
    expert_traffic   bytes of activations to, between and from the matrices of experts
    prefill_flops    operations of attention over prompts
    prefill_bytes    keys and values read for prompts
    decode_flops     operations of attention for decoding requests
    decode_bytes     keys, values and states read for decoding requests
    exchanged        bytes that the device sends for tensor parallelism, and receives
    routed           bytes that the device sends to the experts' devices, and receives
    handed           bytes that a pipeline stage hands to the next
    reductions       exchanges for tensor parallelism, one after the other
    routings         exchanges with the experts' devices, one after the other
    products         products of matrices beside experts, one after the other
    layers           layers that the device runs
    attention_layers layers with plain attention among them
    latent_layers    layers with latent attention among them
    indexed_layers   layers with a sparse indexer among them
    mixture_layers   layers with experts among them
    recurrent_layers layers with a recurrent state among them
    tokens           tokens of the step on this device
    sequences        decoding requests on this device
    """

    dense_bytes: float
    expert_bytes: float
    dense_flops: float
    expert_flops: float
    expert_traffic: float
    prefill_flops: float
    prefill_bytes: float
    decode_flops: float
    decode_bytes: float
    exchanged: float
    routed: float
    handed: float
    reductions: float
    routings: float
    products: float
    layers: float
    attention_layers: float
    latent_layers: float
    indexed_layers: float
    mixture_layers: float
    recurrent_layers: float
    tokens: float
    sequences: float


def touched(experts: int, used: int, tokens: float) -> float:
    """Experts that at least one of `tokens` passes, each choosing `used` at random."""
    if not experts:
        return 0.0
    return float(experts * (1.0 - (1.0 - used / experts) ** tokens))


def crowded(experts: int, used: int, tokens: float, groups: int) -> float:
    """Experts touched on the device that most of them meet, of `groups` that share them.

    Each choice falls on a device at random; the fullest of `groups` lies about
    sqrt(2 ln groups) standard deviations over the mean.
    """
    share = touched(experts, used, tokens) / experts
    here = experts / groups
    spread = math.sqrt(2.0 * math.log(groups) * here * share * (1.0 - share))
    return min(here, here * share + spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One kind of layer on one device: what every step of it multiplies with its batch."""

    mixer: Mixer
    count: float
    experts: int
    used: int
    groups: int
    expert_bytes: float
    expert_flops: float
    expert_traffic: float
    kept: float
    prefill_width: float
    decode_width: float
    state: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """One device's share of a network: the sums that do not depend on the batch."""

    kinds: tuple[_Kind, ...]
    fixed: dict[str, float]
    weights: float
    head: float
    exchanged: float
    routed: float


@lru_cache(maxsize=4096)
def _share(network: Network, split: Split, expert: float, cache: float) -> _Share:
    """The share of one device; `expert` and `cache` are bytes per element."""
    fixed = dict.fromkeys(
        ("reductions", "routings", "products", "layers", "attention_layers", "latent_layers",
         "indexed_layers", "mixture_layers", "recurrent_layers"), 0.0
    )  # fmt: skip
    weights = exchanged = routed = 0.0
    kinds = []
    for layer in network.layers:
        kind = _kind(network, layer, split, expert, cache)
        kinds.append(kind)
        n, mixer, part = kind.count, layer.mixer, layer.feed_forward
        mixing = mixer_weights(network.hidden, mixer)
        feeding = feed_forward_weights(network.hidden, part)
        held = mixing.by_head / min(split.tensor, max(1, mixer.kv_heads))
        divided = (mixing.divided + feeding.divided) / split.tensor
        weights += n * (divided + held + mixing.whole + feeding.whole)
        _count(fixed, layer, n)
        if split.tensor > 1:
            # One exchange after the mixer, one after the feed-forward part, where there is one.
            parts = (mixer.kind != "none") + bool(feeding.divided or feeding.experts)
            fixed["reductions"] += n * parts
            ring = 2 * (split.tensor - 1) / split.tensor
            exchanged += n * parts * network.hidden * EXCHANGED_BYTES * ring
        if split.data > 1 and part.experts_used:
            fixed["routings"] += 2 * n
            reach = min(part.experts_used, split.devices)
            routed += n * 2 / split.tensor * reach * network.hidden * EXCHANGED_BYTES
    head = network.vocab * network.hidden / split.tensor / split.pipeline
    return _Share(
        kinds=tuple(kinds), fixed=fixed, weights=weights, head=head, exchanged=exchanged,
        routed=routed,
    )  # fmt: skip


def _count(fixed: dict[str, float], layer: Layer, n: float) -> None:
    """Adds what `n` layers of a kind have one after the other."""
    mixer, part = layer.mixer, layer.feed_forward
    products = _PRODUCTS[mixer.kind] + _INDEXER_PRODUCTS * (mixer.index_dim > 0)
    products += _FEED_FORWARD_PRODUCTS * ((part.width > 0) + (part.shared_width > 0))
    fixed["products"] += n * (products + (part.experts > 0))
    fixed["layers"] += n
    fixed["attention_layers"] += n * (mixer.kind == "attention")
    fixed["latent_layers"] += n * (mixer.kind == "latent")
    fixed["indexed_layers"] += n * (mixer.index_dim > 0)
    fixed["mixture_layers"] += n * (part.experts > 0)
    fixed["recurrent_layers"] += n * (mixer.kind == "recurrent")


def _kind(network: Network, layer: Layer, split: Split, expert: float, cache: float) -> _Kind:
    mixer, part = layer.mixer, layer.feed_forward
    devices = split.tensor * split.data
    weights = feed_forward_weights(network.hidden, part)
    groups = min(devices, max(1, split.expert), part.experts or 1)
    cut = devices / groups  # devices that share each expert
    kept = mixer.kept_elements * cache
    if mixer.kind == "attention":
        kept /= min(split.tensor, max(1, mixer.kv_heads))
    kept /= max(1, mixer.compression)
    wide = float(mixer.key_dim + mixer.value_dim)
    # Decoding with latent attention multiplies with the compressed vectors themselves.
    latent = 2.0 * mixer.kv_rank + mixer.rope_dim
    passing = 2 * 2 * (part.expert_input or network.hidden)
    return _Kind(
        mixer=mixer,
        count=layer.count / split.pipeline,
        experts=part.experts,
        used=part.experts_used,
        groups=groups,
        expert_bytes=expert * weights.experts / max(1, part.experts) / cut,
        expert_flops=2.0 * weights.active / devices,
        expert_traffic=part.experts_used / groups * (passing + 6 * part.expert_width / cut),
        kept=kept,
        prefill_width=2 * mixer.heads / split.tensor * wide,
        decode_width=2 * mixer.heads / split.tensor * (latent if mixer.kind == "latent" else wide),
        state=mixer.state * mixer.state_bytes / split.tensor,
    )


def work(
    deployment: Deployment, batch: Batch, bits: Callable[[str], float], *, head_tokens: float = 0.0
) -> Work:
    """The work of one step.

    bits         bits per element of a number format, scales included
    head_tokens  tokens for which the output head is computed; 0: one per decode and prompt
    """
    split, formats = deployment.split, deployment.formats
    weight, expert, cache = bits(formats.weights), bits(formats.experts), bits(formats.cache)
    share = _share(deployment.network, split, expert / 8, cache / 8)
    here = batch.tokens / split.data  # attention and dense layers see their own part of the batch
    counted = head_tokens or batch.decodes + (batch.prefill > 0)
    sums = dict.fromkeys(
        ("expert_bytes", "expert_flops", "expert_traffic", "prefill_flops", "prefill_bytes",
         "decode_flops", "decode_bytes"), 0.0
    )  # fmt: skip
    for kind in share.kinds:
        if kind.experts:
            _experts(sums, kind, batch.tokens)
        _attention(sums, kind, batch, split.data)
    return Work(
        dense_bytes=share.weights * weight / 8 + share.head * HEAD_BYTES,
        dense_flops=2 * share.weights * here + 2 * share.head * counted / split.data,
        exchanged=share.exchanged * here,
        routed=share.routed * here,
        handed=here * deployment.network.hidden * EXCHANGED_BYTES if split.pipeline > 1 else 0.0,
        tokens=here,
        sequences=batch.decodes / split.data,
        **sums,
        **share.fixed,
    )


def _experts(sums: dict[str, float], kind: _Kind, tokens: float) -> None:
    met = crowded(kind.experts, kind.used, tokens, kind.groups)
    sums["expert_bytes"] += kind.count * kind.expert_bytes * met
    sums["expert_flops"] += kind.count * kind.expert_flops * tokens
    sums["expert_traffic"] += kind.count * kind.expert_traffic * tokens


def _attention(sums: dict[str, float], kind: _Kind, batch: Batch, data: int) -> None:
    """Attention and states of the layers of a kind on one device."""
    mixer = kind.mixer
    prefill, decodes = batch.prefill / data, batch.decodes / data
    if mixer.kind == "recurrent":
        sums["decode_bytes"] += kind.count * 2 * decodes * kind.state  # read and written
        return
    if mixer.kind == "none":
        return
    seen, context = _reach(mixer, batch.prefill_seen), _reach(mixer, batch.context)
    sums["prefill_flops"] += kind.count * prefill * seen * kind.prefill_width
    if prefill:
        sums["prefill_bytes"] += kind.count * seen * kind.kept
    sums["decode_flops"] += kind.count * decodes * context * kind.decode_width
    sums["decode_bytes"] += kind.count * decodes * context * kind.kept
    if mixer.index_dim:
        # The indexer looks at every token before it, one byte and a scale per element.
        every = batch.context / max(1, mixer.compression)
        sums["decode_bytes"] += kind.count * decodes * every * (mixer.index_dim + 4)
        width = 2 * mixer.index_heads * mixer.index_dim / max(1, mixer.compression)
        sums["prefill_flops"] += kind.count * prefill * batch.prefill_seen * width


def _reach(mixer: Mixer, context: float) -> float:
    """Tokens that one token looks back at, of `context` in the cache."""
    if mixer.window and not mixer.top:
        context = min(context, mixer.window)
    if mixer.top:
        context = min(context, mixer.top * max(1, mixer.compression) + mixer.window)
    if mixer.chunk:
        context = min(context, mixer.chunk / 2 if context > mixer.chunk else context)
    return context
