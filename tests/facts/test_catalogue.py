"""The catalogue answers to the names that people write, with the weights that publishers count."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from plimsoll.errors import InputError
from plimsoll.facts.catalogue import network, networks, rows
from plimsoll.facts.model_names import spelling
from plimsoll.facts.parameters import active_parameters, parameters

MEASURED = Path(__file__).parents[3] / "shared" / "data" / "perf"
SETS = (
    "prefill_rpeak_llmd.csv", "sageserve_llama3_a100.csv", "serverlessllm_load_times.csv",
    "silicon_sample.csv.gz", "splitwise_llama2_bloom.csv", "trtllm_perf_overview.csv",
    "vllm_under_load.csv", "vram_ground_truth.csv",
)  # fmt: skip
COUNTED = [row.name for row in rows().values() if row.published]
ACTIVE = [row.name for row in rows().values() if row.active]


def test_there_are_many_models_of_many_architectures():
    assert len(networks()) >= 80
    assert len({found.architecture for found in networks().values()}) >= 40


@pytest.mark.parametrize("name", COUNTED)
def test_the_weights_of_a_model_are_those_that_its_publisher_counts(name):
    assert parameters(networks()[name]) / 1e9 == pytest.approx(rows()[name].published, rel=0.015)


@pytest.mark.parametrize("name", ACTIVE)
def test_the_active_weights_are_those_that_its_publisher_counts(name):
    """Publishers count the input embedding, the output head, both or none."""
    found = networks()[name]
    active, embedding = active_parameters(found), found.vocab * found.hidden
    counted = rows()[name].active
    assert any(
        n / 1e9 == pytest.approx(counted, rel=0.10)
        for n in (active - embedding, active, active + embedding)
    )


@pytest.mark.parametrize("name", list(rows()))
def test_every_row_is_found_by_its_own_name(name):
    assert network(name).name == name
    assert rows()[name].source
    assert rows()[name].counted or not rows()[name].published


def test_a_row_that_is_like_another_names_one_with_a_configuration():
    for row in rows().values():
        assert not row.like or not rows()[row.like].like


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Llama-3.1-70B", "meta-llama/Meta-Llama-3.1-70B"),
        ("meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Meta-Llama-3.1-70B"),
        ("llama2-70b", "meta-llama/Llama-2-70b-hf"),
        ("bloom-176b", "bigscience/bloom"),
        ("GPT-J-6B", "EleutherAI/gpt-j-6b"),
        ("Falcon-180B", "tiiuae/falcon-180B"),
        ("zhipuai/GLM-5", "zai-org/GLM-5"),
        ("DeepSeek-R1-0528", "deepseek-ai/DeepSeek-R1-0528"),
        ("Mixtral-8x22B-Instruct-v0.1", "mistralai/Mixtral-8x22B-v0.1"),
        ("gpt-oss-120B", "openai/gpt-oss-120b"),
        ("qwen3_30b_a3b", "Qwen/Qwen3-30B-A3B"),
        ("GLM-5.2-NVFP4", "nvidia/GLM-5.2-NVFP4"),
        ("DeepSeek-V2.5-1210", "deepseek-ai/DeepSeek-V2.5"),
        ("gpt-oss:20b", "openai/gpt-oss-20b"),
        ("Qwen3-Coder-30B", "Qwen/Qwen3-Coder-30B-A3B-Instruct"),
        ("Llama-4-Scout", "meta-llama/Llama-4-Scout-17B-16E-Instruct"),
    ],
)
def test_a_model_answers_to_what_people_write(written, name):
    assert network(written).name == name


@pytest.mark.parametrize(
    ("written", "dense", "experts"),
    [
        ("nvidia/Qwen3-32B-NVFP4", "nvfp4", "nvfp4"),
        ("Qwen/Qwen2.5-72B-Instruct-AWQ", "awq", "awq"),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "gptq", "gptq"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", "int8_wo", "int8_wo"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "int4", "int4"),
        ("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "fp8", "fp8"),
        ("nvidia/DeepSeek-R1-NVFP4", "bf16", "nvfp4"),
        ("deepseek-ai/DeepSeek-V3", "fp8_block", "fp8_block"),
        ("openai/gpt-oss-20b", "bf16", "mxfp4"),
    ],
)
def test_a_quantization_in_the_name_is_how_the_weights_are_stored(written, dense, experts):
    found = network(written)
    assert (found.stored, found.expert_stored) == (dense, experts)


def test_a_quantization_in_the_name_changes_nothing_else():
    plain, quantized = network("Llama-3.1-8B"), network("Llama-3.1-8B-AWQ")
    assert quantized.layers == plain.layers


def test_a_beginning_that_several_models_have_is_not_guessed():
    with pytest.raises(InputError, match="not in the catalogue") as caught:
        network("mixtral")
    assert "Mixtral-8x7B" in (caught.value.hint or "")


def test_a_name_without_a_format_is_never_a_quantized_row():
    assert network("meta-llama/Llama-3.1-70B-Instruct").stored == "bf16"


def test_an_unknown_model_gets_the_nearest_names():
    with pytest.raises(InputError, match="not in the catalogue") as caught:
        network("Lama-3.1-70B")
    assert caught.value.code == "facts.unknown-model"
    assert "Llama-3.1-70B" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "name", ["", "/", "-", "a" * 5000, "x/y/z", "\x00", "-fp8", "fp8", "seed", "a/step"]
)
def test_no_name_crashes_the_catalogue(name):
    with pytest.raises(InputError):
        network(name)


def test_models_of_other_sizes_are_not_mixed_up():
    names = ("Qwen3-4B", "Qwen3-14B", "Qwen3-30B-A3B", "DeepSeek-V3", "DeepSeek-V3.1", "DeepSeek")
    assert len({spelling(name).keys[4] for name in names}) == len(names)


@pytest.mark.skipif(not MEASURED.is_dir(), reason="the measured sets are not beside this checkout")
@pytest.mark.parametrize("file", SETS)
def test_every_measured_model_is_in_the_catalogue(file):
    content = (MEASURED / file).read_bytes()
    text = (gzip.decompress(content) if file.endswith(".gz") else content).decode()
    names = {row.get("model") or row["model_path"] for row in csv.DictReader(io.StringIO(text))}
    for name in names - {"any"}:
        network(name)
