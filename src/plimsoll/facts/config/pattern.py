"""What each layer of a model is, in words: how it mixes tokens and what follows the mixer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from plimsoll.errors import FormatError
from plimsoll.facts.config.fields import MOST_LAYERS, Fields

MixerWord = Literal["full", "sliding", "chunked", "linear", "mamba", "conv", "none"]
PartWord = Literal["dense", "experts", "none"]
Word = TypeVar("Word")

# The words of `layer_types` and `layers_block_type`; one that is missing here is an error.
_MIXERS: dict[str, MixerWord] = {
    "full_attention": "full", "attention": "full", "global": "full", "full": "full",
    "compressed_sparse_attention": "full", "heavily_compressed_attention": "full",
    "deepseek_sparse_attention": "full", "sparse": "full", "hybrid": "full",
    "sliding_attention": "sliding", "local": "sliding", "sliding": "sliding",
    "chunked_attention": "chunked", "linear_attention": "linear", "kda": "linear",
    "mamba": "mamba", "mamba2": "mamba", "conv": "conv", "short_conv": "conv",
    "moe": "none", "mlp": "none",
}  # fmt: skip
_PATTERN: dict[str, tuple[MixerWord, PartWord]] = {
    "M": ("mamba", "none"), "*": ("full", "none"), "-": ("none", "dense"), "E": ("none", "experts"),
}  # fmt: skip
_BLOCKS: dict[str, tuple[MixerWord, PartWord]] = {
    "mamba": ("mamba", "none"), "attention": ("full", "none"), "mlp": ("none", "dense"),
    "moe": ("none", "experts"),
}  # fmt: skip


def layer_words(fields: Fields) -> tuple[tuple[MixerWord, PartWord], ...]:
    """For each layer, how it mixes and what follows. Raises FormatError."""
    alone = _parts_alone(fields)
    if alone:
        return alone
    layers = fields.count("layers")
    if not 0 < layers <= MOST_LAYERS:
        raise fields.wrong("layers")
    return tuple(zip(_mixers(fields, layers), _parts(fields, layers), strict=True))


def _parts_alone(fields: Fields) -> tuple[tuple[MixerWord, PartWord], ...]:
    """Models whose layers are a mixer or a feed-forward part, never both."""
    pattern = fields.text("hybrid_override_pattern")
    blocks = fields.words("layers_block_type") if "moe" in fields.words("layers_block_type") else ()
    if len(pattern) > MOST_LAYERS or len(blocks) > MOST_LAYERS:
        raise fields.wrong("hybrid_override_pattern" if pattern else "layers_block_type")
    if pattern:
        return tuple(_known(fields, "hybrid_override_pattern", _PATTERN, mark) for mark in pattern)
    return tuple(_known(fields, "layers_block_type", _BLOCKS, word) for word in blocks)


def _known(fields: Fields, name: str, known: dict[str, Word], word: str) -> Word:
    if word not in known:
        raise FormatError(
            f"`{name}` holds `{word[:40]}`, which is not a kind of layer known here",
            where=fields.where, hint=f"known: {', '.join(known)}",
        )  # fmt: skip
    return known[word]


def _mixers(fields: Fields, layers: int) -> tuple[MixerWord, ...]:
    for rule in _RULES:
        words = rule(fields, layers)
        if words and len(words) < layers:
            raise FormatError(
                f"the kinds of {len(words)} layers are given, the model has {layers}",
                where=fields.where,
            )
        if words:
            return tuple(words[:layers])
    full: tuple[MixerWord, ...] = ("full",)
    return full * layers


def _by_types(fields: Fields, _: int) -> Sequence[MixerWord]:
    for name in ("layer_types", "layers_block_type"):
        words = fields.words(name)[:MOST_LAYERS]
        if words:
            return [_known(fields, name, _MIXERS, word) for word in words]
    return ()


def _by_numbers(fields: Fields, _: int) -> Sequence[MixerWord]:
    """Lists of 0 and 1: MiMo-V2 (1 slides), MiniMax-01 (0 is linear)."""
    slides, full = fields.numbers("hybrid_layer_pattern"), fields.numbers("attn_type_list")
    if slides:
        return ["sliding" if number else "full" for number in slides]
    return ["full" if number else "linear" for number in full]


def _by_indices(fields: Fields, layers: int) -> Sequence[MixerWord]:
    """The attention layers named among recurrent ones: Kimi-Linear (from 1), Bamba (from 0)."""
    linear = fields.raw("linear_attn_config")
    full = linear.get("full_attn_layers") if isinstance(linear, dict) else None
    if isinstance(full, list):
        return ["full" if layer + 1 in full else "linear" for layer in range(layers)]
    named = fields.numbers("attn_layer_indices")
    return ["full" if layer in named else "mamba" for layer in range(layers)] if named else ()


def _by_period(fields: Fields, layers: int) -> Sequence[MixerWord]:
    """One full layer in every so many: Jamba, Qwen3-Next."""
    period = fields.count("attn_layer_period", 0)
    if period:
        offset = fields.count("attn_layer_offset", 0)
        return ["full" if layer % period == offset else "mamba" for layer in range(layers)]
    period = fields.count("full_attention_interval", 0)
    return ["linear" if (layer + 1) % period else "full" for layer in range(layers)] \
        if period else ()  # fmt: skip


def _by_state(fields: Fields, layers: int) -> Sequence[MixerWord]:
    """A model without attention heads and with a recurrent state: Mamba."""
    pure = fields.raw("heads") is None and fields.raw("state_size") is not None
    return ["mamba"] * layers if pure else ()


def _by_chunk(fields: Fields, layers: int) -> Sequence[MixerWord]:
    """Llama 4: layers with rotation look back in chunks, the others see everything."""
    if not fields.count("chunk", 0):
        return ()
    rotated, interval = fields.numbers("no_rope_layers"), fields.count("no_rope_layer_interval", 0)
    if rotated:
        return ["chunked" if number else "full" for number in rotated]
    if interval:
        return ["chunked" if (layer + 1) % interval else "full" for layer in range(layers)]
    return ["chunked"] * layers


def _by_window(fields: Fields, layers: int) -> Sequence[MixerWord]:
    """A sliding window over all layers, or over all but one in every so many."""
    window, context = fields.count("window", 0), fields.count("context", 0)
    if not window or fields.raw("use_sliding_window") is False or (context and window >= context):
        return ()
    every = fields.count("global_attn_every_n_layers", 0)
    if every:
        return ["sliding" if layer % every else "full" for layer in range(layers)]
    pattern = fields.raw("sliding_window_pattern")
    if isinstance(pattern, str) and pattern:
        return ["sliding" if pattern[n % len(pattern)] == "L" else "full" for n in range(layers)]
    period = fields.count("sliding_window_pattern", fields.count("_sliding_window_pattern", 0))
    if period:
        return ["sliding" if (layer + 1) % period else "full" for layer in range(layers)]
    first = fields.count("max_window_layers", 0)
    return ["full" if layer < first else "sliding" for layer in range(layers)]


_RULES: tuple[Callable[[Fields, int], Sequence[MixerWord]], ...] = (
    _by_types, _by_numbers, _by_indices, _by_period, _by_state, _by_chunk, _by_window,
)  # fmt: skip


def _parts(fields: Fields, layers: int) -> tuple[PartWord, ...]:
    """Which layers choose among experts."""
    if not any(fields.of_text("experts", layers, 0)):
        return ("none" if fields.raw("heads") is None else "dense",) * layers  # Mamba has none
    sparse = _sparse(fields, layers)
    return tuple("experts" if sparse(layer) else "dense" for layer in range(layers))


def _sparse(fields: Fields, layers: int) -> Callable[[int], bool]:
    """Whether the layer of a number has experts, from 0."""
    words = fields.words("mlp_layer_types")
    marks = fields.numbers("moe_layer_freq")
    named = fields.numbers("moe_layers") or _numbers_in(fields.text("moe_layers_enum"))
    if len(words) >= layers:
        return lambda layer: words[layer] == "sparse"
    if len(marks) >= layers:
        return lambda layer: bool(marks[layer])
    if named:
        return lambda layer: layer in named
    step = _step(fields)
    first = fields.count("first_dense", _least(fields, "moe_layer_start_index"))
    last = _least(fields, "moe_layer_end_index") or layers
    dense = fields.numbers("mlp_only_layers")
    period, offset = fields.count("expert_layer_period", 0), fields.count("expert_layer_offset", 0)
    if period:
        return lambda layer: layer % period == offset
    return lambda layer: (
        first <= layer <= last
        and layer not in dense
        and _on_step(fields, layer, step)
    )  # fmt: skip


def _step(fields: Fields) -> int:
    names = ("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval")
    said = next((name for name in names if fields.raw(name) is not None), "moe_layer_freq")
    return max(1, fields.count(said, 1)) if not isinstance(fields.raw(said), list) else 1


def _on_step(fields: Fields, layer: int, step: int) -> bool:
    """DeepSeek counts layers from 0, the others from 1."""
    return layer % step == 0 if "moe_layer_freq" in fields.said else (layer + 1) % step == 0


def _least(fields: Fields, name: str) -> int:
    """A number, or the least of a list (ERNIE has one for text and one for images)."""
    return min(fields.numbers(name), default=0) if isinstance(fields.raw(name), list) \
        else fields.count(name, 0)  # fmt: skip


def _numbers_in(text: str) -> tuple[int, ...]:
    """The numbers of `3,4,5`; none where it is not such a list."""
    parts = text.split(",") if len(text) < 10 * MOST_LAYERS else []
    return tuple(int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 6)
