"""A `config.json` of any family becomes layers, or an error that names the field."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import FormatError
from plimsoll.facts.config import read_config
from plimsoll.facts.parameters import active_parameters, parameters
from tests.facts.configs import FAMILIES, HYBRID, LATENT, LINEAR, LLAMA, MIXTURE, kinds, read


def test_a_dense_model_has_one_kind_of_layer():
    network = read(LLAMA, name="a/b", source="here", date=dt.date(2026, 1, 1))
    (layer,) = network.layers
    assert (network.name, network.architecture, layer.count) == ("a/b", "LlamaForCausalLM", 4)
    assert (layer.mixer.heads, layer.mixer.kv_heads, layer.mixer.key_dim) == (4, 2, 16)
    assert (layer.feed_forward.width, layer.feed_forward.matrices) == (160, 3)
    assert (network.context, network.tied, network.source) == (4096, False, "here")


def test_the_text_part_of_a_model_with_pictures_counts_and_its_tower_is_extra():
    text = {k: v for k, v in LLAMA.items() if k != "architectures"}
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "patch_size": 2}
    network = read({"architectures": ["X"], "text_config": text, "vision_config": tower})
    assert network.layers == read(LLAMA).layers
    assert network.extra > 2 * (4 * 32 * 32 + 2 * 32 * 64)


@pytest.mark.parametrize(
    ("said", "heads"),
    [
        ({"num_key_value_heads": None}, 4),
        ({"multi_query": True, "num_key_value_heads": None}, 1),
        ({"multi_query": True, "new_decoder_architecture": True}, 2),
        ({"num_key_value_heads": None, "attn_config": {"kv_n_heads": 1}}, 1),
    ],
)
def test_kv_heads_are_found_by_the_name_that_the_family_uses(said, heads):
    (layer,) = read(LLAMA | said).layers
    assert layer.mixer.kv_heads == heads


def test_names_of_gpt_mean_the_same_as_those_of_llama():
    gpt = {"model_type": "gptj", "n_embd": 64, "n_layer": 4, "n_head": 4, "vocab_size": 100}
    (layer,) = read(gpt).layers
    assert (layer.count, layer.feed_forward.width, layer.feed_forward.matrices) == (4, 256, 2)


def test_latent_attention_keeps_one_compressed_vector():
    dense, mixture = read(LATENT).layers
    assert (dense.count, mixture.count) == (1, 3)
    assert dense.mixer.kind == "latent"
    assert dense.mixer.kept_elements == 32 + 8
    assert (mixture.feed_forward.experts, mixture.feed_forward.shared_width) == (8, 32)


def test_a_shared_indexer_keeps_nothing_of_its_own():
    indexed = {"index_topk": 7, "index_head_dim": 16, "index_n_heads": 2}
    types = ["full", "shared", "shared", "full"]
    layers = read(LATENT | indexed | {"indexer_types": types}).layers
    assert sorted((n.count, n.mixer.index_dim, n.mixer.top) for n in layers) == [
        (1, 16, 7), (1, 16, 7), (2, 0, 7),
    ]  # fmt: skip


def test_compressed_layers_keep_one_vector_for_many_tokens():
    config = LLAMA | {
        "compress_ratios": [0, 4, 128, 4], "head_dim": 32, "qk_rope_head_dim": 8, "q_lora_rank": 16,
        "o_lora_rank": 8, "o_groups": 2, "sliding_window": 9, "index_topk": 5, "index_head_dim": 16,
        "index_n_heads": 2,
    }  # fmt: skip
    layers = read(config).layers
    found = {(n.count, n.mixer.compression, n.mixer.window, n.mixer.top) for n in layers}
    assert found == {(1, 1, 9, 0), (2, 4, 0, 5), (1, 128, 0, 0)}
    assert all(layer.mixer.kept_elements == 32 for layer in layers)


@pytest.mark.parametrize(
    ("said", "sliding"),
    [
        ({"sliding_window": 8}, 4),
        ({"sliding_window": 8, "use_sliding_window": False}, 0),
        ({"sliding_window": 4096}, 0),
        ({"sliding_window": 8, "sliding_window_pattern": 2}, 2),
        ({"sliding_window": 8, "sliding_window_pattern": "LLLG"}, 3),
        ({"sliding_window": 8, "max_window_layers": 3}, 1),
        ({"sliding_window": 8, "hybrid_layer_pattern": [0, 1, 1, 1]}, 3),
        ({"sliding_window": 8, "layer_types": ["full_attention"] * 3 + ["sliding_attention"]}, 1),
    ],
)
def test_windows_are_where_the_family_says(said, sliding):
    layers = read(LLAMA | said).layers
    assert sum(layer.count for layer in layers if layer.mixer.window == 8) == sliding


def test_llama_4_looks_back_in_chunks_but_for_every_fourth_layer():
    layers = read(LLAMA | {"model_type": "llama4_text", "attention_chunk_size": 32}).layers
    assert [(layer.count, layer.mixer.chunk) for layer in layers] == [(3, 32), (1, 0)]


@pytest.mark.parametrize(
    ("said", "with_experts"),
    [
        ({}, 4),
        ({"first_k_dense_replace": 3}, 1),
        ({"moe_layer_freq": [0, 1, 0, 1]}, 2),
        ({"decoder_sparse_step": 2}, 2),
        ({"mlp_only_layers": [0, 3]}, 2),
        ({"interleave_moe_layer_step": 4}, 1),
        ({"expert_layer_period": 2, "expert_layer_offset": 1}, 2),
        ({"mlp_layer_types": ["dense", "sparse", "sparse", "sparse"]}, 3),
        ({"moe_layers_enum": "1,2"}, 2),
        ({"moe_layer_start_index": 2, "moe_layer_end_index": 3, "moe_layer_interval": 1}, 2),
    ],
)
def test_experts_are_in_the_layers_that_the_family_says(said, with_experts):
    layers = read(MIXTURE | said).layers
    assert sum(layer.count for layer in layers if layer.feed_forward.experts) == with_experts


def test_a_list_shorter_than_the_layers_begins_with_the_text_part():
    assert read(MIXTURE | {"moe_intermediate_size": [32, 16]}).layers == read(MIXTURE).layers


@pytest.mark.parametrize("field", ["moe_intermediate_size", "num_experts", "num_experts_per_tok"])
def test_an_empty_list_makes_no_sense(field):
    with pytest.raises(FormatError):
        read(MIXTURE | {field: []})


def test_latent_experts_read_fewer_elements_than_the_model_is_wide():
    plain, latent = read(MIXTURE), read(MIXTURE | {"moe_latent_size": 16})
    assert parameters(plain) - parameters(latent) == 4 * (
        8 * 3 * (64 - 16) * 32 - 2 * 64 * 16
    )  # fmt: skip


def test_linear_layers_keep_a_state_and_no_keys():
    network = read(LINEAR)
    assert kinds(network) == [(3, "recurrent"), (1, "attention")]
    linear, full = (layer.mixer for layer in network.layers)
    assert linear.state == 4 * 16 * 16 + (2 * 32 + 64) * 3
    assert linear.kept_elements == 0
    assert full.gated


def test_a_pattern_of_letters_names_mixers_and_parts_alone():
    network = read(HYBRID)
    assert kinds(network) == [(1, "recurrent"), (1, "attention"), (1, "none"), (1, "none")]
    assert [layer.feed_forward.experts for layer in network.layers] == [0, 0, 0, 8]


def test_blocks_that_a_search_left_out_weigh_nothing():
    block = {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.5}}
    gone = {"attention": {"no_op": True}, "ffn": {"no_op": True}}
    some = read(LLAMA | {"block_configs": [block, gone, block]})
    all_blocks = read(LLAMA | {"block_configs": [block, block]})
    norms = 2 * 64
    assert parameters(some) - parameters(all_blocks) == norms


def test_blocks_may_say_their_own_numbers_of_experts():
    blocks = [{"block_type": "mamba"}, {"block_type": "moe", "moe_intermediate_size": 8}]
    said = {"layers_block_type": ["mamba", "moe"], "hybrid_override_pattern": None}
    layers = read(HYBRID | said | {"block_configs": blocks}).layers
    assert [layer.feed_forward.expert_width for layer in layers] == [0, 8]


def test_of_layers_in_a_row_that_share_keys_and_values_one_keeps_them():
    layers = read(LLAMA | {"use_cla": True, "cla_share_factor": 2}).layers
    assert sum(layer.count for layer in layers if layer.mixer.kept_elements) == 2


def test_layers_that_reuse_keys_and_values_may_be_wider():
    wide = {"num_kv_shared_layers": 1, "use_double_wide_mlp": True}
    assert [layer.feed_forward.width for layer in read(LLAMA | wide).layers] == [160, 320]


def test_layers_that_reuse_keys_and_values_keep_none():
    layers = read(LLAMA | {"num_kv_shared_layers": 3}).layers
    assert [(layer.count, layer.mixer.kept_elements > 0) for layer in layers] == [
        (1, True), (3, False),
    ]  # fmt: skip


def test_an_unknown_architecture_with_the_usual_fields_is_read():
    other = LLAMA | {"architectures": ["NobodyKnowsForCausalLM"], "model_type": "nobody_knows"}
    assert read(other).layers == read(LLAMA).layers


@pytest.mark.parametrize(
    "field",
    ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size"],
)
@pytest.mark.parametrize("value", [None, -1, "many", True, 1e300, [], {}])
def test_a_field_that_makes_no_sense_is_named(field, value):
    with pytest.raises(FormatError, match=f"`{field}`"):
        read(LLAMA | {field: value})


def test_a_kind_of_layer_that_is_not_known_is_named():
    with pytest.raises(FormatError, match="`quantum`"):
        read(LLAMA | {"layer_types": ["quantum"] * 4})


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"{}", b"null"])
def test_what_is_no_configuration_is_refused(content):
    with pytest.raises(FormatError):
        read_config(content)


def test_infinity_as_real_files_have_it_is_read():
    content = json.dumps(LLAMA | {"time_step_limit": [0.0, float("inf")]}).encode()
    assert read_config(content).layers == read(LLAMA).layers


@given(
    st.sampled_from(sorted(FAMILIES)),
    st.dictionaries(
        st.sampled_from(sorted({key for family in FAMILIES.values() for key in family} | {
            "layer_types", "sliding_window", "compress_ratios", "block_configs", "head_dim",
            "quantization_config", "vision_config", "linear_attn_config", "moe_layer_freq",
            "sliding_window_pattern", "attn_layer_period", "num_kv_shared_layers", "text_config",
            "sparse_attention_config", "layers_block_type", "full_attention_interval", "mlp_ratio",
        })),
        st.recursive(
            st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=6)
            | st.sampled_from([2**40, "M*E-", "full_attention"]),
            lambda inner: st.lists(inner, max_size=5)
            | st.dictionaries(st.sampled_from(["quant_method", "bits", "attention", "ffn", "no_op",
                              "full_attn_layers", "hidden_size", "config_groups", "ignore"]),
                              inner, max_size=3),
            max_leaves=6,
        ),
        max_size=5,
    ),
)  # fmt: skip
@settings(max_examples=600, deadline=None)
def test_no_configuration_crashes_the_reader(family, changes):
    content = json.dumps(FAMILIES[family] | changes).encode()
    try:
        network = read_config(content)
    except FormatError:
        return
    assert parameters(network) >= active_parameters(network) - network.vocab * network.hidden


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(content):
    with pytest.raises(FormatError):
        read_config(content)


@given(st.integers(1, 64), st.sampled_from(sorted(FAMILIES)))
def test_more_layers_never_weigh_less(layers, family):
    config = {k: v for k, v in FAMILIES[family].items() if k != "hybrid_override_pattern"}
    few = read(config | {"num_hidden_layers": layers})
    many = read(config | {"num_hidden_layers": layers + 1})
    assert parameters(many) > parameters(few)
