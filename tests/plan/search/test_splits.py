"""Which ways of spreading a replica over devices are possible, and why others are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.facts.accelerators import accelerators, device
from plimsoll.facts.catalogue import network, networks
from plimsoll.facts.mig import mig_profiles
from plimsoll.fleet import Parallelism
from plimsoll.plan.cost import NodePrice
from plimsoll.plan.deployment import Split
from plimsoll.plan.search.splits import in_words, splits
from plimsoll.plan.search.types import Ground

FREE = NodePrice(dollars=None, on_demand=None, spot_share=0.0)


def ground(name: str, *, profile: str = "", per_node: int = 8, nodes: int = 2) -> Ground:
    return Ground(
        name="here",
        device=replace(device(name, profile), per_node=per_node),
        per_node=per_node,
        most_nodes=nodes,
        price=FREE,
    )


def test_tensor_parallel_never_crosses_a_mig_slice() -> None:
    for name in accelerators():
        for profile in mig_profiles(name):
            here = ground(name, profile=profile.name)
            for model in ("meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-R1"):
                found = splits(network(model), here, Parallelism())
                assert {split.devices for split in found.possible} == {1}


def test_a_split_that_was_asked_for_over_slices_is_refused_with_the_reason() -> None:
    here = ground("A100-80GB-SXM", profile="3g.40gb")
    found = splits(network("Qwen/Qwen3-8B"), here, Parallelism(tensor=2))
    assert not found.possible
    assert "MIG slices cannot reach each other" in found.rejected[0].reason


def test_tensor_parallel_stays_inside_a_node() -> None:
    here = ground("L4", per_node=4)
    for split in splits(network("Qwen/Qwen3-32B"), here, Parallelism()).possible:
        assert split.tensor * split.data <= 4
    found = splits(network("Qwen/Qwen3-32B"), here, Parallelism(tensor=8))
    assert "inside a node" in found.rejected[0].reason


def test_stages_are_spread_over_nodes_only_once_a_node_is_full() -> None:
    found = splits(network("Llama-3.1-405B"), ground("A100-80GB-SXM"), Parallelism())
    assert Split(tensor=8, pipeline=2) in found.possible
    assert all(split.pipeline == 1 for split in found.possible if split.tensor < 8)


@pytest.mark.parametrize("name", list(networks()))
def test_every_split_divides_heads_and_experts_evenly(name: str) -> None:
    model = network(name)
    for split in splits(model, ground("H100-80GB-SXM"), Parallelism()).possible:
        for layer in model.layers:
            assert layer.mixer.heads % split.tensor == 0
            if split.expert > 1 and layer.feed_forward.experts:
                assert layer.feed_forward.experts % split.expert == 0


def test_heads_that_do_not_divide_are_named() -> None:
    found = splits(network("Qwen/Qwen2.5-1.5B-Instruct"), ground("H100"), Parallelism(tensor=8))
    assert "12 heads cannot be divided by 8" in found.rejected[0].reason


def test_a_split_reads_like_its_flags() -> None:
    assert in_words(Split()) == "1 device"
    assert in_words(Split(tensor=8, pipeline=2)) == "tensor 8 x pipeline 2"
    assert in_words(Split(data=8, expert=8)) == "data 8 (experts over 8)"
