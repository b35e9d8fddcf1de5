import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import FormatError
from plimsoll.facts.gguf import SplitPart, read_gguf, split_part
from plimsoll.facts.readable import Readable, in_memory
from tests.facts import gguf_bytes as raw
from tests.models import write_tiny_gguf


def read(content: bytes):
    return read_gguf(in_memory("model.gguf", content))


def file_at(path):
    return in_memory(path.name, path.read_bytes())


def test_a_model_written_by_the_library_is_read_whole(tmp_path):
    path = write_tiny_gguf(
        tmp_path / "a.gguf", arch="llama", layers=3, hidden=128, heads=8, kv_heads=2, vocab=700,
        context=1024, ffn=256, tensor_type="q8_0",
    )  # fmt: skip
    shape = read_gguf(file_at(path))
    assert (shape.architecture, shape.layers, shape.hidden, shape.ffn) == ("llama", 3, 128, 256)
    assert (shape.vocab, shape.context_train) == (700, 1024)
    first = shape.attention[0]
    assert (first.heads, first.kv_heads, first.key_dim, first.value_dim) == (8, 2, 16, 16)
    assert shape.tokenizer
    assert shape.chat_template
    assert shape.merges == 26
    assert shape.file_bytes == path.stat().st_size


def test_tensor_bytes_are_those_of_the_gguf_library(tmp_path):
    from gguf import GGUFReader

    path = write_tiny_gguf(tmp_path / "a.gguf", hidden=64, tensor_type="q4_0")
    shape = read_gguf(file_at(path))
    theirs = {tensor.name: int(tensor.n_bytes) for tensor in GGUFReader(path).tensors}
    assert {tensor.name: tensor.bytes for tensor in shape.tensors} == theirs


def test_gemma_layers_slide_but_one_in_six(tmp_path):
    path = write_tiny_gguf(tmp_path / "a.gguf", arch="gemma3", layers=7, sliding_window=32)
    windows = [layer.window for layer in read_gguf(file_at(path)).attention]
    assert windows == [32, 32, 32, 32, 32, 0, 32]


def test_a_window_of_an_architecture_that_ignores_it_is_ignored():
    shape = read(raw.model("llama", attention__sliding_window=32))
    assert {layer.window for layer in shape.attention} == {0}


def test_a_pattern_in_the_file_says_which_layers_slide():
    more = {"attention__sliding_window": 32, "attention__sliding_window_pattern": [1, 0]}
    shape = read(raw.model("gemma4", **more))
    assert [layer.window for layer in shape.attention] == [32, 0]


def test_kv_heads_may_differ_by_layer():
    shape = read(raw.model(attention__head_count_kv=[4, 1]))
    assert [layer.kv_heads for layer in shape.attention] == [4, 1]


def test_layers_that_share_keys_and_values_keep_none():
    shape = read(raw.model("gemma3n", attention__shared_kv_layers=1))
    assert [layer.cached for layer in shape.attention] == [True, False]


def test_latent_attention_keeps_no_values():
    more = {"attention__key_length": 576, "attention__value_length": 512,
            "attention__key_length_mla": 192, "attention__head_count_kv": 1}  # fmt: skip
    shape = read(raw.model("deepseek2", **more))
    assert (shape.attention[0].key_dim, shape.attention[0].value_dim) == (576, 0)


def test_a_recurrent_layer_keeps_state_instead_of_keys():
    said = raw.metadata("mamba", ssm__inner_size=128, ssm__state_size=16, ssm__conv_kernel=4)
    names = ["blk.0.ssm_in.weight", "blk.1.ssm_in.weight"]
    content = raw.header(said, [raw.tensor(name, (16, 16)) for name in names]) + bytes(4096)
    shape = read(content)
    assert [layer.kv_heads for layer in shape.attention] == [0, 0]
    assert shape.state_bytes == 2 * 4 * (3 * 128 + 128 * 16)


def test_only_ranges_that_are_needed_are_read(tmp_path):
    path = write_tiny_gguf(tmp_path / "a.gguf", hidden=256, layers=24, ffn=1024)
    content, asked = path.read_bytes(), []

    def part(offset, size):
        asked.append((offset, size))
        return content[offset : offset + size]

    read_gguf(Readable(name="a", size=len(content), read=part))
    assert len(content) > 10 << 20
    assert sum(size for _, size in asked) <= 2 << 20


def test_version_2_is_read_and_version_1_is_refused():
    content = raw.model()
    assert read(content[:4] + struct.pack("<I", 2) + content[8:]).layers == 2
    with pytest.raises(FormatError, match="version 1"):
        read(content[:4] + struct.pack("<I", 1) + content[8:])


def test_another_file_is_refused():
    with pytest.raises(FormatError, match="does not begin with `GGUF`"):
        read(b"PK\x03\x04" + bytes(5000))


def test_an_unknown_architecture_is_refused_with_the_nearest():
    with pytest.raises(FormatError, match="`qwen3`") as caught:
        read(raw.model("qwen33"))
    assert caught.value.code == "model.unknown-architecture"


def test_a_file_that_ends_inside_a_tensor_is_truncated():
    content = raw.model(room=512)
    assert read(content).layers == 2
    with pytest.raises(FormatError, match="truncated") as caught:
        read(content[:-1])
    assert caught.value.code == "model.truncated"


