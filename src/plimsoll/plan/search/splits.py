"""Ways to spread one replica over devices that its network and the node allow."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from plimsoll.facts.network import Network
from plimsoll.fleet import Parallelism
from plimsoll.plan.deployment import Split
from plimsoll.plan.search.types import Ground, Rejected

MOST_STAGES = 8  # pipeline stages that are tried; more add latency and bubbles, not memory


class Splits(msgspec.Struct, frozen=True, kw_only=True):
    """Splits to try, the fewest devices first, and those that cannot be."""

    possible: tuple[Split, ...]
    rejected: tuple[Rejected, ...]


def splits(network: Network, ground: Ground, wanted: Parallelism) -> Splits:
    """Every split that divides the network evenly and stays inside what the ground offers.

    Tensor parallel stays inside a node, because each layer waits twice for all its devices; a MIG
    slice has no peers at all. Pipeline stages may cross nodes.
    """
    possible: list[Split] = []
    rejected: list[Rejected] = []
    for split in _tried(network, ground, wanted):
        reason = _refusal(network, ground, split)
        if reason:
            rejected.append(Rejected(what=in_words(split), code="split", reason=reason))
        else:
            possible.append(split)
    possible.sort(key=lambda split: (split.devices, split.pipeline, split.data))
    return Splits(possible=tuple(possible), rejected=tuple(rejected))


def _tried(network: Network, ground: Ground, wanted: Parallelism) -> Iterator[Split]:
    tensors = (wanted.tensor,) if wanted.tensor else _powers(ground.per_node)
    stages = (wanted.pipeline,) if wanted.pipeline else _powers(min(MOST_STAGES, ground.most_nodes))
    copies = (wanted.data,) if wanted.data else (1,)
    for tensor in tensors:
        for pipeline in stages:
            # Stages over nodes make sense only once a node is full; a person may still say so.
            if pipeline > 1 and not wanted.pipeline and tensor < ground.per_node:
                continue
            for data in copies:
                yield Split(
                    tensor=tensor, pipeline=pipeline, data=data, expert=_experts(wanted, data)
                )
    if network.mixture and not (wanted.tensor or wanted.data or wanted.pipeline):
        for data in _powers(ground.per_node)[1:]:
            yield Split(tensor=1, data=data, expert=data)


def _experts(wanted: Parallelism, data: int) -> int:
    return wanted.expert or (max(1, data))


def _powers(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to `most`."""
    return tuple(1 << n for n in range(max(1, most).bit_length()))


def _refusal(network: Network, ground: Ground, split: Split) -> str:
    """Why a split cannot be; empty where it can."""
    inside = split.tensor * split.data
    if (ground.device.profile or ground.portion < 1) and split.devices > 1:
        return f"{_slices(ground)} cannot reach each other, and {split.devices} devices are needed"
    if split.tensor > ground.per_node:
        return (
            f"tensor parallel stays inside a node, and one of {ground.name} has {ground.per_node} "
            "accelerators"
        )
    if inside > ground.per_node:
        return f"{inside} devices per stage do not fit a node with {ground.per_node}"
    if split.devices > ground.per_node * ground.most_nodes:
        return f"{split.devices} devices are more than {ground.name} has"
    if split.pipeline > network.depth:
        return f"{network.depth} layers cannot make {split.pipeline} stages"
    uneven = _uneven(network, split)
    if uneven:
        return uneven
    experts = max((layer.feed_forward.experts for layer in network.layers), default=0)
    if split.expert > 1 and (not experts or experts % split.expert):
        return f"{experts} experts cannot be spread evenly over {split.expert} devices"
    return ""


def _slices(ground: Ground) -> str:
    return "MIG slices" if ground.device.profile else "shares of accelerators"


def _uneven(network: Network, split: Split) -> str:
    for layer in network.layers:
        heads, kept = layer.mixer.heads, layer.mixer.kv_heads
        if heads % split.tensor:
            return f"{heads} heads cannot be divided by {split.tensor}"
        one_of = layer.mixer.kind == "attention" and kept
        if one_of and kept % split.tensor and split.tensor % kept:
            return f"{kept} KV heads can neither be divided by nor copied to {split.tensor} devices"
    return ""


def in_words(split: Split) -> str:
    """`tensor 4`, `tensor 8 x pipeline 2`, `data 8 (experts over 8)`, `1 device`."""
    parts = [
        f"{name} {count}"
        for name, count in (
            ("tensor", split.tensor),
            ("pipeline", split.pipeline),
            ("data", split.data),
        )
        if count > 1
    ]
    words = " x ".join(parts) or "1 device"
    return f"{words} (experts over {split.expert})" if split.expert > 1 else words
