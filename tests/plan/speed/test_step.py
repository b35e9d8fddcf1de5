from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.facts.accelerators import device
from plimsoll.facts.speed import speed_constants
from plimsoll.plan.deployment import Deployment, Split
from plimsoll.plan.speed.hardware import hardware
from plimsoll.plan.speed.stages import handing, idle
from plimsoll.plan.speed.step import bits_of, step
from plimsoll.plan.speed.work import Batch, crowded, touched, work
from tests.plan.speed.deployments import BLOCK, RUNS, made

BATCHES = st.builds(
    Batch,
    prefill=st.floats(0, 16000),
    prefill_seen=st.floats(0, 8000),
    decodes=st.floats(0, 512),
    context=st.floats(1, 32000),
)
some = settings(max_examples=100, deadline=None)


@some
@given(RUNS, BATCHES)
def test_the_terms_of_a_step_add_up(run: Deployment, batch: Batch) -> None:
    one = step(run, batch)
    assert one.seconds == pytest.approx(sum(one.terms.values()))
    assert all(value >= 0 for value in one.terms.values())


@some
@given(RUNS, BATCHES, st.floats(0, 100), st.floats(0, 4000))
def test_more_work_is_never_faster(
    run: Deployment, batch: Batch, requests: float, tokens: float
) -> None:
    more = Batch(
        prefill=batch.prefill + tokens, prefill_seen=batch.prefill_seen,
        decodes=batch.decodes + requests, context=batch.context,
    )  # fmt: skip
    # A step without decoding requests pays kernels' starts by itself; one with them shares them.
    if batch.decodes >= 1:
        assert step(run, more).seconds * (1 + 1e-9) >= step(run, batch).seconds


def test_weights_of_a_dense_model_are_read_once() -> None:
    run = made("Llama-3.1-8B", "H100")
    asked = work(run, Batch(decodes=1, context=1), bits_of)
    assert asked.dense_bytes == pytest.approx(15.0e9, rel=0.01)  # 7.5e9 without the embedding


def test_tensor_parallelism_cuts_what_a_device_reads() -> None:
    one, four = (
        work(made("Llama-3.1-8B", "H100", tensor=n), Batch(decodes=8, context=1000), bits_of)
        for n in (1, 4)
    )
    assert four.dense_bytes == pytest.approx(one.dense_bytes / 4, rel=0.01)
    assert four.decode_bytes == pytest.approx(one.decode_bytes / 4)
    assert (one.reductions, four.reductions) == (0, 64)


def test_latent_caches_are_held_whole_by_every_device() -> None:
    one, eight = (
        work(made("DeepSeek-R1", "H200", tensor=n, formats=BLOCK), Batch(decodes=8, context=1000),
             bits_of)
        for n in (1, 8)
    )  # fmt: skip
    assert eight.decode_bytes == one.decode_bytes


def test_few_tokens_read_few_experts_and_many_read_all() -> None:
    assert touched(256, 8, 1) == pytest.approx(8)
    assert touched(256, 8, 10_000) == pytest.approx(256)


@given(st.floats(1, 10_000), st.sampled_from([1, 2, 4, 8, 16]))
def test_the_fullest_device_reads_no_less_than_its_part(tokens: float, groups: int) -> None:
    fullest = crowded(256, 8, tokens, groups)
    assert touched(256, 8, tokens) / groups <= fullest * (1 + 1e-9) <= 256 / groups * (1 + 1e-8)


def test_a_step_within_a_sliding_window_does_not_grow_with_the_context() -> None:
    run = made("gpt-oss-20b", "H100", formats=BLOCK)
    near, far = (
        work(run, Batch(decodes=1, context=context), bits_of).decode_bytes
        for context in (4000, 8000)
    )
    assert far < 2 * near


def test_over_pcie_more_devices_make_more_hops_at_the_rate_of_one_link() -> None:
    two, eight = (hardware(made("Llama-3.3-70B", "L40S", tensor=n)) for n in (2, 8))
    assert eight.wire == two.wire < device("L40S").link
    assert eight.reduction_start > 2 * two.reduction_start


def test_stages_on_other_nodes_hand_over_at_the_rate_of_the_fabric() -> None:
    near = replace(made("Llama-3.3-70B", "H200"), split=Split(pipeline=8))
    far = replace(near, split=Split(pipeline=16))
    assert hardware(far).handing < hardware(near).handing
    assert handing(far, 100, hardware(far)) > handing(near, 100, hardware(near))


@given(RUNS, st.floats(1, 512), st.sampled_from([2, 4, 8]), st.floats(1e-4, 1.0))
def test_a_round_of_stages_is_never_shorter_than_one_pass(
    run: Deployment, requests: float, stages: int, seconds: float
) -> None:
    split = replace(run, split=replace(run.split, pipeline=stages))
    assert idle(split, requests, seconds, hardware(split), speed_constants("")) > 0
