"""From the fields of a `config.json` to a Network."""

from __future__ import annotations

import datetime as dt

from plimsoll.errors import FormatError
from plimsoll.facts.config.blocks import block_layers
from plimsoll.facts.config.fields import Fields, json_object
from plimsoll.facts.config.mixers import Mixers
from plimsoll.facts.config.parts import Parts
from plimsoll.facts.config.pattern import layer_words
from plimsoll.facts.config.stored import stored_formats
from plimsoll.facts.config.towers import extra_weights
from plimsoll.facts.network import FeedForward, Layer, Mixer, Network


def read_config(
    content: bytes,
    *,
    name: str = "",
    quantization: bytes = b"",
    embedding: bool = False,
    stored_bytes: int = 0,
    source: str = "",
    date: dt.date | None = None,
) -> Network:
    """The network that a Hugging Face `config.json` describes.

    content       of `config.json`
    name          as the publisher writes it; empty: the architecture's
    quantization  content of `hf_quant_config.json`, where there is one
    embedding     whether it is known to yield vectors; else the architecture decides
    stored_bytes  of the weights, where they are known

    Raises FormatError, naming the field, for what is missing, makes no sense or is not known here.
    """
    where = f"{name}: config.json" if name else "config.json"
    fields = Fields(json_object(content, where), where)
    layers = _layers(fields)
    architecture = _architecture(fields)
    stored, expert_stored = stored_formats(fields, quantization, layers)
    return Network(
        name=name or architecture,
        architecture=architecture,
        hidden=_positive(fields, "hidden"),
        vocab=_positive(fields, "vocab"),
        tied=fields.flag("tie_word_embeddings"),
        context=fields.count("context", 0),
        layers=layers,
        stored=stored,
        expert_stored=expert_stored,
        extra=extra_weights(fields, sum(layer.count for layer in layers)),
        stored_bytes=stored_bytes,
        embedding=embedding or fields.flag("embedding"),
        source=source,
        date=date,
    )


def _positive(fields: Fields, name: str) -> int:
    value = fields.count(name)
    if not value:
        raise fields.wrong(name)
    return value


def _architecture(fields: Fields) -> str:
    said = fields.whole.get("architectures")
    if isinstance(said, list) and said and isinstance(said[0], str):
        return said[0]
    if not fields.model_type:
        raise FormatError(
            "`architectures` and `model_type` are missing",
            where=fields.where, hint="is it the `config.json` of a model?",
        )  # fmt: skip
    return fields.model_type


def _layers(fields: Fields) -> tuple[Layer, ...]:
    """The kinds of layers with their numbers, in the order in which they first come."""
    counts: dict[tuple[Mixer, FeedForward], int] = {}
    for kind in block_layers(fields) or _kinds(fields):
        counts[kind] = counts.get(kind, 0) + 1
    return tuple(
        Layer(count=count, mixer=mixer, feed_forward=part)
        for (mixer, part), count in counts.items()
    )


def _kinds(fields: Fields) -> list[tuple[Mixer, FeedForward]]:
    words = layer_words(fields)
    _positive(fields, "hidden")
    mixers, parts = Mixers(fields, len(words)), Parts(fields, len(words))
    kinds = []
    for layer, (mixer, part) in enumerate(words):
        own = fields.of_block(layer)
        ours = parts if own is fields else Parts(own, len(words))
        kinds.append((mixers.of(layer, mixer), ours.of(layer, part)))
    if fields.flag("parallel_mixers"):  # Falcon-H1: each layer has a Mamba beside its attention
        beside = (mixers.of(0, "mamba"), FeedForward())
        kinds += [beside] * len(words)
    return kinds
