"""Reads the header of a GGUF model, in one file or in parts, into a ModelShape."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from plimsoll.errors import FormatError
from plimsoll.facts.architectures import Architecture, architecture
from plimsoll.facts.gguf_container import Container, Counted, Value, read_container
from plimsoll.facts.readable import Readable
from plimsoll.facts.shape import Attention, ModelShape, Tensor

_PART = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf")
_MOST_LAYERS = 4096
_POOLING = {1: "mean", 2: "cls", 3: "last", 4: "rank"}  # llama.cpp's llama_pooling_type
_LARGEST = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPart:
    """The place of one file in a model that is split over several.

    stem    what the names have in common
    number  1-based
    count   of all parts
    """

    stem: str
    number: int
    count: int

    def names(self) -> tuple[str, ...]:
        """The file names of all parts, in order."""
        return tuple(
            f"{self.stem}-{number:05}-of-{self.count:05}.gguf"
            for number in range(1, self.count + 1)
        )


def split_part(name: str) -> SplitPart | None:
    """What `model-00002-of-00003.gguf` says, or None for the name of a whole model."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    number, count = int(match["number"]), int(match["count"])
    return SplitPart(stem=match["stem"], number=number, count=count) if number <= count else None


def read_gguf(*files: Readable) -> ModelShape:
    """The shape of a model from its GGUF file, or from all its parts in order.

    Raises FormatError for a file that is broken, truncated, of an architecture that llama.cpp
    does not load, not a language model, or not with all its parts.
    """
    parts = [read_container(file) for file in files]
    _check_parts(parts)
    keys = _Keys(parts[0])
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    if not tensors:
        raise FormatError(
            "the file has no tensors", where=keys.where, hint="is it only a tokenizer?"
        )
    attention = _attention(keys, tensors)
    tokens = keys.length("tokenizer.ggml.tokens")
    return ModelShape(
        architecture=keys.arch.name,
        format="gguf",
        hidden=keys.count("embedding_length"),
        attention=attention,
        ffn=max(keys.per_layer("feed_forward_length", len(attention), default=0)),
        vocab=tokens or keys.count("vocab_size", default=0),
        merges=keys.length("tokenizer.ggml.merges"),
        context_train=keys.count("context_length", default=0),
        experts=keys.count("expert_count", default=0),
        experts_used=keys.count("expert_used_count", default=0),
        expert_ffn=keys.count("expert_feed_forward_length", default=0),
        state_bytes=_state_bytes(keys, tensors, len(attention)),
        causal=bool(keys.own("attention.causal", default=True)),
        pooling=_POOLING.get(keys.count("pooling_type", default=0), ""),
        tensors=tensors,
        file_bytes=sum(part.size for part in parts),
        tokenizer=tokens > 0,
        chat_template="tokenizer.chat_template" in parts[0].metadata,
        parts=len(parts),
    )


def _check_parts(parts: Sequence[Container]) -> None:
    """All parts of one model are there, in order."""
    said = parts[0].metadata.get("split.count", 1)
    if said not in (0, len(parts)):
        raise FormatError(
            f"the model is split into {said} files, {len(parts)} given",
            where=parts[0].name,
            hint="name the first part, with the others beside it",
            code="model.parts",
        )
    for number, part in enumerate(parts):
        if part.metadata.get("split.no", number) != number:
            raise FormatError(
                f"the file is not part {number + 1} of the model", where=part.name,
                code="model.parts",
            )  # fmt: skip


