"""The random models of `tests/models.py` load in the real engine and answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import ARCHITECTURES, TENSOR_TYPES, write_tiny_gguf
from tests.training.engine import serving


@pytest.mark.parametrize(
    ("arch", "tensor_type"),
    [*((arch, "q4_0") for arch in ARCHITECTURES), *(("llama", kind) for kind in TENSOR_TYPES)],
)
def test_it_loads_and_answers(tmp_path: Path, arch: str, tensor_type: str) -> None:
    window = 64 if arch.startswith("gemma") else None
    path = write_tiny_gguf(
        tmp_path / "tiny.gguf", arch=arch, tensor_type=tensor_type, sliding_window=window
    )
    with serving(path, slots=1) as server:
        body: dict[str, object] = {
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 4,
        }
        assert server.post("/v1/chat/completions", body)["usage"]["completion_tokens"] >= 1


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    first, second = (
        write_tiny_gguf(tmp_path / name, seed=4).read_bytes() for name in ("a.gguf", "b.gguf")
    )
    assert first == second


def test_a_shape_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of kv_heads"):
        write_tiny_gguf(tmp_path / "odd.gguf", heads=4, kv_heads=3)
