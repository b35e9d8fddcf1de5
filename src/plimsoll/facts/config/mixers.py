"""How a layer of a `config.json` mixes tokens: attention, plain or compressed."""

from __future__ import annotations

from plimsoll.facts.config.fields import Fields
from plimsoll.facts.config.pattern import MixerWord
from plimsoll.facts.config.recurrent import convolution, linear, mamba
from plimsoll.facts.network import Mixer


class Mixers:
    """The mixers of one model, layer by layer.

    fields  its configuration
    layers  how many layers it has
    """

    def __init__(self, fields: Fields, layers: int) -> None:
        self._fields = fields
        self._layers = layers
        self._hidden = fields.count("hidden")
        recurrent = fields.raw("heads") is None and fields.raw("state_size") is not None
        self._heads = (0,) * layers if recurrent else fields.per_layer("heads", layers)
        self._kv_heads = _kv_heads(fields, layers, self._heads)
        self._first_shared = layers - min(layers, fields.count("cache_sharing_layers", 0))
        # Hunyuan: of so many layers in a row, the first keeps keys and values for all.
        shared = fields.count("cla_share_factor", 1) if fields.flag("use_cla") else 1
        self._share = max(1, shared)
        self._indexed = fields.words("indexer_types")
        self._sparse_marks = _sparse_marks(fields)
        self._ratios = fields.numbers("compress_ratios")

    def of(self, layer: int, word: MixerWord) -> Mixer:
        """The mixer of the layer with that number, from 0. Raises FormatError."""
        fields = self._fields
        if word == "none":
            return Mixer(kind="none")
        if word == "mamba":
            return mamba(fields)
        if word == "linear":
            return linear(fields)
        if word == "conv":
            return convolution(fields)
        if self._ratios:
            return self._compressed(layer)
        if fields.count("kv_rank", 0) and word == "full":
            return self._latent(layer)
        return self._attention(layer, word)

    def _attention(self, layer: int, word: MixerWord) -> Mixer:
        fields, heads, kv_heads = self._fields, self._heads[layer], self._kv_heads[layer]
        usual = self._hidden // max(1, heads)
        key_dim = fields.count("head_dim", usual) or usual
        if word == "full":
            key_dim = fields.count("global_head_dim", key_dim) or key_dim
            kv_heads = fields.count("global_kv_heads", kv_heads) or kv_heads
        value_dim = fields.count("value_dim", key_dim) or key_dim
        if word == "sliding":
            heads = fields.count("sliding_heads", heads)
            kv_heads = fields.count("sliding_kv_heads", kv_heads)
            key_dim = fields.count("sliding_head_dim", key_dim)
            value_dim = fields.count("sliding_value_dim", value_dim)
        index_dim, index_heads, top = self._indexer(layer)
        return Mixer(
            kind="attention",
            heads=heads,
            kv_heads=kv_heads,
            key_dim=key_dim,
            value_dim=value_dim,
            window=fields.count("window") if word == "sliding" else 0,
            chunk=fields.count("chunk") if word == "chunked" else 0,
            gated=fields.flag("attn_output_gate") or fields.flag("attention_output_gate"),
            index_dim=index_dim,
            index_heads=index_heads,
            top=top,
            cached=layer < self._first_shared and layer % self._share == 0,
        )

    def _latent(self, layer: int) -> Mixer:
        fields = self._fields
        plain, rope = fields.count("plain_dim"), fields.count("rope_dim")
        index_dim, index_heads, top = self._indexer(layer)
        return Mixer(
            kind="latent",
            heads=self._heads[layer],
            kv_heads=1,
            key_dim=plain + rope,
            value_dim=fields.count("value_dim", plain),
            gated=fields.flag("mla_use_output_gate"),
            q_rank=fields.count("q_rank", 0),
            kv_rank=fields.count("kv_rank"),
            rope_dim=rope,
            index_dim=index_dim,
            index_heads=index_heads,
            top=top,
        )

    def _indexer(self, layer: int) -> tuple[int, int, int]:
        """Elements per token and heads of the layer's own indexer, and what it chooses."""
        fields = self._fields
        top = fields.count("index_top", 0)
        if not top and layer < len(self._sparse_marks) and self._sparse_marks[layer]:
            top = fields.count("block_top", 0) * fields.count("block_size", 1)
        own = layer >= len(self._indexed) or self._indexed[layer] == "full"
        if not top or not own:
            return 0, 0, top
        return fields.count("index_dim", 0), fields.count("index_heads", 0), top

    def _compressed(self, layer: int) -> Mixer:
        """DeepSeek-V4: one vector per token is key and value of all heads.

        Most layers keep one for every 4 tokens (and choose among them) or for every 128, the
        others only the last few.
        """
        fields, heads, hidden = self._fields, self._heads[layer], self._hidden
        if layer >= len(self._ratios):
            raise fields.wrong("compress_ratios")
        ratio = self._ratios[layer]
        key_dim, rope = fields.count("head_dim"), fields.count("rope_dim")
        q_rank, o_rank = fields.count("q_rank"), fields.count("o_rank")
        groups = fields.count("o_groups", 1)
        chooses = ratio == 4
        index_dim = fields.count("index_dim", 0) if chooses else 0
        # A compressor projects to a vector and a weight; with a ratio of 4 its windows overlap.
        wide = (2 if chooses else 1) * 2 * (key_dim + index_dim) if ratio else 0
        weights = (
            hidden * (q_rank + key_dim + wide)
            + q_rank * heads * key_dim
            + heads * key_dim * o_rank
            + groups * o_rank * hidden
        )
        return Mixer(
            kind="latent",
            heads=heads,
            kv_heads=1,
            key_dim=key_dim,
            value_dim=key_dim,
            window=0 if ratio else fields.count("window"),
            q_rank=q_rank,
            kv_rank=max(0, key_dim - rope),
            rope_dim=rope,
            index_dim=index_dim,
            index_heads=fields.count("index_heads", 0) if chooses else 0,
            top=fields.count("index_top", 0) if chooses else 0,
            compression=max(1, ratio),
            parameters=weights,
        )


def _kv_heads(fields: Fields, layers: int, heads: tuple[int, ...]) -> tuple[int, ...]:
    """KV heads of each layer; the old Falcon and StarCoder have one for all."""
    one = fields.flag("multi_query") and not fields.flag("new_decoder_architecture")
    if one or fields.raw("multi_query_attention") is False:
        return (1,) * layers if one else heads
    if fields.raw("kv_heads") is None:
        return heads
    return tuple(
        own or usual for own, usual in zip(fields.per_layer("kv_heads", layers), heads, strict=True)
    )


def _sparse_marks(fields: Fields) -> tuple[int, ...]:
    part = fields.raw("sparse_attention_config")
    marks = part.get("sparse_attention_freq") if isinstance(part, dict) else None
    if not isinstance(marks, list):
        return ()
    return tuple(1 if mark else 0 for mark in marks)
