"""Mixers that keep a state of fixed size: Mamba, linear attention, short convolutions.

States are what engines keep: the state proper and the convolution's last inputs.
"""

from __future__ import annotations

from plimsoll.facts.config.fields import Fields
from plimsoll.facts.network import Mixer

_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}


def _state_bytes(fields: Fields) -> int:
    """Bytes of one element, 4 where the configuration does not say."""
    said = fields.text("mamba_ssm_dtype") or fields.text("mamba_ssm_cache_dtype")
    return _WIDTHS.get(said, 4)


def _recurrent(fields: Fields, *, heads: int, state: int, parameters: int) -> Mixer:
    return Mixer(
        kind="recurrent",
        heads=heads,
        state=state,
        state_bytes=_state_bytes(fields),
        parameters=parameters,
    )


def mamba(fields: Fields) -> Mixer:
    """Mamba 2 where the state has heads, Mamba 1 where it has none. Raises FormatError."""
    hidden, size = fields.count("hidden"), fields.count("state_size")
    kernel = fields.count("convolution", 4)
    expanded = int(hidden * (fields.factor("state_expand") or 2.0))
    heads = fields.count("state_heads", 0)
    if not heads and fields.model_type == "mamba2":
        heads = expanded // max(1, fields.count("head_dim"))
    if not heads:
        if fields.raw("heads") is None:  # without other parts it says the width itself
            expanded = fields.count("width", expanded)
        return _mamba_1(fields, fields.count("state_inner", expanded), size, kernel)
    head_dim = fields.count("state_head_dim", expanded // heads)
    inner = heads * head_dim
    convolved = inner + 2 * fields.count("state_groups", 1) * size
    return _recurrent(
        fields,
        heads=heads,
        state=inner * size + convolved * max(0, kernel - 1),
        parameters=hidden * (inner + convolved + heads)
        + convolved * kernel
        + inner * hidden
        + inner,
    )


def _mamba_1(fields: Fields, inner: int, size: int, kernel: int) -> Mixer:
    hidden = fields.count("hidden")
    said = fields.raw("state_rank")
    rank = -(-hidden // 16) if said in (None, "auto") else fields.count("state_rank")
    return _recurrent(
        fields,
        heads=0,
        state=inner * (size + max(0, kernel - 1)),
        parameters=2 * hidden * inner
        + inner * (kernel + rank + 2 * size)
        + rank * inner
        + inner * (size + 2)
        + inner * hidden,
    )


def linear(fields: Fields) -> Mixer:
    """Linear attention: gated delta rule (Qwen3-Next), Kimi's, or MiniMax's lightning attention.

    Raises FormatError.
    """
    if fields.raw("linear_key_heads") is not None:
        return _gated_delta(fields)
    if fields.raw("delta_heads") is not None:
        return _kimi_delta(fields)
    return _lightning(fields)


def _gated_delta(fields: Fields) -> Mixer:
    hidden, kernel = fields.count("hidden"), fields.count("convolution", 4)
    heads = fields.count("linear_value_heads")
    key_dim, value_dim = fields.count("linear_key_dim"), fields.count("linear_value_dim")
    keys, values = fields.count("linear_key_heads") * key_dim, heads * value_dim
    convolved = 2 * keys + values
    return _recurrent(
        fields,
        heads=heads,
        state=heads * key_dim * value_dim + convolved * max(0, kernel - 1),
        parameters=hidden * (2 * keys + 2 * values + 2 * heads)
        + convolved * kernel
        + values * hidden,
    )


def _kimi_delta(fields: Fields) -> Mixer:
    hidden, kernel = fields.count("hidden"), fields.count("convolution", 4)
    heads, dim = fields.count("delta_heads"), fields.count("delta_dim")
    wide = heads * dim
    part = fields.raw("linear_attn_config")
    full_gate = isinstance(part, dict) and part.get("use_full_rank_gate") is True
    low_rank = hidden * dim + dim * wide
    gates = low_rank + (hidden * wide if full_gate else low_rank)
    return _recurrent(
        fields,
        heads=heads,
        state=wide * dim + 3 * wide * max(0, kernel - 1),
        parameters=4 * hidden * wide + gates + hidden * heads + 3 * wide * kernel,
    )


def _lightning(fields: Fields) -> Mixer:
    hidden, heads = fields.count("hidden"), fields.count("heads")
    dim = fields.count("head_dim", hidden // max(1, heads))
    return _recurrent(
        fields,
        heads=heads,
        state=heads * dim * dim,
        parameters=5 * hidden * heads * dim + heads * dim,
    )


def convolution(fields: Fields) -> Mixer:
    """The gated short convolution of LFM2. Raises FormatError."""
    hidden, kernel = fields.count("hidden"), fields.count("convolution", 3)
    return _recurrent(
        fields,
        heads=0,
        state=hidden * max(0, kernel - 1),
        parameters=4 * hidden * hidden + hidden * kernel,
    )
