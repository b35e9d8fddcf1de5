import datetime as dt

import pytest

from plimsoll.errors import FormatError, InputError
from plimsoll.facts.architectures import architecture, architectures
from plimsoll.facts.engine_memory import memory_constants
from plimsoll.facts.engines import engine, engines
from plimsoll.facts.formats import ggml_types, ggml_types_by_name, safetensors_dtypes
from plimsoll.facts.nearest import nearest_hint

EVERY_ROW = [
    *architectures().values(),
    *engines().values(),
    *ggml_types().values(),
    *safetensors_dtypes().values(),
    *memory_constants("llamacpp").values(),
]


@pytest.mark.parametrize("row", EVERY_ROW, ids=lambda row: f"{type(row).__name__}-{row.name}")
def test_every_fact_has_a_name_a_source_and_a_date(row):
    assert row.name
    assert row.source
    assert dt.date(2026, 1, 1) <= row.date <= dt.date(2027, 12, 31)


@pytest.mark.parametrize("row", engines().values(), ids=lambda row: row.name)
def test_an_engine_has_the_metrics_that_scaling_needs(row):
    assert {"running", "waiting"} <= set(row.metrics) or row.name == "custom"
    assert set(row.metrics) <= {
        "running", "waiting", "prompt_tokens", "generated_tokens", "kv_usage",
    }  # fmt: skip
    assert row.health.startswith("/")
    assert row.metrics_path.startswith("/")
    assert 0 < row.port < 65536


def test_ggml_types_have_one_number_and_one_name_each():
    assert len(ggml_types()) == len(ggml_types_by_name())


def test_ggml_types_are_those_of_the_gguf_library():
    from gguf.constants import GGML_QUANT_SIZES

    ours = {row.id: (row.block_elements, row.block_bytes) for row in ggml_types().values()}
    assert {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}.items() <= ours.items()


def test_ggml_types_are_those_of_the_engine():
    import xllamacpp

    known = {member.value for member in xllamacpp.ggml_type if member.name != "GGML_TYPE_COUNT"}
    assert set(ggml_types()) == known


def test_a_sliding_architecture_says_which_layers_see_everything():
    for row in architectures().values():
        assert (row.sliding_period > 0) == (row.whole_layer in ("first", "last")), row.name


def test_gemma3_has_one_whole_layer_in_six():
    row = architecture("gemma3")
    whole = [layer for layer in range(12) if not row.slides(layer, row.sliding_period)]
    assert whole == [5, 11]


def test_an_unknown_architecture_is_refused_with_the_nearest_names():
    with pytest.raises(FormatError, match=r"`lama`.*nearest known: `llama`"):
        architecture("lama")


def test_an_unknown_engine_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="`llamacpp`"):
        engine("lamacpp")


def test_a_word_near_nothing_gets_examples_and_not_a_list_of_hundreds():
    assert len(nearest_hint("zzzzzzzz", architectures())) < 200
