"""Models that a search has pruned block by block: `block_configs` of Nemotron-NAS (DeciLM)."""

from __future__ import annotations

from typing import Any

from plimsoll.facts.config.fields import MOST_LAYERS, Fields
from plimsoll.facts.network import FeedForward, Mixer

_MULTIPLE = 256  # to which a width given as a multiple of the model's is rounded up


def block_layers(fields: Fields) -> tuple[tuple[Mixer, FeedForward], ...]:
    """Mixer and feed-forward part of each block; empty without `block_configs`.

    Raises FormatError.
    """
    blocks = fields.raw("block_configs")
    if not isinstance(blocks, list):
        return ()
    if not 0 < len(blocks) <= MOST_LAYERS:
        raise fields.wrong("block_configs")
    if isinstance(blocks[0], dict) and "block_type" in blocks[0]:  # read with the other layers
        return ()
    layers = []
    for block in blocks:
        mixer = block.get("attention") if isinstance(block, dict) else None
        part = block.get("ffn") if isinstance(block, dict) else None
        if not isinstance(mixer, dict) or not isinstance(part, dict):
            raise fields.wrong("block_configs")
        layers.append((_mixer(fields, mixer), _part(fields, part)))
    return tuple(layers)


def _mixer(fields: Fields, said: dict[str, Any]) -> Mixer:
    hidden, heads = fields.count("hidden"), fields.count("heads")
    if said.get("no_op"):
        return Mixer(kind="none")
    if said.get("replace_with_linear"):
        return Mixer(kind="none", parameters=hidden * hidden)
    group, kv_heads = said.get("n_heads_in_group"), said.get("num_key_value_heads")
    if isinstance(group, int) and 0 < group <= heads:
        kv_heads = heads // group
    if isinstance(kv_heads, bool) or not isinstance(kv_heads, int) or not 0 < kv_heads <= heads:
        raise fields.wrong("block_configs")
    dim = fields.count("head_dim", hidden // max(1, heads))
    return Mixer(kind="attention", heads=heads, kv_heads=kv_heads, key_dim=dim, value_dim=dim)


def _part(fields: Fields, said: dict[str, Any]) -> FeedForward:
    hidden = fields.count("hidden")
    if said.get("no_op"):
        return FeedForward()
    if said.get("replace_with_linear"):
        return FeedForward(width=hidden, matrices=1)
    width, factor = said.get("intermediate_size"), said.get("ffn_mult")
    if isinstance(factor, int | float) and 0 < factor < 1024:
        width = -(-int(2 * factor * hidden / 3) // _MULTIPLE) * _MULTIPLE
    if isinstance(width, bool) or not isinstance(width, int) or not 0 < width < 1 << 32:
        raise fields.wrong("block_configs")
    return FeedForward(width=width)
