"""What a model computes and keeps: its layers by kind, with the numbers that sizing needs.

A ModelShape says what is in a file; a Network says what an engine runs, from `config.json` alone,
so that a model can be planned before a byte of its weights is here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

MixerKind = Literal["attention", "latent", "recurrent", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixer:
    """How a layer mixes tokens.

    kind        `attention` keeps keys and values per head, `latent` one compressed vector per
                token (MLA), `recurrent` a state of fixed size (Mamba, linear attention);
                `none` where the layer does not mix
    heads       query heads
    kv_heads    heads of keys and values; 1 for `latent`
    key_dim     elements of one key; for `latent`, of a query's part that is not rotated and
                its rotated part together
    value_dim   elements of one value
    window      tokens that a sliding layer looks back; 0 where it sees the whole context
    chunk       tokens of the block that a chunked layer looks back in; 0 where it is not chunked
    gated       whether attention output passes a gate as wide as the queries
    q_rank      width of the compressed query (MLA); 0 where queries are not compressed
    kv_rank     width of the compressed keys and values (MLA)
    rope_dim    rotated elements kept beside `kv_rank` (MLA)
    index_dim   elements per token that a sparse indexer keeps; 0 without an indexer
    index_heads heads of the indexer
    top         most tokens that sparse attention reads; 0 where it reads all
    compression tokens that one kept vector stands for (DeepSeek-V4); 1 where each keeps its own;
                `top` then counts kept vectors
    cached      whether the layer keeps keys and values of its own (some reuse another layer's)
    state       elements of recurrent state of one sequence (its convolution included)
    state_bytes bytes of one element of recurrent state
    parameters  weights of the mixer where they do not follow from the numbers above (recurrent,
                DeepSeek-V4); 0 where they do
    """

    kind: MixerKind
    heads: int = 0
    kv_heads: int = 0
    key_dim: int = 0
    value_dim: int = 0
    window: int = 0
    chunk: int = 0
    gated: bool = False
    q_rank: int = 0
    kv_rank: int = 0
    rope_dim: int = 0
    index_dim: int = 0
    index_heads: int = 0
    top: int = 0
    compression: int = 1
    cached: bool = True
    state: int = 0
    state_bytes: int = 4
    parameters: int = 0

    @property
    def kept_elements(self) -> int:
        """Elements that one token keeps in the cache, over all heads, the indexer's not counted."""
        if not self.cached:
            return 0
        if self.kind == "attention":
            return self.kv_heads * (self.key_dim + self.value_dim)
        if self.kind == "latent":
            return self.kv_rank + self.rope_dim
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """What follows the mixer in a layer.

    width         of the dense network, elements; 0 where there is none
    matrices      3 with a gate (SwiGLU, GeGLU), 2 without
    experts       experts to choose from; 0 for a dense layer
    experts_used  experts that one token passes
    expert_width  of one expert, elements
    expert_input  elements that an expert reads, where a projection makes them fewer than the
                  model is wide (latent experts); 0 where it reads the residual stream
    shared_width  of the experts that every token passes, together
    """

    width: int = 0
    matrices: int = 3
    experts: int = 0
    experts_used: int = 0
    expert_width: int = 0
    expert_input: int = 0
    shared_width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One kind of layer.

    count         how many of them the model has
    mixer         how it mixes tokens
    feed_forward  what follows
    """

    count: int
    mixer: Mixer
    feed_forward: FeedForward


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One model.

    name          as its publisher writes it: `meta-llama/Llama-3.1-70B-Instruct`
    architecture  the class in `config.json`: `LlamaForCausalLM`
    hidden        width of the residual stream, elements
    vocab         tokens
    tied          whether the output head is the input embedding
    context       tokens it was trained for; 0 where that is not said
    layers        its kinds of layers, first to last where that matters
    stored        element type of its dense weights in the published files: `bf16`, `fp8`, ...
    expert_stored element type of its experts' weights in the published files
    extra         parameters beside the text model that an engine loads (vision tower, ...)
    stored_bytes  bytes of the published weights, where the headers were read; 0 where not
    embedding     whether it yields vectors, not text
    source        where this is written
    date          when it was read
    """

    name: str
    architecture: str
    hidden: int
    vocab: int
    tied: bool
    context: int
    layers: tuple[Layer, ...]
    stored: str = "bf16"
    expert_stored: str = "bf16"
    extra: int = 0
    stored_bytes: int = 0
    embedding: bool = False
    source: str = ""
    date: dt.date | None = None

    @property
    def depth(self) -> int:
        """Number of layers."""
        return sum(layer.count for layer in self.layers)

    @property
    def mixture(self) -> bool:
        """Whether any layer chooses among experts."""
        return any(layer.feed_forward.experts for layer in self.layers)
