"""The quantization configuration says in which formats dense weights and experts are stored."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import FormatError
from tests.facts.configs import LATENT, LLAMA, MIXTURE, read

FLOAT4 = {"num_bits": 4, "type": "float", "group_size": 16}
GROUP = {"targets": ["Linear"], "input_activations": {"num_bits": 8}}


def stored(quantization: object, config: object = MIXTURE, **more: object) -> tuple[str, str]:
    network = read({**config, "quantization_config": quantization, **more})  # type: ignore[dict-item]
    return network.stored, network.expert_stored


@pytest.mark.parametrize(
    ("quantization", "found"),
    [
        (None, "bf16"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8_block"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "gptq", "bits": 8}, "int8_wo"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bnb_nf4"),
        ({"group_size": 64, "bits": 4}, "int4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
    ],
)
def test_a_method_is_a_format(quantization, found):
    assert stored(quantization) == (found, found)


@pytest.mark.parametrize(
    ("weights", "activations", "found"),
    [
        ({"num_bits": 8, "type": "float"}, {"num_bits": 8}, "fp8"),
        ({"num_bits": 8, "type": "float", "strategy": "block"}, {"num_bits": 8}, "fp8_block"),
        ({"num_bits": 8, "type": "int"}, {"num_bits": 8}, "int8"),
        ({"num_bits": 8, "type": "int"}, None, "int8_wo"),
        ({"num_bits": 4, "type": "int"}, None, "int4"),
        (FLOAT4, {"num_bits": 4}, "nvfp4"),
        ({"num_bits": 4, "type": "float", "group_size": 32}, None, "mxfp4"),
    ],
)
def test_a_group_of_compressed_tensors_is_a_format(weights, activations, found):
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations}
    said = {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}
    assert stored(said) == (found, found)


def test_gpt_oss_stores_only_experts_in_mxfp4():
    assert stored({"quant_method": "mxfp4"}) == ("bf16", "mxfp4")


@pytest.mark.parametrize(
    "left_out",
    [
        ["model.layers.2.self_attn*", "model.layers.2.mlp.shared_experts*"],
        ["re:.*self_attn.*", "re:.*shared_experts.*"],
        ["*.self_attn.*", "*.shared_experts.*"],
    ],
)
def test_what_is_left_out_stays_plain(left_out):
    said = {"quant_method": "compressed-tensors", "ignore": left_out,
            "config_groups": {"group_0": GROUP | {"weights": FLOAT4}}}  # fmt: skip
    assert stored(said, LATENT) == ("bf16", "nvfp4")


def test_the_router_alone_left_out_leaves_the_rest_quantized():
    said = {
        "quant_method": "modelopt",
        "quant_algo": "NVFP4",
        "ignore": ["model.layers.2.mlp.gate"],
    }
    assert stored(said) == ("nvfp4", "nvfp4")


def test_mixed_precision_names_layers():
    layers = {
        "model.layers.0.mlp.experts.0.down_proj": {"quant_algo": "NVFP4"},
        "model.layers.0.self_attn.o_proj": {"quant_algo": "FP8"},
        "model.layers.0.mlp.shared_experts.down_proj": {"quant_algo": "FP8"},
    }
    said = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    assert stored(said) == ("fp8", "nvfp4")


def test_deepseek_v4_says_its_experts_beside():
    assert stored({"quant_method": "fp8"}, expert_dtype="fp4") == ("fp8", "mxfp4")


def test_a_file_of_its_own_is_read_as_the_configuration_is():
    said = json.dumps({"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}})
    assert read(LLAMA, quantization=said.encode()).stored == "fp8"


@pytest.mark.parametrize(
    "said", [{"quant_method": "mystery"}, {"quant_method": "awq", "bits": 3},
             {"quant_method": "modelopt", "quant_algo": "X"}]
)  # fmt: skip
def test_an_unknown_method_is_named(said):
    with pytest.raises(FormatError, match="is not a quantization known here") as caught:
        stored(said)
    assert "quantization_config" in str(caught.value.where)


@given(
    st.dictionaries(
        st.sampled_from(["quant_method", "quant_algo", "bits", "ignore", "config_groups",
                         "quantized_layers", "weight_block_size", "moe_quant_algo"]),
        st.recursive(
            st.none() | st.integers(-1, 9) | st.text(max_size=5)
            | st.sampled_from(["compressed-tensors", "modelopt", "fp8", "re:(.*a|b)*c"]),
            lambda inner: st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["g", "weights", "targets", "quant_algo"]), inner),
            max_leaves=8,
        ),
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_no_quantization_crashes_the_reader(said):
    try:
        found = stored(said)
    except FormatError:
        return
    assert all(found)
