from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.facts.accelerators import device
from plimsoll.plan.deployment import Deployment, Split
from plimsoll.plan.speed.latency import Workers, disaggregated, latency
from tests.plan.speed.deployments import (
    BLOCK,
    CONCURRENCIES,
    FP8,
    MEASURED,
    OUTPUTS,
    PROMPTS,
    RUNS,
    made,
)

MORE = st.floats(1.0, 8.0)
SLACK = 1 + 1e-9
many = settings(max_examples=150, deadline=None)


@many
@given(RUNS, PROMPTS, OUTPUTS, CONCURRENCIES, MORE)
def test_more_requests_in_flight_never_shorten_the_time_per_token(
    run: Deployment, prompt: float, output: float, concurrency: float, more: float
) -> None:
    few = latency(run, prompt, output, concurrency).tpot.value
    assert latency(run, prompt, output, concurrency * more).tpot.value * SLACK >= few


@many
@given(RUNS, PROMPTS, OUTPUTS, CONCURRENCIES, MORE)
def test_a_longer_prompt_never_shortens_the_time_to_the_first_token(
    run: Deployment, prompt: float, output: float, concurrency: float, more: float
) -> None:
    short = latency(run, prompt, output, concurrency).ttft.value
    assert latency(run, prompt * more, output, concurrency).ttft.value * SLACK >= short


@many
@given(RUNS, PROMPTS, OUTPUTS, CONCURRENCIES, MORE)
def test_more_bandwidth_is_never_slower(
    run: Deployment, prompt: float, output: float, concurrency: float, more: float
) -> None:
    faster = replace(run, device=replace(run.device, bandwidth=run.device.bandwidth * more))
    slow, fast = (latency(one, prompt, output, concurrency) for one in (run, faster))
    assert fast.tpot.value <= slow.tpot.value * SLACK
    assert fast.ttft.value <= slow.ttft.value * SLACK


@many
@given(RUNS, PROMPTS, OUTPUTS, CONCURRENCIES, MORE)
def test_a_faster_link_is_never_slower(
    run: Deployment, prompt: float, output: float, concurrency: float, more: float
) -> None:
    faster = replace(run, device=replace(run.device, link=run.device.link * more))
    slow, fast = (latency(one, prompt, output, concurrency).tpot.value for one in (run, faster))
    assert fast <= slow * SLACK


@many
@given(RUNS, PROMPTS, OUTPUTS, CONCURRENCIES, st.floats(0, 1))
def test_a_prompt_that_is_cached_in_part_never_takes_longer(
    run: Deployment, prompt: float, output: float, concurrency: float, part: float
) -> None:
    cold, warm = (latency(run, prompt, output, concurrency, seen) for seen in (0, prompt * part))
    assert warm.ttft.value <= cold.ttft.value * SLACK


@many
@given(RUNS, PROMPTS, OUTPUTS, CONCURRENCIES)
def test_every_number_lies_in_its_interval(
    run: Deployment, prompt: float, output: float, concurrency: float
) -> None:
    said = latency(run, prompt, output, concurrency)
    for one in (said.ttft, said.tpot, said.throughput):
        assert 0 < one.low <= one.value <= one.high


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm", "tgi", "triton", "rayserve", "own"])
@pytest.mark.parametrize(
    "accelerator", ["T4", "L4", "A10", "V100-32GB", "RTX-4090", "MI300X", "MI355X", "B300"]
)
def test_every_engine_and_accelerator_gets_an_answer(engine: str, accelerator: str) -> None:
    said = latency(made("Llama-3.1-8B", accelerator, engine=engine, formats=FP8), 512, 128, 4)
    assert 0.001 < said.tpot.value < 1
    assert said.tpot.extrapolates


def test_a_mig_slice_is_slower_than_its_whole() -> None:
    whole = made("Llama-3.1-8B", "H100")
    slice_ = replace(whole, device=device("H100", "3g.40gb"))
    assert latency(slice_, 512, 128, 4).tpot.value > latency(whole, 512, 128, 4).tpot.value * 1.5


def test_what_was_never_measured_is_said_and_widens_the_interval() -> None:
    known = latency(MEASURED, 921.6, 921.6, 32).tpot
    strange = latency(replace(MEASURED, device=device("MI300X")), 921.6, 921.6, 32).tpot
    assert known.extrapolates == ()
    assert any("MI300X" in reason for reason in strange.extrapolates)
    assert strange.high / strange.low > 1.5 * known.high / known.low


def test_the_largest_part_of_a_time_is_named_first() -> None:
    why = latency(made("Llama-3.1-8B", "L4"), 128, 512, 1).tpot.why
    assert why[0].startswith("base ")


def test_more_replicas_for_prompts_never_delay_the_first_token() -> None:
    def first(prefills: int) -> float:
        workers = Workers(prefills=prefills, decodes=2)
        return disaggregated(MEASURED, MEASURED, workers, 8000, 500, 256).ttft.value

    assert first(1) >= first(2) >= first(4)


def test_prompts_computed_apart_do_not_slow_decoding() -> None:
    both = replace(MEASURED, version="never measured")
    together = latency(both, 8000, 500, 64).tpot.value
    apart = disaggregated(both, both, Workers(prefills=1, decodes=1), 8000, 500, 64).tpot.value
    assert apart < together


def test_more_pipeline_stages_never_shorten_the_time_per_token() -> None:
    one = made("Llama-3.3-70B", "H200", formats=FP8)
    two = replace(one, split=Split(pipeline=2))
    assert latency(two, 512, 128, 1).tpot.value >= latency(one, 512, 128, 1).tpot.value


def test_stages_serve_their_parts_of_the_requests_at_once() -> None:
    one = made("Llama-3.3-70B", "H200", formats=FP8)
    two = replace(one, split=Split(pipeline=2))
    few, many = (latency(run, 512, 512, 200).throughput.value for run in (one, two))
    assert 1.2 * few < many < 2 * few


def test_requests_beyond_memory_wait_for_it() -> None:
    run = made("Llama-3.3-70B", "H200", formats=FP8)
    inside, beyond = latency(run, 8000, 1000, 8), latency(run, 8000, 1000, 200)
    assert beyond.ttft.value > 10 * inside.ttft.value
    assert any(reason.startswith("queue") for reason in beyond.ttft.why)


def test_experts_over_data_parallel_attention_are_answered() -> None:
    run = replace(MEASURED, split=Split(data=8, expert=8), formats=BLOCK)
    assert 0.005 < latency(run, 1024, 1024, 64).tpot.value < 0.1


def test_a_hundred_thousand_answers_take_seconds() -> None:
    latency(MEASURED, 1000, 1000, 8)
    started = time.perf_counter()
    for concurrency in range(1, 501):
        latency(MEASURED, 1000, 1000, concurrency)
    assert (time.perf_counter() - started) / 500 < 0.001  # 0.1 ms on an idle core
