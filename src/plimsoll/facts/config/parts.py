"""What follows the mixer in the layers of a `config.json`: dense networks and experts."""

from __future__ import annotations

from plimsoll.facts.config.fields import Fields
from plimsoll.facts.config.pattern import PartWord
from plimsoll.facts.network import FeedForward


class Parts:
    """The feed-forward parts of one model, layer by layer.

    fields  its configuration
    layers  how many layers it has
    """

    def __init__(self, fields: Fields, layers: int) -> None:
        self._fields = fields
        self.matrices = fields.count("ffn_matrices", 3) or 3
        self._widths = _widths(fields, layers, self.matrices)
        self._experts = fields.of_text("experts", layers, 0)
        mixture = any(self._experts)
        self._used = fields.of_text("experts_used", layers) if mixture else (0,) * layers
        self._expert_widths = _expert_widths(fields, layers) if mixture else (0,) * layers
        self._shared = _shared_widths(fields, layers, self._expert_widths)
        self._dense_width = fields.count("dense_width", 0)
        shared = min(layers, fields.count("cache_sharing_layers", 0))
        wide = fields.flag("use_double_wide_mlp")  # Gemma 4: where keys and values are reused
        self._first_wide = layers - shared if wide else layers

    def of(self, layer: int, word: PartWord) -> FeedForward:
        """The feed-forward part of the layer with that number, from 0. Raises FormatError."""
        if word == "none":
            return FeedForward(matrices=self.matrices)
        if word == "dense":
            width = self._dense_width or self._widths[layer]
            width *= 2 if layer >= self._first_wide else 1
            if not width and self._shared[layer]:  # Granite 4 names its only network the shared one
                width = self._shared[layer]
            return FeedForward(width=width, matrices=self.matrices)
        beside = self._fields.flag("dense_beside_experts")
        return FeedForward(
            width=self._widths[layer] if beside else 0,
            matrices=self.matrices,
            experts=self._experts[layer],
            experts_used=min(self._used[layer], self._experts[layer]),
            expert_width=self._expert_widths[layer],
            expert_input=self._fields.count("expert_input", 0),
            shared_width=self._shared[layer],
        )


def _widths(fields: Fields, layers: int, matrices: int) -> tuple[int, ...]:
    """Widths of the dense networks; four times the model's where two matrices are left unsaid."""
    if fields.raw("width") is not None:
        widths = fields.per_layer("width", layers)
        if fields.flag("ffn_halved"):
            return tuple(width // 2 for width in widths)
        return tuple(_adjusted(fields, width) for width in widths)
    factor = fields.factor("width_factor")
    if factor or matrices == 2:
        return (int(fields.count("hidden") * (factor or 4.0)),) * layers
    attends = fields.raw("heads") is not None
    if attends and not any(fields.of_text("experts", layers, 0)):
        raise fields.wrong("width")
    return (0,) * layers


def _adjusted(fields: Fields, width: int) -> int:
    """LFM2 writes a width of which two thirds are used, rounded up."""
    if not fields.flag("block_auto_adjust_ff_dim"):
        return width
    multiple = max(1, fields.count("block_multiple_of", 256))
    wide = int((2 * width // 3) * (fields.factor("block_ffn_dim_multiplier") or 1.0))
    return -(-wide // multiple) * multiple


def _expert_widths(fields: Fields, layers: int) -> tuple[int, ...]:
    """Widths of the experts: their own, or the dense networks' where those have no other."""
    name = "expert_width" if fields.raw("expert_width") is not None else "width"
    return fields.of_text(name, layers)


def _shared_widths(fields: Fields, layers: int, expert_widths: tuple[int, ...]) -> tuple[int, ...]:
    """Widths of what every token passes beside the experts it chooses."""
    said = fields.count("shared_width", 0)
    if said:
        return (said,) * layers
    counts = fields.of_text("shared_experts", layers, 0)
    return tuple(count * width for count, width in zip(counts, expert_widths, strict=True))
