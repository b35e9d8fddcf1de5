import datetime as dt
from collections import Counter

import pytest

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerators, device
from plimsoll.facts.weight_formats import (
    format_support,
    supported,
    weight_format,
    weight_formats,
)

FORMATS = pytest.mark.parametrize("row", weight_formats().values(), ids=lambda row: row.name)
PAIRS = pytest.mark.parametrize(
    "row", format_support(), ids=lambda row: f"{row.generation}-{row.engine}"
)


@FORMATS
def test_a_format_has_a_source_and_a_date_that_has_been(row):
    assert row.source
    assert dt.date(2026, 1, 1) <= row.date <= dt.date(2026, 11, 21)


@FORMATS
def test_scales_never_make_a_format_smaller(row):
    plain = {"fp32": 32, "bf16": 16, "fp16": 16}.get(row.name, 4 if row.bits < 8 else 8)
    assert plain <= row.bits <= plain * 1.15
    assert row.bytes * 8 == row.bits


@FORMATS
def test_a_quality_figure_says_what_was_measured(row):
    assert (row.recovery is None) == (not row.measured)
    assert row.recovery is None or 0.5 < row.recovery < 1.1


def test_bits_with_their_scales():
    assert weight_format("awq").bits == 4 + 16 / 128 + 4 / 128
    assert weight_format("nvfp4").bits == 4 + 8 / 16
    assert weight_format("mxfp4").bits == 4 + 8 / 32
    assert weight_format("fp8_block").bits == pytest.approx(8 + 32 / 128**2, abs=1e-4)


def test_a_spelling_belongs_to_one_format():
    seen = Counter(text for row in weight_formats().values() for text in {row.name, *row.aliases})
    assert [text for text, times in seen.items() if times > 1] == []


@pytest.mark.parametrize(
    ("said", "meant"),
    [("int4_wo", "int4"), ("float16", "fp16"), ("FP8", "fp8"), ("bfloat16", "bf16"),
     ("none", "bf16"), ("W8A8", "int8"), ("fp8-block", "fp8_block"), ("bitsandbytes", "bnb_nf4")],
)  # fmt: skip
def test_a_format_is_known_by_the_names_in_use(said, meant):
    assert weight_format(said).name == meant


def test_an_unknown_format_is_an_input_error_with_the_nearest():
    with pytest.raises(InputError) as caught:
        weight_format("nvfp5")
    assert caught.value.code == "facts.unknown-weight-format"
    assert "nvfp4" in (caught.value.hint or "")


@PAIRS
def test_support_names_known_formats_once(row):
    assert set(row.native) | set(row.kernels) <= set(weight_formats())
    assert not set(row.native) & set(row.kernels)
    assert row.source
    assert row.date <= dt.date(2026, 11, 21)


@PAIRS
def test_an_engine_computes_natively_only_what_some_hardware_can(row):
    able = {
        kind
        for whole in accelerators().values()
        if whole.generation == row.generation
        for kind in whole.native
    }
    assert set(row.native) <= able | {"fp32", "mxfp8"}


def test_support_is_by_generation_and_engine():
    assert supported("hopper", "vllm")["awq"] == "kernel"
    assert supported(device("H100"), "vllm")["fp8"] == "native"
    assert supported(device("A100"), "vllm")["fp8"] == "kernel"
    assert supported(device("B200"), "trtllm")["nvfp4"] == "native"
    assert "nvfp4" not in supported(device("H100"), "trtllm")
    assert "bf16" not in supported(device("T4"), "vllm")


def test_an_unknown_pair_is_an_input_error():
    with pytest.raises(InputError) as caught:
        supported("volta", "trtllm")
    assert caught.value.code == "facts.unknown-format-support"
