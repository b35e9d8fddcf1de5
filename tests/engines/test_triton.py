"""What is Triton's alone: several models in one server, and where their weights lie."""

from __future__ import annotations

import pytest

from plimsoll.engines import ENGINES
from plimsoll.engines.triton import REPOSITORY, Triton, weights_in_repository
from plimsoll.errors import InputError
from plimsoll.fleet.engines import Backend, EngineOptions
from plimsoll.plan.types import Placement
from tests.engines.placements import gpus, somewhere, usual

TRITON = ENGINES["triton"]
assert isinstance(TRITON, Triton)


def model(name: str, backend: Backend, **changes: object) -> Placement:
    options = EngineOptions(backend=backend, server="shared")
    return usual(TRITON, **{**gpus(), "model": name, "options": options, **changes})


def test_a_server_of_several_models_speaks_for_the_language_model() -> None:
    members = [
        (model("rerank", "onnxruntime", task="embedding"), somewhere(weights="/models/rerank")),
        (model("llama", "tensorrtllm"), somewhere(weights="/models/llama")),
        (model("clean", "python"), somewhere(weights="/models/clean")),
    ]
    command = TRITON.server(members)
    assert command.argv[command.argv.index("--tokenizer") + 1] == "/models/llama"
    assert {path.removeprefix(f"{REPOSITORY}/") for path in command.files} == {
        "rerank/config.pbtxt", "clean/config.pbtxt", "llama/config.pbtxt",
        "llama/1/model.py", "llama/1/model.yaml",
    }  # fmt: skip


def test_models_of_one_server_have_accelerators_of_their_own() -> None:
    members = [
        (model("rerank", "onnxruntime", task="embedding"), somewhere()),
        (model("llama", "tensorrtllm", **gpus(per_node=2)), somewhere()),
        (model("clean", "python"), somewhere()),
    ]
    files = TRITON.server(members).files
    assert "gpus: [ 2 ]" in files[f"{REPOSITORY}/rerank/config.pbtxt"]
    assert "gpus: [ 3 ]" in files[f"{REPOSITORY}/clean/config.pbtxt"]
    assert "gpus" not in TRITON.server(members[:1]).files[f"{REPOSITORY}/rerank/config.pbtxt"]


def test_two_language_models_in_one_server_are_refused_in_words() -> None:
    members = [(model(name, "vllm"), somewhere()) for name in ("a", "b")]
    with pytest.raises(InputError, match="several: `a`, `b`"):
        TRITON.server(members)


def test_weights_lie_in_the_repository_only_where_the_backend_looks_there() -> None:
    where = {
        backend: weights_in_repository(model("m", backend))
        for backend in ("vllm", "tensorrtllm", "onnxruntime", "python")
    }
    assert where == {"vllm": "", "tensorrtllm": "", "onnxruntime": "m/1", "python": "m/1"}


def test_the_image_is_the_one_of_the_backend() -> None:
    images = [
        TRITON.container(model("m", backend)).image.rpartition(":")[2]
        for backend in ("vllm", "tensorrtllm", "onnxruntime")
    ]
    assert images == ["26.07-vllm-python-py3", "26.07-trtllm-python-py3", "26.07-py3"]


def test_its_doors_are_three_ports() -> None:
    argv = TRITON.command(model("m", "vllm"), somewhere(port=8000)).argv
    names = ("openai", "kserve-http", "kserve-grpc")
    doors = [argv[argv.index(f"--{name}-port") + 1] for name in names]
    assert doors == ["8000", "8001", "8002"]


def test_an_embedding_on_tensorrt_llm_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="not run with embeddings"):
        TRITON.command(model("m", "tensorrtllm", task="embedding"), somewhere())
