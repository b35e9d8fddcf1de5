"""Weight formats: which run on which device, in which order, and how they multiply."""

from __future__ import annotations

import pytest

from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.fleet import Document, Model, load_fleet
from plimsoll.plan.search.formats import FormatOption, formats_for

SMALL = "Qwen/Qwen3-8B"


def model(quantization: str = "auto", extra: str = "") -> Model:
    text = (
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\nmetadata: {name: t}\nspec:\n  models:\n"
        f"    - {{name: chat, source: 'hf://{SMALL}', quantization: {quantization}{extra}}}\n"
    )
    return load_fleet([Document(file="t", text=text)]).models[0]


def labels(name: str, accelerator: str, quantization: str = "auto") -> list[str]:
    found = formats_for(model(quantization), network(name), device(accelerator))
    return [option.label for option in found.possible]


def first(accelerator: str, quantization: str, name: str = SMALL) -> FormatOption:
    return formats_for(model(quantization), network(name), device(accelerator)).possible[0]


def test_auto_keeps_the_published_format_first_and_four_bits_last() -> None:
    found = formats_for(model(), network(SMALL), device("H100")).possible
    assert [option.label for option in found] == ["bf16", "fp8", "awq", "int4"]
    assert [option.last_resort for option in found] == [False, False, True, True]
    assert found[2].needs == "a checkpoint in awq"


def test_none_keeps_the_published_format_only() -> None:
    assert labels(SMALL, "H100", "none") == ["bf16"]


@pytest.mark.parametrize("accelerator", ["T4", "V100-16GB"])
def test_a_device_without_bf16_runs_fp16(accelerator: str) -> None:
    assert first(accelerator, "none").formats.compute == "fp16"
    assert first(accelerator, "none").label == "fp16"


def test_fp8_is_multiplied_where_the_hardware_does_and_widened_elsewhere() -> None:
    assert first("H100", "fp8").formats.compute == "fp8"
    assert first("A100", "fp8").formats.compute == "bf16"


def test_four_bit_weights_are_multiplied_at_sixteen() -> None:
    assert first("H100", "awq").formats.compute == "bf16"


def test_a_format_that_the_device_does_not_run_is_rejected_with_the_reason() -> None:
    found = formats_for(model("fp8"), network(SMALL), device("V100-16GB"))
    assert not found.possible
    assert "does not run fp8 on volta" in found.rejected[0].reason


def test_ggufs_formats_are_not_an_accelerator_engines() -> None:
    found = formats_for(model("q4_k_m"), network(SMALL), device("H100"))
    assert not found.possible
    assert found.rejected


def test_a_model_published_in_fp8_is_not_widened() -> None:
    assert labels("deepseek-ai/DeepSeek-R1", "H200")[0].startswith("fp8")


def test_experts_in_another_format_are_named() -> None:
    option = first("H100", "none", "openai/gpt-oss-120b")
    assert option.formats.experts == "mxfp4"
    assert "experts mxfp4" in option.label


def test_a_smaller_cache_is_taken_when_the_file_says_so() -> None:
    found = formats_for(model("none", ", kvCacheType: fp8"), network(SMALL), device("H100"))
    assert found.possible[0].formats.cache == "fp8"
