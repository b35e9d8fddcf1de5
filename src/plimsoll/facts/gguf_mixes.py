"""What a GGUF file of a known model would be like, before its header was read: an estimate."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from functools import cache
from math import ceil

import msgspec

from plimsoll.facts.network import Layer, Network
from plimsoll.facts.parameters import parameters
from plimsoll.facts.shape import Attention, ModelShape, Tensor
from plimsoll.facts.table import csv_rows

USUAL = "q4_k_m"  # what most GGUF files of chat models are


class GgufMix(msgspec.Struct, frozen=True, kw_only=True):
    """A mix of element types, under the name that files and fleet files give it.

    name    such as `q4_k_m`
    bits    per weight, over the whole file
    source  where it is written
    date    when it was read
    """

    name: str
    bits: float
    source: str
    date: dt.date


@cache
def gguf_mixes() -> Mapping[str, GgufMix]:
    """Every mix that is known, by name."""
    return {row.name: row for row in csv_rows("gguf_mixes.csv", GgufMix)}


def mix_of(file: str) -> str:
    """The mix that a file's name says, such as `q4_k_m` of `qwen2.5-3b-q4_k_m.gguf`; else USUAL."""
    words = re.split(r"[^a-z0-9_]+", file.lower())
    return next((word for word in words if word in gguf_mixes()), USUAL)


def estimated_shape(network: Network, mix: str) -> ModelShape:
    """The shape of a GGUF file of a network in a mix, as far as memory depends on it.

    Raises KeyError for a mix that is not known.
    """
    bits = gguf_mixes()[mix].bits
    widest = max((layer.feed_forward.width for layer in network.layers), default=0)
    experts = [layer.feed_forward for layer in network.layers if layer.feed_forward.experts]
    stored = ceil(parameters(network) * bits / 8)
    return ModelShape(
        architecture=network.architecture,
        format="gguf",
        hidden=network.hidden,
        attention=tuple(_attention(network)),
        ffn=widest,
        vocab=network.vocab,
        merges=0,
        context_train=network.context,
        experts=max((part.experts for part in experts), default=0),
        experts_used=max((part.experts_used for part in experts), default=0),
        expert_ffn=max((part.expert_width for part in experts), default=0),
        state_bytes=sum(
            layer.count * layer.mixer.state * layer.mixer.state_bytes for layer in network.layers
        ),
        causal=True,
        pooling="mean" if network.embedding else "",
        tensors=(Tensor(name="estimated", type=mix, shape=(parameters(network),), bytes=stored),),
        file_bytes=stored,
        tokenizer=True,
        chat_template=True,
        parts=1,
    )


def _attention(network: Network) -> Iterator[Attention]:
    for layer in network.layers:
        yield from [_layer_attention(layer)] * layer.count


def _layer_attention(layer: Layer) -> Attention:
    mixer = layer.mixer
    latent = mixer.kind == "latent"
    return Attention(
        heads=mixer.heads,
        kv_heads=1 if latent else mixer.kv_heads,
        key_dim=mixer.kv_rank + mixer.rope_dim if latent else mixer.key_dim,
        value_dim=0 if latent else mixer.value_dim,
        window=mixer.window,
        cached=mixer.cached,
    )
