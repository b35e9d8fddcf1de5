from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.shape import Tensor
from plimsoll.plan.memory import KV_TYPES, Settings, ledger
from plimsoll.units import MIB
from tests.plan.shapes import SHAPES, shape

SETTINGS = st.builds(
    Settings,
    context=st.integers(16, 40_000),
    parallel=st.integers(1, 64),
    batch=st.sampled_from([1, 32, 512, 2048]),
    threads=st.integers(1, 64),
    kv_type=st.sampled_from(KV_TYPES),
    task=st.sampled_from(["chat", "completion", "embedding"]),
    prompt_cache=st.sampled_from([0, 64 * MIB]),
    checkpoints=st.integers(0, 4),
)
USUAL = Settings(context=1024, parallel=2, batch=512, threads=2)


def term(made, name):
    return next((term.bytes for term in made.terms if term.name == name), 0)


@given(SHAPES, SETTINGS)
def test_the_ledger_adds_up_to_the_byte(model, settings):
    made = ledger(model, settings)
    assert made.total == sum(term.bytes for term in made.terms)
    assert all(term.bytes > 0 and term.why for term in made.terms)
    assert all(isinstance(term.bytes, int) for term in made.terms)


@given(SHAPES, SETTINGS)
def test_the_names_of_terms_are_unique(model, settings):
    names = [term.name for term in ledger(model, settings).terms]
    assert len(names) == len(set(names))


@given(SHAPES, SETTINGS, st.integers(1, 5000))
def test_a_longer_context_never_needs_less(model, settings, more):
    longer = replace(settings, context=settings.context + more)
    assert ledger(model, longer).total >= ledger(model, settings).total


@given(SHAPES, SETTINGS, st.integers(1, 8))
def test_more_slots_always_need_more(model, settings, more):
    wider = replace(settings, parallel=settings.parallel + more)
    assert ledger(model, wider).total > ledger(model, settings).total


@given(SHAPES, SETTINGS, st.integers(1, 5000))
def test_a_larger_batch_never_needs_less(model, settings, more):
    larger = replace(settings, batch=settings.batch + more)
    assert ledger(model, larger).total >= ledger(model, settings).total


def test_the_kv_cache_is_layers_x_heads_x_width_x_tokens_x_slots():
    made = ledger(shape(layers=4, kv_heads=2, head_dim=64), USUAL)
    assert term(made, "kv cache") == 4 * 2 * (64 + 64) * 2 * 1024 * 2


def test_query_heads_do_not_enlarge_the_kv_cache():
    few, many = (ledger(shape(heads=heads, kv_heads=2), USUAL) for heads in (2, 16))
    assert term(few, "kv cache") == term(many, "kv cache")


def test_the_context_is_rounded_up_to_256_tokens():
    one, other = (ledger(shape(), replace(USUAL, context=n)) for n in (257, 512))
    assert term(one, "kv cache") == term(other, "kv cache")


def test_a_sliding_layer_keeps_its_window_and_one_batch():
    made = ledger(shape(layers=2, window=512), replace(USUAL, context=8192))
    whole, sliding = term(made, "kv cache"), term(made, "kv cache of sliding layers")
    assert whole / sliding == 8192 / (512 + 512)


def test_a_window_longer_than_the_context_keeps_the_context():
    made = ledger(shape(layers=2, window=4096), USUAL)
    assert term(made, "kv cache") == term(made, "kv cache of sliding layers")


def test_a_quantized_cache_takes_its_blocks():
    f16, q8 = (ledger(shape(), replace(USUAL, kv_type=kind)) for kind in ("f16", "q8_0"))
    assert term(q8, "kv cache") * 64 == term(f16, "kv cache") * 34


def test_an_unknown_cache_type_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="`q8_0`"):
        ledger(shape(), replace(USUAL, kv_type="q8"))


def test_an_encoder_keeps_no_kv_cache_and_yields_no_logits():
    encoder = ledger(shape(causal=False), replace(USUAL, task="embedding"))
    decoder = ledger(shape(), replace(USUAL, task="embedding"))
    assert term(encoder, "kv cache") == 0
    assert term(encoder, "compute buffers") < term(decoder, "compute buffers")


def test_an_embedding_hands_out_every_token_of_a_step():
    made = ledger(shape(vocab=4000, hidden=256), replace(USUAL, task="embedding"))
    assert term(made, "output buffer") == 512 * (4000 + 256) * 4


def test_a_feed_forward_layer_without_a_gate_works_in_place():
    model = shape(hidden=256, ffn=2048)
    up = Tensor(name="blk.0.ffn_up.weight", type="f16", shape=(256, 2048), bytes=0)
    gate = replace(up, name="blk.0.ffn_gate.weight")
    without = ledger(replace(model, tensors=(up,)), USUAL)
    gated = ledger(replace(model, tensors=(up, gate)), USUAL)
    saved = term(gated, "compute buffers") - term(without, "compute buffers")
    assert saved == 512 * 4 * 2 * 2048


def test_a_tied_matrix_of_a_repacked_type_is_there_twice():
    model = shape(kind="q4_0", tied=True)
    assert term(ledger(model, USUAL), "output matrix") == model.tensors[0].bytes
    assert term(ledger(shape(kind="f16", tied=True), USUAL), "output matrix") == 0


def test_weights_are_listed_by_type():
    made = ledger(shape(kind="q8_0"), USUAL)
    assert term(made, "weights q8_0") == shape(kind="q8_0").weight_bytes


def test_checkpoints_count_windows_of_every_slot():
    made = ledger(shape(layers=2, window=512), replace(USUAL, checkpoints=3))
    assert term(made, "context checkpoints") == 3 * 2 * 512 * 2 * (64 + 64) * 2


def test_checkpoints_of_a_model_that_can_rebuild_all_are_nothing():
    assert term(ledger(shape(), replace(USUAL, checkpoints=3)), "context checkpoints") == 0


@pytest.mark.parametrize(
    ("sizes", "settings", "megabytes"),
    [
        # What llama.cpp's log said ("CPU compute buffer size") for models of these sizes.
        ({"hidden": 512, "ffn": 1536, "heads": 8}, {}, 15.02),
        ({"hidden": 512, "ffn": 1536, "heads": 8}, {"batch": 256}, 7.51),
        ({"hidden": 512, "ffn": 1536, "heads": 8}, {"context": 8192}, 22.02),
        ({"hidden": 512, "ffn": 3072, "heads": 8}, {}, 24.02),
        ({"hidden": 1024, "ffn": 2816, "heads": 16}, {}, 27.52),
        ({"hidden": 512, "ffn": 512, "heads": 64, "kv_heads": 64}, {}, 38.02),
        (
            {"hidden": 512, "ffn": 1536, "heads": 8, "vocab": 128_000},
            {"parallel": 64, "context": 256},
            36.52,
        ),
        ({"hidden": 512, "ffn": 1536, "heads": 8, "experts": 8, "experts_used": 4}, {}, 42.02),
        ({"hidden": 512, "ffn": 1536, "heads": 8, "vocab": 64_000}, {"task": "embedding"}, 131.02),
    ],
)
def test_compute_buffers_are_those_of_the_log(sizes, settings, megabytes):
    made = ledger(shape(**sizes), replace(USUAL, parallel=1, **settings) if "parallel" not in
                  settings else replace(USUAL, **settings))  # fmt: skip
    assert term(made, "compute buffers") / MIB == pytest.approx(megabytes, rel=0.02)
