"""Weights beside the layers that an engine loads: vision and audio towers, learned positions."""

from __future__ import annotations

from plimsoll.facts.config.fields import Fields

_TOWERS = ("vision_config", "vision_tower_config", "audio_config")
_NAMES = {
    "hidden": ("embed_dim", "vt_hidden_size", "hidden_size", "d_model", "width"),
    "layers": ("depth", "vt_num_hidden_layers", "num_hidden_layers", "encoder_layers", "layers"),
    "width": ("vt_intermediate_size", "intermediate_size", "encoder_ffn_dim"),
}


def extra_weights(fields: Fields, layers: int) -> int:
    """Weights beside layers, embedding and output head; towers by the rule of a transformer."""
    hidden = fields.count("hidden")
    extra = sum(_tower(tower, hidden) for name in _TOWERS if (tower := fields.part(name)))
    if fields.flag("learned_positions"):
        extra += fields.count("context", 0) * hidden
    if fields.flag("pooler"):
        extra += hidden * hidden + fields.count("type_vocab_size", 2) * hidden
    per_layer = fields.count("per_layer_hidden", 0)
    if per_layer:
        # Gemma 3n: an embedding of its own for every layer, with a gate and a projection.
        vocab = fields.count("per_layer_vocab", fields.count("vocab"))
        extra += layers * per_layer * (vocab + 3 * hidden)
    return extra


def _first(tower: Fields, name: str, default: int) -> int:
    said = next((n for n in _NAMES[name] if tower.raw(n) is not None), _NAMES[name][0])
    return tower.count(said, default)


def _tower(tower: Fields, out: int) -> int:
    """A transformer with its patches and its projector; estimated, within a tenth."""
    hidden, layers = _first(tower, "hidden", 0), _first(tower, "layers", 0)
    width = _first(tower, "width", int(hidden * (tower.factor("mlp_ratio") or 4.0)))
    gated = tower.text("hidden_act") == "silu"
    patch = tower.count("patch_size", 14) ** 2 * 3 * tower.count("temporal_patch_size", 1)
    merge = tower.count("spatial_merge_size", 0) or tower.count("vision_merge_size", 1)
    merged = hidden * merge * merge
    projectors = 1 + len(tower.numbers("deepstack_visual_indexes"))
    blocks = layers * (4 * hidden * hidden + (3 if gated else 2) * hidden * width)
    return blocks + patch * hidden + projectors * merged * (merged + out)
