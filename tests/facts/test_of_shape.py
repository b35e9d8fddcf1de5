"""Headers of weights and a configuration of the same model make the same network."""

from __future__ import annotations

import json

import pytest

from plimsoll.facts.gguf import read_gguf
from plimsoll.facts.network import Network
from plimsoll.facts.of_shape import network_of
from plimsoll.facts.parameters import parameters
from plimsoll.facts.readable import in_memory
from plimsoll.facts.safetensors import read_safetensors
from plimsoll.facts.shape import ModelShape
from tests.facts import gguf_bytes as raw
from tests.facts.configs import LLAMA, MIXTURE, read
from tests.models import write_tiny_gguf

BITS = {"BF16": 16, "F8_E4M3": 8, "I32": 32, "U8": 8, "F16": 16}


def layer_tensors(config: dict[str, object], number: int) -> dict[str, tuple[int, ...]]:
    hidden, kv = 64, 32
    prefix = f"model.layers.{number}."
    found: dict[str, tuple[int, ...]] = {
        f"{prefix}self_attn.q_proj.weight": (hidden, hidden),
        f"{prefix}self_attn.k_proj.weight": (kv, hidden),
        f"{prefix}self_attn.v_proj.weight": (kv, hidden),
        f"{prefix}self_attn.o_proj.weight": (hidden, hidden),
        f"{prefix}input_layernorm.weight": (hidden,),
        f"{prefix}post_attention_layernorm.weight": (hidden,),
    }
    if config is LLAMA:
        for name, shape in (("gate", (160, 64)), ("up", (160, 64)), ("down", (64, 160))):
            found[f"{prefix}mlp.{name}_proj.weight"] = shape
        return found
    found[f"{prefix}mlp.gate.weight"] = (8, hidden)
    for expert in range(8):
        for name, shape in (("gate", (32, 64)), ("up", (32, 64)), ("down", (64, 32))):
            found[f"{prefix}mlp.experts.{expert}.{name}_proj.weight"] = shape
    return found


def folder(config: dict[str, object], *, dtype: str = "BF16", expert: str = "BF16",
           more: tuple[str, ...] = ()) -> ModelShape:  # fmt: skip
    tensors = {"model.embed_tokens.weight": (100, 64), "lm_head.weight": (100, 64)}
    for number in range(4):
        tensors |= layer_tensors(config, number)
    tensors |= dict.fromkeys(more, (1,))
    head: dict[str, object] = {}
    end = 0
    for name, shape in tensors.items():
        kind = expert if ".experts." in name else dtype
        size = BITS[kind] // 8
        for dimension in shape:
            size *= dimension
        head[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    header = json.dumps(head).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(end)
    return read_safetensors(json.dumps(config).encode(), in_memory("model.safetensors", content))


def same_sizes(one: Network, other: Network) -> bool:
    return (one.layers, one.hidden, one.vocab, one.tied) == (
        other.layers, other.hidden, other.vocab, other.tied,
    )  # fmt: skip


@pytest.mark.parametrize("config", [LLAMA, MIXTURE], ids=["dense", "mixture"])
def test_a_folder_makes_the_network_that_its_configuration_makes(config):
    assert same_sizes(network_of(folder(config)), read(config))


@pytest.mark.parametrize("config", [LLAMA, MIXTURE], ids=["dense", "mixture"])
def test_all_parameters_of_the_files_are_counted(config):
    shape = folder(config)
    assert parameters(network_of(shape)) == shape.parameters
    assert network_of(shape).stored_bytes == shape.weight_bytes


@pytest.mark.parametrize(
    ("dtype", "expert", "more", "found"),
    [
        ("BF16", "BF16", (), ("bf16", "bf16")),
        ("F16", "F16", (), ("fp16", "fp16")),
        ("BF16", "F8_E4M3", (), ("bf16", "fp8")),
        ("F8_E4M3", "F8_E4M3", ("model.a.weight_scale_inv",), ("fp8_block", "fp8")),
        ("BF16", "U8", ("model.layers.0.mlp.experts.0.weight_scale_2",), ("bf16", "nvfp4")),
        ("BF16", "U8", (), ("bf16", "mxfp4")),
        ("I32", "I32", ("a.g_idx", "model.layers.0.mlp.experts.0.g_idx"), ("gptq", "gptq")),
        ("I32", "I32", (), ("awq", "awq")),
    ],
)
def test_the_type_with_most_bytes_is_the_format(dtype, expert, more, found):
    network = network_of(folder(MIXTURE, dtype=dtype, expert=expert, more=more))
    assert (network.stored, network.expert_stored) == found


@pytest.mark.parametrize("arch", ["llama", "qwen3", "gemma3"])
def test_a_gguf_file_is_counted_whole(tmp_path, arch):
    path = write_tiny_gguf(tmp_path / "a.gguf", arch=arch, layers=6, tensor_type="q8_0")
    shape = read_gguf(in_memory("a.gguf", path.read_bytes()))
    network = network_of(shape, name="tiny")
    assert (network.name, network.depth, network.stored) == ("tiny", 6, "q8_0")
    assert parameters(network) == shape.parameters
    assert network.extra < 0.02 * shape.parameters


def test_a_gguf_layer_has_the_width_of_its_tensors(tmp_path):
    path = write_tiny_gguf(tmp_path / "a.gguf", hidden=64, ffn=256, layers=2)
    (layer,) = network_of(read_gguf(in_memory("a.gguf", path.read_bytes()))).layers
    assert (layer.feed_forward.width, layer.feed_forward.matrices) == (256, 3)


def test_latent_attention_keeps_what_the_file_says():
    more = {"attention__key_length": 576, "attention__value_length": 512,
            "attention__key_length_mla": 192, "attention__head_count_kv": 1}  # fmt: skip
    shape = read_gguf(in_memory("a.gguf", raw.model("deepseek2", **more)))
    (layer,) = network_of(shape).layers
    assert (layer.mixer.kind, layer.mixer.kept_elements) == ("latent", 576)


def test_recurrent_layers_keep_the_state_of_the_file():
    said = raw.metadata("mamba", ssm__inner_size=128, ssm__state_size=16, ssm__conv_kernel=4)
    names = ["blk.0.ssm_in.weight", "blk.1.ssm_in.weight"]
    content = raw.header(said, [raw.tensor(name, (16, 16)) for name in names]) + bytes(4096)
    shape = read_gguf(in_memory("a.gguf", content))
    (layer,) = network_of(shape).layers
    assert layer.mixer.kind == "recurrent"
    assert layer.count * layer.mixer.state * layer.mixer.state_bytes == shape.state_bytes