@pytest.mark.parametrize("size", [0, 3, 4, 8, 20, 24, 40, 100, 300])
def test_a_file_that_ends_inside_the_header_is_truncated(size):
    with pytest.raises(FormatError):
        read(raw.model()[:size])


@pytest.mark.parametrize("counts", [{"tensor_count": 2**63}, {"pair_count": 2**40}])
def test_huge_counts_are_refused_before_anything_is_read(counts):
    with pytest.raises(FormatError, match="truncated"):
        read(raw.header(raw.metadata(), **counts) + bytes(10_000))


def test_a_huge_array_is_refused_before_it_is_read():
    array = raw.text("x") + struct.pack("<IIQ", 9, 8, 2**61)
    with pytest.raises(FormatError, match="truncated"):
        read(raw.header({}, [array], tensor_count=0, pair_count=1) + bytes(1000))


def test_a_string_that_is_longer_than_the_file_is_refused():
    string = raw.text("x") + struct.pack("<IQ", 8, 2**62)
    with pytest.raises(FormatError, match="truncated"):
        read(raw.header({}, [string], tensor_count=0, pair_count=1) + bytes(1000))


def test_an_array_of_arrays_is_refused():
    array = raw.text("x") + struct.pack("<IIQ", 9, 9, 1)
    with pytest.raises(FormatError, match="array of type number 9"):
        read(raw.header({}, [array], tensor_count=0, pair_count=1) + bytes(1000))


def test_an_impossible_tensor_size_is_refused():
    huge = raw.tensor("t", (2**40, 2**40))
    with pytest.raises(FormatError, match="impossible size"):
        read(raw.header(raw.metadata(), [huge]) + bytes(1000))


def test_an_unknown_tensor_type_is_refused():
    with pytest.raises(FormatError, match="unknown type, number 4"):
        read(raw.header(raw.metadata(), [raw.tensor("t", (32,), kind=4)]) + bytes(1000))


def test_rows_that_are_no_whole_blocks_are_refused():
    with pytest.raises(FormatError, match="no whole blocks of 32"):
        read(raw.header(raw.metadata(), [raw.tensor("t", (33,), kind=2)]) + bytes(1000))


def test_a_key_twice_is_refused():
    twice = raw.pair("x", 1) + raw.pair("x", 1)
    with pytest.raises(FormatError, match="`x` twice"):
        read(raw.header({}, [twice], tensor_count=0, pair_count=2) + bytes(1000))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("block_count", None),
        ("block_count", 0),
        ("block_count", 2**31),
        ("block_count", "two"),
        ("embedding_length", None),
        ("embedding_length", True),
        ("attention__head_count_kv", [1]),
    ],
)
def test_numbers_that_are_missing_or_make_no_sense_are_named(key, value):
    with pytest.raises(FormatError, match=f"`llama.{key.replace('__', '.')}`"):
        read(raw.model(**{key: value}))


@pytest.mark.parametrize("kind", ["adapter", "mmproj", "imatrix"])
def test_a_file_that_holds_no_model_is_refused(kind):
    content = raw.header({"general.type": kind, **raw.metadata()}, [raw.tensor("t", (32,))])
    with pytest.raises(FormatError, match=f"holds a `{kind}`"):
        read(content + bytes(1000))


@given(st.binary(max_size=400))
def test_no_bytes_crash_the_reader(content):
    with pytest.raises(FormatError):
        read(b"GGUF" + content)


@given(st.integers(0, 420), st.integers(0, 255))
def test_one_changed_byte_is_read_or_refused_and_never_crashes(place, byte):
    content = bytearray(raw.model())
    content[place] = byte
    try:
        shape = read(bytes(content))
    except FormatError:
        return
    assert shape.layers > 0


def test_the_name_of_a_part_says_its_place():
    part = split_part("big-00002-of-00003.gguf")
    assert part == SplitPart(stem="big", number=2, count=3)
    assert part.names()[0] == "big-00001-of-00003.gguf"


@pytest.mark.parametrize("name", ["big.gguf", "big-00004-of-00003.gguf", "big-1-of-3.gguf"])
def test_other_names_are_no_parts(name):
    assert split_part(name) is None


def _parts(count, *, order=(0, 1)):
    files = []
    for number in order:
        said = raw.metadata() if number == 0 else {}
        said = {**said, "split.count": count, "split.no": number}
        content = raw.header(said, [raw.tensor(f"t{number}", (16, 16))]) + bytes(2048)
        files.append(in_memory(f"m-{number}", content))
    return files


def test_the_parts_of_a_model_add_up():
    files = _parts(2)
    shape = read_gguf(*files)
    assert [tensor.name for tensor in shape.tensors] == ["t0", "t1"]
    assert shape.parts == 2
    assert shape.file_bytes == sum(file.size for file in files)


def test_a_model_with_a_missing_part_is_refused():
    with pytest.raises(FormatError, match="split into 3 files, 2 given"):
        read_gguf(*_parts(3))


def test_parts_in_another_order_are_refused():
    with pytest.raises(FormatError):
        read_gguf(*_parts(2, order=(1, 0)))
