"""Reads `config.json` and the headers of safetensors files into a ModelShape."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import msgspec

from plimsoll.errors import FormatError
from plimsoll.facts.formats import safetensors_dtypes
from plimsoll.facts.readable import Readable
from plimsoll.facts.shape import Attention, ModelShape, Tensor

LARGEST_HEADER = 100_000_000  # bytes; the limit of the safetensors library itself
_MOST_LAYERS = 4096
_LARGEST = 1 << 48


def read_safetensors(
    config: bytes, *files: Readable, tokenizer: bool = False, chat_template: bool = False
) -> ModelShape:
    """The shape of a Hugging Face model folder.

    config         content of `config.json`
    files          its safetensors files
    tokenizer      whether the folder has a tokenizer
    chat_template  whether its tokenizer has a chat template

    Raises FormatError for files that are broken, truncated or no safetensors.
    """
    said = _Config(config)
    attention = _attention(said)
    tensors = tuple(tensor for file in files for tensor in _tensors(file))
    if not tensors:
        raise FormatError("the folder has no tensors", where="config.json")
    experts = said.first("num_local_experts", "n_routed_experts", "num_experts", default=0)
    return ModelShape(
        architecture=said.text("model_type"),
        format="safetensors",
        hidden=said.first("hidden_size", "n_embd", "d_model"),
        attention=attention,
        ffn=said.first("intermediate_size", "n_inner", "ffn_dim", default=0),
        vocab=said.first("vocab_size"),
        merges=0,
        context_train=said.first("max_position_embeddings", "n_positions", default=0),
        experts=experts,
        experts_used=said.first("num_experts_per_tok", default=0),
        expert_ffn=said.first("moe_intermediate_size", default=0),
        state_bytes=0,
        causal=True,
        pooling="",
        tensors=tensors,
        file_bytes=sum(file.size for file in files),
        tokenizer=tokenizer,
        chat_template=chat_template,
        parts=len(files),
    )


class _Config:
    """The numbers of `config.json`, of its text part where the model has others."""

    def __init__(self, content: bytes) -> None:
        whole = _json_object(content, "config.json")
        part = whole.get("text_config")
        self._said = {**whole, **part} if isinstance(part, dict) else whole

    def text(self, key: str) -> str:
        """A string. Raises FormatError."""
        value = self._said.get(key)
        if not isinstance(value, str):
            raise FormatError(f"`{key}` is missing", where="config.json")
        return value

    def get(self, key: str) -> Any:
        """Whatever stands there, or None."""
        return self._said.get(key)

    def first(self, *keys: str, default: int | None = None) -> int:
        """The first of several names that is there, as a whole number. Raises FormatError."""
        value = next((self._said[key] for key in keys if self._said.get(key) is not None), default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
            raise FormatError(f"`{keys[0]}` is missing or makes no sense", where="config.json")
        return value


def _attention(said: _Config) -> tuple[Attention, ...]:
    layers = said.first("num_hidden_layers", "n_layer")
    if not 0 < layers <= _MOST_LAYERS:
        raise FormatError(f"{layers:,} layers make no sense", where="config.json")
    heads = said.first("num_attention_heads", "n_head")
    head_dim = said.first(
        "head_dim", default=said.first("hidden_size", "n_embd", "d_model") // max(1, heads)
    )
    kv_heads, value_dim = said.first("num_key_value_heads", default=heads), head_dim
    latent = said.first("kv_lora_rank", default=0)
    if latent:
        kv_heads, value_dim = 1, 0
        head_dim = latent + said.first("qk_rope_head_dim", default=0)
    windows = _windows(said, layers)
    return tuple(
        Attention(
            heads=heads, kv_heads=kv_heads, key_dim=head_dim, value_dim=value_dim, window=window
        )
        for window in windows
    )


def _windows(said: _Config, layers: int) -> tuple[int, ...]:
    """The sliding window of each layer: what `layer_types` says, or the window for all."""
    window = said.first("sliding_window", default=0)
    if not window or said.get("use_sliding_window") is False:
        return (0,) * layers
    kinds = said.get("layer_types")
    if isinstance(kinds, list) and len(kinds) >= layers:
        return tuple(window if kind == "sliding_attention" else 0 for kind in kinds[:layers])
    period = said.first("sliding_window_pattern", default=0)
    if period:
        return tuple(0 if (layer + 1) % period == 0 else window for layer in range(layers))
    return (window,) * layers


def _tensors(file: Readable) -> list[Tensor]:
    """The tensors of one safetensors file. Raises FormatError."""
    length = int.from_bytes(file.read(0, 8), "little")
    if file.size < 8 or length > min(LARGEST_HEADER, file.size - 8):
        raise FormatError(
            "the file is no safetensors file, or is truncated", where=file.name,
            hint="fetch it again", code="model.truncated",
        )  # fmt: skip
    header = _json_object(file.read(8, length), file.name)
    header.pop("__metadata__", None)
    return [_tensor(file, 8 + length, name, entry) for name, entry in header.items()]


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def _tensor(file: Readable, start: int, name: str, entry: object) -> Tensor:
    try:
        said = msgspec.convert(entry, type=_Entry)
    except msgspec.ValidationError as error:
        raise FormatError(f"tensor `{name[:80]}`: {error}", where=file.name) from error
    dtype = safetensors_dtypes().get(said.dtype)
    if dtype is None:
        raise FormatError(f"tensor `{name[:80]}` has the unknown type `{said.dtype[:20]}`",
                          where=file.name)  # fmt: skip
    begin, end = said.data_offsets
    if min(said.shape, default=0) < 0 or prod(said.shape) * dtype.bits != 8 * (end - begin):
        raise FormatError(f"tensor `{name[:80]}` does not fill its {end - begin:,} bytes",
                          where=file.name)  # fmt: skip
    if begin < 0 or start + end > file.size:
        raise FormatError(
            f"the file is truncated: tensor `{name[:80]}` ends at byte {start + end:,} of "
            f"{file.size:,}",
            where=file.name,
            hint="fetch it again",
            code="model.truncated",
        )
    return Tensor(name=name, type=said.dtype.lower(), shape=said.shape, bytes=end - begin)


def _json_object(content: bytes, where: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(f"not a JSON object: {error}", where=where) from error


def index_files(index: bytes) -> tuple[str, ...]:
    """The files that a `model.safetensors.index.json` names, in order. Raises FormatError."""
    weights: object = _json_object(index, "model.safetensors.index.json").get("weight_map")
    if not isinstance(weights, Mapping) or not all(isinstance(n, str) for n in weights.values()):
        raise FormatError("`weight_map` is missing", where="model.safetensors.index.json")
    return tuple(sorted(set(weights.values())))
