"""What one engine step needs beside weights and cache: activations, graphs, buffers, adapters."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import msgspec

from plimsoll.facts.network import Layer, Network
from plimsoll.facts.vram import EngineMemory, device_memory
from plimsoll.plan.deployment import Split
from plimsoll.plan.vram.weights import SIXTEEN_BITS, vocab_rows

STREAMS = 2  # the residual stream, and what a layer adds to it


class Activations(msgspec.Struct, frozen=True, kw_only=True):
    """The largest step of one device.

    bytes   at its peak
    limit   what the peak is: `layer`, `sampler` or `compiler`
    tokens  of the step
    rows    of logits: one a sequence
    """

    bytes: int
    limit: str
    tokens: int
    rows: int


@lru_cache(maxsize=4096)
def activations(
    network: Network, split: Split, engine: EngineMemory, *, tokens: int, rows: int, workspace: int
) -> Activations:
    """The peak of a step of `tokens` and `rows` sequences, with `workspace` bytes of cuBLAS's.

    One layer runs at a time, then the sampler, with the step's hidden states still there; the
    compiler comes before either, on tables of its own.
    """
    stream = tokens * network.hidden * SIXTEEN_BITS
    layer = max(_layer_elements(network, one, split, tokens) for one in network.layers)
    # What towers see of images or sound waits beside the step, as many tokens as it has.
    seen = stream if network.extra else 0
    forward = STREAMS * stream + layer * SIXTEEN_BITS
    sampler = 0
    if not network.embedding:
        last = 2 * rows * network.hidden * SIXTEEN_BITS
        sampler = stream + last + rows * network.vocab * engine.sampler_bytes
    compiler = _largest_table(network, split, engine) if engine.compile_copies else 0
    peaks = {"layer": forward, "sampler": sampler, "compiler": compiler}
    limit = max(peaks, key=lambda name: peaks[name])
    return Activations(bytes=peaks[limit] + workspace + seen, limit=limit, tokens=tokens, rows=rows)


def _layer_elements(network: Network, layer: Layer, split: Split, tokens: int) -> int:
    """Elements of the widest part of one layer, for all tokens of a step."""
    part, mixer = layer.feed_forward, layer.mixer
    dense = ceil(part.matrices * (part.width + part.shared_width) / split.tensor)
    if mixer.kind == "latent":
        attention = ceil(mixer.heads * (2 * mixer.key_dim + 2 * mixer.value_dim) / split.tensor)
        attention += mixer.q_rank + mixer.kv_rank + mixer.rope_dim
    elif mixer.kind == "recurrent":
        attention = 4 * network.hidden // split.tensor
    else:
        heads = ceil(mixer.heads / split.tensor)
        kv_heads = ceil(mixer.kv_heads / split.tensor)
        attention = heads * (mixer.key_dim * (1 + mixer.gated) + mixer.value_dim)
        attention += kv_heads * (mixer.key_dim + mixer.value_dim)
    return max(tokens * max(dense, attention), _expert_elements(network, layer, split, tokens))


def _expert_elements(network: Network, layer: Layer, split: Split, tokens: int) -> int:
    """Elements of what experts read and write; attention data parallelism gathers all tokens."""
    part = layer.feed_forward
    if not part.experts:
        return 0
    devices = split.tensor * split.data
    cut = max(1, devices // min(split.expert, devices))
    width = ceil(part.expert_width / cut)
    taken = min(tokens * split.data, device_memory().expert_chunk)
    wide = max((part.matrices - 1) * width, part.expert_input or network.hidden)
    routed = taken * part.experts_used * (wide + width)
    shared = taken * ceil(part.matrices * part.shared_width / split.tensor)
    return routed + shared + taken * network.hidden


def rotation_bytes(network: Network, engine: EngineMemory) -> int:
    """The table of rotations: one row for every position that the model was trained for."""
    width = max((_rotated(layer) for layer in network.layers), default=0)
    return network.context * width * engine.rotation_bytes


def _rotated(layer: Layer) -> int:
    mixer = layer.mixer
    if mixer.kind == "latent":
        return mixer.rope_dim
    return mixer.key_dim if mixer.kind == "attention" else 0


def _largest_table(network: Network, split: Split, engine: EngineMemory) -> int:
    """The largest array that a fused kernel of a device reads."""
    embedding = vocab_rows(network, split) * network.hidden * SIXTEEN_BITS
    return max(embedding, rotation_bytes(network, engine))


@lru_cache(maxsize=4096)
def graph_bytes(layers: int, rows: int, engine: EngineMemory) -> int:
    """CUDA graphs: what the driver keeps for every layer and captured batch size."""
    return layers * captured_sizes(rows, engine.captured_sequences) * engine.graph_bytes


@lru_cache(maxsize=4096)
def captured_sizes(rows: int, most: int) -> int:
    """Batch sizes that are captured for `rows` sequences, with and without prompts among them.

    1, 2, 4, then every 8th to 256, then every 16th: to twice as many tokens where prompts are
    mixed in, to as many where all decode. Source: vLLM config/vllm.py.
    """

    def sizes(largest: int) -> int:
        small = sum(1 for size in (1, 2, 4) if size <= largest)
        return small + min(largest, 256) // 8 + max(0, largest - 256) // 16

    return sizes(min(2 * rows, most)) + sizes(min(rows, most))


def communication_bytes(split: Split) -> int:
    """Buffers for exchanges between the devices of a replica."""
    return device_memory().exchange if split.devices > 1 else 0


@lru_cache(maxsize=4096)
def adapter_bytes(network: Network, split: Split, rank: int) -> int:
    """One LoRA adapter on every dense matrix: two factors of `rank` rows, the outer one cut."""
    elements = 0
    for layer in network.layers:
        mixer, part = layer.mixer, layer.feed_forward
        wide = [mixer.heads * mixer.key_dim, mixer.heads * mixer.value_dim]
        wide += [mixer.kv_heads * mixer.key_dim, mixer.kv_heads * mixer.value_dim]
        wide += [part.width + part.shared_width] * part.matrices
        used = [width for width in wide if width]
        elements += layer.count * sum(network.hidden + ceil(width / split.tensor) for width in used)
    return ceil(elements / split.pipeline) * rank * SIXTEEN_BITS
