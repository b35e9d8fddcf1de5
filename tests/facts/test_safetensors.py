import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import FormatError
from plimsoll.facts.readable import in_memory
from plimsoll.facts.safetensors import index_files, read_safetensors

CONFIG = {
    "model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 8,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 1000,
    "max_position_embeddings": 2048,
}  # fmt: skip


def weights(entries=None, *, room=None):
    entries = entries or {"w": ("BF16", [4, 8])}
    head, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape) in entries.items():
        size = 2
        for dimension in shape:
            size *= dimension
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(head).encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(end if room is None else room)


def read(config=CONFIG, *contents):
    files = [in_memory(f"{n}", content) for n, content in enumerate(contents or [weights()])]
    return read_safetensors(json.dumps(config).encode(), *files)


def test_a_folder_is_read():
    shape = read(CONFIG, weights(), weights({"v": ("BF16", [16])}))
    assert (shape.layers, shape.hidden, shape.vocab, shape.ffn) == (4, 64, 1000, 128)
    assert (shape.attention[0].kv_heads, shape.attention[0].key_dim) == (2, 8)
    assert {tensor.name: tensor.bytes for tensor in shape.tensors} == {"w": 64, "v": 32}
    assert shape.parts == 2


def test_layer_types_say_which_layers_slide():
    kinds = ["sliding_attention", "full_attention"] * 2
    shape = read(CONFIG | {"sliding_window": 512, "layer_types": kinds})
    assert [layer.window for layer in shape.attention] == [512, 0, 512, 0]


def test_a_window_that_is_not_used_is_none():
    shape = read(CONFIG | {"sliding_window": 512, "use_sliding_window": False})
    assert {layer.window for layer in shape.attention} == {0}


def test_the_text_part_of_a_model_with_pictures_counts():
    shape = read({"model_type": "gemma3", "vocab_size": 5, "text_config": CONFIG})
    assert shape.vocab == 1000


def test_latent_attention_keeps_one_narrow_row():
    shape = read(CONFIG | {"kv_lora_rank": 512, "qk_rope_head_dim": 64})
    first = shape.attention[0]
    assert (first.kv_heads, first.key_dim, first.value_dim) == (1, 576, 0)


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "vocab_size", "model_type"])
def test_what_is_missing_is_named(key):
    with pytest.raises(FormatError, match=key):
        read({k: v for k, v in CONFIG.items() if k != key})


def test_a_file_that_ends_inside_a_tensor_is_truncated():
    with pytest.raises(FormatError, match="truncated") as caught:
        read(CONFIG, weights(room=63))
    assert caught.value.code == "model.truncated"


def test_a_huge_header_is_refused_before_it_is_read():
    with pytest.raises(FormatError, match="no safetensors file"):
        read(CONFIG, (2**60).to_bytes(8, "little") + bytes(100))


def test_an_unknown_element_type_is_refused():
    with pytest.raises(FormatError, match="unknown type `Q9`"):
        read(CONFIG, weights({"w": ("Q9", [4])}))


def test_a_tensor_that_does_not_fill_its_bytes_is_refused():
    with pytest.raises(FormatError, match="does not fill"):
        read(CONFIG, weights({"w": ("F32", [4])}))


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(content):
    with pytest.raises(FormatError):
        read_safetensors(json.dumps(CONFIG).encode(), in_memory("w", content))


@given(st.binary(max_size=200))
def test_no_config_crashes_the_reader(content):
    with pytest.raises(FormatError):
        read_safetensors(content, in_memory("w", weights()))


def test_the_index_names_every_file_once():
    index = {"weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}
    assert index_files(json.dumps(index).encode()) == ("1.safetensors", "2.safetensors")


def test_an_index_without_a_map_is_refused():
    with pytest.raises(FormatError, match="weight_map"):
        index_files(b"{}")
