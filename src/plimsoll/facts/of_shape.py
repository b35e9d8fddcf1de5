"""From the headers of weights that are here to the Network that they make."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from plimsoll.facts.network import FeedForward, Layer, Mixer, Network
from plimsoll.facts.parameters import parameters
from plimsoll.facts.shape import Attention, ModelShape, Tensor

_LAYER = re.compile(r"(?:^|\.)(?:blk|layers|layer|blocks|h)\.([0-9]{1,5})\.(.+)")
_EXPERTS = re.compile(r"_exps\b|\bexperts\.")
_ROUTER = re.compile(r"gate_inp|router|\bgate\.(?:weight|bias|e_score)|exp_probs_b")
_PART = re.compile(r"ffn|mlp|feed_forward|moe|fc1|fc2|intermediate|\boutput\.dense")
_NORM = re.compile(r"norm|\bln_|layer_?norm")
_HEAD = re.compile(r"^(?:output\.weight|.*\b(?:lm_head|embed_out)\.weight)$")
_PACKED = frozenset({"u8", "i8", "u16", "i16", "i32", "u32", "f4"})
_NAMES = {"f16": "fp16", "f32": "fp32", "f8_e4m3": "fp8", "f8_e5m2": "fp8", "i8": "int8"}


@dataclass(slots=True)
class _Elements:
    """Numbers of elements of one layer's tensors."""

    mixer: int = 0
    part: int = 0
    experts: int = 0


def network_of(shape: ModelShape, *, name: str = "", source: str = "") -> Network:
    """The network of a model whose headers were read.

    Formats are those with the most bytes, of dense weights and of experts; `stored_bytes` are the
    real ones. Where elements are not packed, all parameters together are those in the files.
    """
    by_layer = _by_layer(shape.tensors)
    packed = any(tensor.type in _PACKED and len(tensor.shape) > 1 for tensor in shape.tensors)
    recurrent = sum(1 for layer in shape.attention if not layer.kv_heads)
    counts: dict[tuple[Mixer, FeedForward], int] = {}
    for number, attention in enumerate(shape.attention):
        elements = _Elements() if packed else by_layer.get(number, _Elements())
        has_experts = bool(by_layer.get(number, _Elements()).experts)
        kind = (
            _mixer(shape, attention, elements, recurrent),
            _part(shape, elements, has_experts=has_experts),
        )
        counts[kind] = counts.get(kind, 0) + 1
    network = Network(
        name=name or shape.architecture,
        architecture=shape.architecture,
        hidden=shape.hidden,
        vocab=shape.vocab,
        tied=not any(_HEAD.match(tensor.name) for tensor in shape.tensors),
        context=shape.context_train,
        layers=tuple(
            Layer(count=count, mixer=mixer, feed_forward=part)
            for (mixer, part), count in counts.items()
        ),
        stored=_stored(shape.tensors, experts=False),
        expert_stored=_stored(shape.tensors, experts=bool(shape.experts)),
        stored_bytes=shape.weight_bytes,
        embedding=bool(shape.pooling) or not shape.causal,
        source=source,
    )
    rest = 0 if packed else max(0, shape.parameters - parameters(network))
    return replace(network, extra=rest)


def _by_layer(tensors: Iterable[Tensor]) -> Mapping[int, _Elements]:
    found: dict[int, _Elements] = defaultdict(_Elements)
    for tensor in tensors:
        match = _LAYER.search(tensor.name)
        if match is None or len(tensor.shape) < 2 or _NORM.search(match[2]):
            continue
        layer, rest = found[int(match[1])], match[2]
        if _EXPERTS.search(rest):
            layer.experts += tensor.elements
        elif _ROUTER.search(rest):
            continue
        elif _PART.search(rest):
            layer.part += tensor.elements
        else:
            layer.mixer += tensor.elements
    return found


def _mixer(shape: ModelShape, said: Attention, elements: _Elements, recurrent: int) -> Mixer:
    if not said.kv_heads:
        if not shape.state_bytes and not elements.mixer:
            return Mixer(kind="none")
        state = shape.state_bytes // 4 // max(1, recurrent)
        return Mixer(kind="recurrent", state=state, parameters=elements.mixer)
    if not said.value_dim:
        return Mixer(
            kind="latent",
            heads=said.heads,
            kv_heads=1,
            key_dim=said.key_dim,
            value_dim=said.key_dim,
            kv_rank=said.key_dim,
            parameters=elements.mixer,
        )
    return Mixer(
        kind="attention",
        heads=said.heads,
        kv_heads=said.kv_heads,
        key_dim=said.key_dim,
        value_dim=said.value_dim,
        window=said.window,
        cached=said.cached,
    )


def _part(shape: ModelShape, elements: _Elements, *, has_experts: bool) -> FeedForward:
    """Widths from the elements, so that they are right however a family lays its tensors out."""
    if not has_experts:
        if not elements.part:
            return FeedForward(width=shape.ffn)
        wide = elements.part / max(1, shape.hidden)
        matrices = 2 if shape.ffn and wide < 2.5 * shape.ffn else 3
        return FeedForward(width=round(wide / matrices), matrices=matrices)
    width = shape.expert_ffn or shape.ffn
    usual = max(1, shape.experts * shape.hidden * width)
    matrices = 2 if 0 < elements.experts < 2.5 * usual else 3
    return FeedForward(
        matrices=matrices,
        experts=shape.experts,
        experts_used=min(shape.experts_used, shape.experts),
        expert_width=width,
        shared_width=round(elements.part / max(1, matrices * shape.hidden)),
    )


def _stored(tensors: tuple[Tensor, ...], *, experts: bool) -> str:
    """The element type with the most bytes, as facts' weight formats call it."""
    own = [tensor for tensor in tensors if bool(_EXPERTS.search(tensor.name)) == experts] or tensors
    bytes_by_type: dict[str, int] = {}
    for tensor in own:
        bytes_by_type[tensor.type] = bytes_by_type.get(tensor.type, 0) + tensor.bytes
    largest = max(bytes_by_type, key=lambda kind: bytes_by_type[kind], default="bf16")
    ends = {tensor.name.rpartition(".")[2] for tensor in own}
    if largest in ("u8", "f4"):
        return "nvfp4" if "weight_scale_2" in ends or "weight_global_scale" in ends else "mxfp4"
    if largest in ("i32", "u32"):
        return "int4" if "weight_packed" in ends else "gptq" if "g_idx" in ends else "awq"
    if largest.startswith("f8_e4m3") and "weight_scale_inv" in ends:
        return "fp8_block"
    return _NAMES.get(largest, largest)
