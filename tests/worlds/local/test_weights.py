"""Files on a real disk become shapes, or a clear refusal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from plimsoll.errors import FormatError
from plimsoll.worlds.local.weights import read_shape
from tests.models import write_tiny_gguf
from training.demo.export import read_gguf, write_huggingface

DEMO = Path(__file__).resolve().parents[3] / "src/plimsoll/worlds/local/builtin/demo.gguf"


def test_a_gguf_file_and_a_folder_with_it_have_one_shape(tmp_path: Path) -> None:
    shutil.copy(DEMO, tmp_path / "model.gguf")
    assert read_shape(tmp_path).layers == read_shape(DEMO).layers
    assert read_shape(tmp_path).parameters == read_shape(DEMO).parameters


def test_a_safetensors_folder_has_the_shape_of_the_gguf_it_came_from(tmp_path: Path) -> None:
    write_huggingface(read_gguf(DEMO), tmp_path)
    shape, gguf = read_shape(tmp_path), read_shape(DEMO)
    assert shape.format == "safetensors"
    assert (shape.layers, shape.hidden, shape.vocab) == (gguf.layers, gguf.hidden, gguf.vocab)
    assert shape.tokenizer
    assert shape.chat_template


def test_a_truncated_file_is_refused_with_the_tensor_that_is_cut(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(DEMO.read_bytes()[:-1000])
    with pytest.raises(FormatError, match="truncated") as caught:
        read_shape(tmp_path / "cut.gguf")
    assert caught.value.where == "cut.gguf"


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    key, known, other = b"general.architecture", b"llama", b"lamma"
    before, found, after = DEMO.read_bytes().partition(key)
    broken = before + found + after.replace(known, other, 1)
    (tmp_path / "odd.gguf").write_bytes(broken)
    with pytest.raises(FormatError, match="lamma") as caught:
        read_shape(tmp_path / "odd.gguf")
    assert "llama" in str(caught.value.hint)


def test_a_folder_with_two_models_asks_which(tmp_path: Path) -> None:
    for name in ("one.gguf", "two.gguf"):
        write_tiny_gguf(
            tmp_path / name, layers=1, hidden=64, heads=2, kv_heads=1, context=128, ffn=64
        )
    with pytest.raises(FormatError, match=r"one\.gguf, two\.gguf"):
        read_shape(tmp_path)


def test_a_missing_part_of_a_split_model_is_named(tmp_path: Path) -> None:
    shutil.copy(DEMO, tmp_path / "model-00001-of-00002.gguf")
    with pytest.raises(FormatError, match="No such file"):
        read_shape(tmp_path / "model-00001-of-00002.gguf")