class _Keys:
    """The metadata of a model, by the short names that its architecture prefixes."""

    def __init__(self, container: Container) -> None:
        self.metadata = container.metadata
        self.where = container.name
        kind = self.metadata.get("general.type", "model")
        if kind != "model":
            raise FormatError(
                f"the file holds a `{str(kind)[:40]}`, not a language model", where=self.where
            )
        name = self.metadata.get("general.architecture")
        if not isinstance(name, str):
            raise self.wrong("general.architecture")
        self.arch: Architecture = architecture(name, where=self.where)

    def wrong(self, key: str) -> FormatError:
        """The error of a key that is missing or makes no sense."""
        state = "makes no sense" if key in self.metadata else "is missing"
        return FormatError(f"`{key}` {state} in the file's metadata", where=self.where)

    def own(self, key: str, *, default: Value | None = None) -> Value | None:
        """The value of `<architecture>.<key>`."""
        return self.metadata.get(f"{self.arch.name}.{key}", default)

    def count(self, key: str, *, default: int | None = None) -> int:
        """A whole number, 0 or more; required where there is no default."""
        return self._checked(key, self.own(key, default=default))

    def _checked(self, key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
            raise self.wrong(f"{self.arch.name}.{key}")
        return value

    def per_layer(self, key: str, layers: int, *, default: int | None = None) -> tuple[int, ...]:
        """One whole number per layer, where the file says one for all or one for each."""
        value = self.own(key, default=default)
        if not isinstance(value, tuple):
            return (self._checked(key, value),) * layers
        if len(value) < layers:
            raise self.wrong(f"{self.arch.name}.{key}")
        return tuple(self._checked(key, item) for item in value[:layers])

    def length(self, key: str) -> int:
        """The number of elements of an array; 0 where it is not there."""
        value = self.metadata.get(key)
        if isinstance(value, Counted):
            return value.length
        return len(value) if isinstance(value, tuple) else 0


def _attention(keys: _Keys, tensors: Sequence[Tensor]) -> tuple[Attention, ...]:
    layers = keys.count("block_count")
    if not 0 < layers <= _MOST_LAYERS:
        raise keys.wrong(f"{keys.arch.name}.block_count")
    hidden = keys.count("embedding_length")
    heads = keys.per_layer("attention.head_count", layers, default=0)
    kv_heads = keys.per_layer("attention.head_count_kv", layers, default=max(heads))
    usual = hidden // max(1, *heads)
    key_dim = keys.count("attention.key_length", default=usual)
    value_dim = keys.count("attention.value_length", default=usual)
    latent = keys.count("attention.key_length_mla", default=0) > 0
    sliding_key = keys.count("attention.key_length_swa", default=key_dim)
    sliding_value = keys.count("attention.value_length_swa", default=value_dim)
    windows = _windows(keys, layers)
    own_cache = layers - keys.count("attention.shared_kv_layers", default=0)
    recurrent = _recurrent_only(tensors)
    return tuple(
        Attention(
            heads=heads[layer],
            kv_heads=0 if layer in recurrent else kv_heads[layer],
            key_dim=sliding_key if windows[layer] else key_dim,
            value_dim=0 if latent else sliding_value if windows[layer] else value_dim,
            window=windows[layer],
            cached=layer < own_cache,
        )
        for layer in range(layers)
    )


def _windows(keys: _Keys, layers: int) -> tuple[int, ...]:
    """The sliding window of each layer, 0 for layers that see the whole context."""
    if keys.arch.whole_layer == "all":
        return (0,) * layers
    window = keys.count("attention.sliding_window", default=keys.arch.window)
    pattern = keys.own("attention.sliding_window_pattern")
    if isinstance(pattern, tuple):
        if not pattern:
            raise keys.wrong(f"{keys.arch.name}.attention.sliding_window_pattern")
        return tuple(window if pattern[layer % len(pattern)] else 0 for layer in range(layers))
    if pattern is None and keys.arch.whole_layer == "file":
        return (0,) * layers
    period = keys.count("attention.sliding_window_pattern", default=keys.arch.sliding_period)
    return tuple(window if keys.arch.slides(layer, period) else 0 for layer in range(layers))


_LAYER = re.compile(r"blk\.([0-9]{1,5})\.(.+)")
_RECURRENT = ("ssm_", "shortconv", "time_mix_")
_KEYS_OF_ATTENTION = ("attn_k", "attn_qkv")


def _layers_with(tensors: Sequence[Tensor], prefixes: tuple[str, ...]) -> frozenset[int]:
    matches = (_LAYER.fullmatch(tensor.name) for tensor in tensors)
    return frozenset(int(match[1]) for match in matches if match and match[2].startswith(prefixes))


def _recurrent_only(tensors: Sequence[Tensor]) -> frozenset[int]:
    """Layers that keep a recurrent state and no keys and values."""
    return _layers_with(tensors, _RECURRENT) - _layers_with(tensors, _KEYS_OF_ATTENTION)


def _state_bytes(keys: _Keys, tensors: Sequence[Tensor], layers: int) -> int:
    """Recurrent state of one sequence: F32, the same for every recurrent layer.

    The sizes are those of Mamba (convolution and state), LFM2 (short convolution) and RWKV
    (token shift and heads), after llama.cpp's llama-hparams.cpp.
    """
    recurrent = {layer for layer in _layers_with(tensors, _RECURRENT) if layer < layers}
    inner, state = keys.count("ssm.inner_size", default=0), keys.count("ssm.state_size", default=0)
    groups = keys.count("ssm.group_count", default=0)
    convolution = max(0, keys.count("ssm.conv_kernel", default=0) - 1)
    short = max(0, keys.count("shortconv.l_cache", default=0) - 1)
    hidden = keys.count("embedding_length")
    head = keys.count("wkv.head_size", default=0)
    shift = keys.count("token_shift_count", default=2) if head else 0
    elements = convolution * (inner + 2 * groups * state) + state * inner
    elements += short * hidden + hidden * head + shift * hidden
    return 4 * elements * len(recurrent)
