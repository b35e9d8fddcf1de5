"""The shape of a model: all that planning needs to know of it, whatever file format it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One stored tensor.

    name   as the file names it
    type   element type as the file names it, in lower case: `q4_0`, `bf16`
    shape  elements per dimension, in the file's order
    bytes  what it takes in the file
    """

    name: str
    type: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The attention of one layer.

    heads      query heads
    kv_heads   heads of keys and values; 0 where the layer keeps none (recurrent layers)
    key_dim    elements of one key
    value_dim  elements of one value; 0 where values are derived from the cached keys (MLA)
    window     tokens that a sliding layer looks back; 0 where it sees the whole context
    cached     whether the layer keeps keys and values of its own (some reuse another layer's)
    """

    heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    window: int = 0
    cached: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """One model.

    architecture     the word in its file: `llama`, `gemma3`, `qwen2`
    format           `gguf` or `safetensors`
    hidden           width of the residual stream, elements
    attention        one entry per layer
    ffn              width of the widest dense feed-forward layer, elements; 0 where there is none
    vocab            tokens
    merges           byte-pair merges of the tokenizer
    context_train    tokens it was trained for; 0 where the file does not say
    experts          experts per layer; 0 for dense models
    experts_used     experts that one token passes through
    expert_ffn       width of one expert, elements
    state_bytes      recurrent state of one sequence, bytes
    causal           False for encoders, which need a whole input in one batch
    pooling          how token vectors are joined into one: `mean`, `cls`, `last`, `rank`; empty
                     where the file does not say
    tensors          all of them
    file_bytes       size of all its files
    tokenizer        whether the tokenizer is in the files
    chat_template    whether a chat template is in the files
    parts            number of files the weights are split into
    """

    architecture: str
    format: str
    hidden: int
    attention: tuple[Attention, ...]
    ffn: int
    vocab: int
    merges: int
    context_train: int
    experts: int
    experts_used: int
    expert_ffn: int
    state_bytes: int
    causal: bool
    pooling: str
    tensors: tuple[Tensor, ...]
    file_bytes: int
    tokenizer: bool
    chat_template: bool
    parts: int

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.attention)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors as stored."""
        return sum(tensor.bytes for tensor in self.tensors)

    def bytes_by_type(self) -> Mapping[str, int]:
        """Stored bytes of each element type, largest first."""
        totals: dict[str, int] = {}
        for tensor in self.tensors:
            totals[tensor.type] = totals.get(tensor.type, 0) + tensor.bytes
        return dict(sorted(totals.items(), key=lambda item: -item[1]))
