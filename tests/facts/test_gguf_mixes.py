"""What a GGUF file of a known model is taken for before its header was read."""

from __future__ import annotations

import pytest

from plimsoll.facts.catalogue import network
from plimsoll.facts.gguf_mixes import USUAL, estimated_shape, gguf_mixes, mix_of


@pytest.mark.parametrize(
    ("file", "mix"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "q4_k_m"),
        ("model.Q8_0.gguf", "q8_0"),
        ("qwen2.5-3b-instruct-f16.gguf", "f16"),
        ("weights.gguf", USUAL),
    ],
)
def test_the_mix_is_read_from_the_files_name(file: str, mix: str) -> None:
    assert mix_of(file) == mix


def test_fewer_bits_never_take_more_memory() -> None:
    llama = network("meta-llama/Llama-3.1-8B")
    sizes = {mix.bits: estimated_shape(llama, mix.name).file_bytes for mix in gguf_mixes().values()}
    assert [sizes[bits] for bits in sorted(sizes)] == sorted(sizes.values())


def test_a_well_known_file_is_estimated_within_three_percent() -> None:
    # Llama-3.1-8B-Instruct in Q4_K_M and Q8_0, as published: 4.92 and 8.54 GB.
    llama = network("meta-llama/Llama-3.1-8B")
    assert estimated_shape(llama, "q4_k_m").file_bytes == pytest.approx(4.92e9, rel=0.03)
    assert estimated_shape(llama, "q8_0").file_bytes == pytest.approx(8.54e9, rel=0.03)


def test_keys_and_values_are_those_of_the_network() -> None:
    shape = estimated_shape(network("meta-llama/Llama-3.1-8B"), "q4_k_m")
    assert shape.layers == 32
    assert {(a.kv_heads, a.key_dim, a.value_dim) for a in shape.attention} == {(8, 128, 128)}


def test_the_mixes_that_fleet_files_name_are_known() -> None:
    assert {"q4_k_m", "q8_0", "q2_k", "iq4_xs"} <= set(gguf_mixes())
