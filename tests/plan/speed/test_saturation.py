from __future__ import annotations

import csv
import datetime as dt
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner.throughput import Row, predicted, rows
from plimsoll.facts import load as load_facts
from plimsoll.facts import throughput as facts
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.speed.constants import release
from plimsoll.plan.speed.deviation import TERMS, UNMEASURED
from plimsoll.plan.speed.saturation import releases, saturated

PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "perf" / "trtllm_perf_overview.csv"
DATA = Path(facts.__file__).with_name("data")
FP8 = Formats(weights="fp8", experts="fp8", compute="fp8", cache="fp8")
RUNS = st.sampled_from(
    [
        ("Llama-3.1-8B", "H100", FP8, Split()),
        ("Llama-3.3-70B", "A100", Formats(), Split(tensor=4)),
        ("Mixtral-8x7B", "L40S", FP8, Split(tensor=4)),
        ("Qwen3-235B-A22B", "H200", FP8, Split(data=8, expert=8)),
    ]
)
LENGTHS = st.tuples(st.integers(16, 30000), st.integers(1, 8000))


def made(run: tuple[str, str, Formats, Split], engine: str = "trtllm") -> Deployment:
    model, accelerator, formats, split = run
    return Deployment(
        network=network(model), device=device(accelerator), engine=engine, split=split,
        formats=formats, context=40000, sequences=1024,
    )  # fmt: skip


def speed(deployment: Deployment, lengths: tuple[int, int]) -> float:
    return saturated(deployment, *lengths).tokens_per_second.value


@settings(max_examples=60, deadline=None)
@given(RUNS, LENGTHS, st.floats(1.0, 3.0), st.floats(1.0, 3.0))
def test_a_faster_device_never_makes_fewer_tokens(run, lengths, bandwidth, flops) -> None:
    slow = made(run)
    fast = replace(
        slow.device,
        bandwidth=slow.device.bandwidth * bandwidth,
        flops={name: value * flops for name, value in slow.device.flops.items()},
    )
    assert speed(slow, lengths) <= speed(replace(slow, device=fast), lengths) * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(RUNS, LENGTHS, st.integers(0, 80))
def test_more_memory_never_makes_fewer_tokens(run, lengths, more) -> None:
    small = made(run)
    large = replace(small.device, memory=small.device.memory + more * 10**9)
    assert speed(small, lengths) <= speed(replace(small, device=large), lengths) * (1 + 1e-6)


@settings(max_examples=60, deadline=None)
@given(RUNS, LENGTHS)
def test_an_interval_holds_its_value(run, lengths) -> None:
    found = saturated(made(run), *lengths)
    assert 0 < found.tokens_per_second.low <= found.tokens_per_second.value
    assert found.tokens_per_second.value <= found.tokens_per_second.high


@settings(max_examples=60, deadline=None)
@given(RUNS, LENGTHS)
def test_a_longer_prompt_never_makes_more_tokens(run, lengths) -> None:
    # The fitted slope in the prompt's length must not turn physics around.
    prompt, output = lengths
    assert speed(made(run), (2 * prompt, output)) <= speed(made(run), lengths) * 1.02


def test_what_was_never_measured_has_a_wider_interval_and_says_so() -> None:
    measured = replace(made(("Llama-3.1-8B", "H200", FP8, Split())), version="1.0")
    known = saturated(measured, 1000, 1000)
    strange = saturated(made(("Llama-3.1-8B", "A10", Formats(), Split())), 1000, 1000)

    def width(found: object) -> float:
        return found.tokens_per_second.high / found.tokens_per_second.low  # type: ignore[attr-defined]

    assert width(strange) > 1.1 * width(known)
    assert "device was not measured" in strange.tokens_per_second.extrapolates
    assert not known.tokens_per_second.extrapolates


def test_a_70b_model_in_16_bits_on_two_80_gb_devices_is_starved() -> None:
    run = ("Llama-3.1-70B", "H100", Formats(), Split(tensor=2))
    found = saturated(replace(made(run), context=4096), 2048, 2048)
    assert found.starved
    assert found.limited_by == "kv cache"
    wide = replace(made(run), context=4096, split=Split(tensor=4))
    assert not saturated(wide, 2048, 2048).starved
    assert speed(wide, (2048, 2048)) > 4 * found.tokens_per_second.value


def test_few_requests_leave_a_replica_partly_empty() -> None:
    deployment = made(("Llama-3.1-8B", "H100", FP8, Split()))
    few = saturated(deployment, 1000, 1000, requests=50).tokens_per_second.value
    assert few < 0.5 * saturated(deployment, 1000, 1000).tokens_per_second.value


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_other_engines_are_computed_from_their_steps(engine: str) -> None:
    found = saturated(made(("Llama-3.1-8B", "H100", FP8, Split()), engine), 1000, 1000)
    assert 5_000 < found.tokens_per_second.value < 50_000


@pytest.mark.parametrize(
    ("version", "meant"),
    [("", "1.2-dev"), ("0.17", "0.17"), ("0.18.1", "0.17"), ("2.0", "1.2-dev"), ("0.1", "0.11.0")],
)
def test_a_release_counts_as_the_newest_measured_before_it(version: str, meant: str) -> None:
    assert release(version, releases()) == meant


def test_every_factor_has_a_spread_for_what_was_not_measured() -> None:
    known = facts.deviations()
    for factor, terms in TERMS.items():
        for term in range(terms):
            assert known[factor, UNMEASURED, term].spread > 0


@pytest.mark.parametrize(
    "name", ["saturation_constants", "saturation_deviations", "load_constants"]
)
def test_every_fitted_number_has_a_source_and_a_date(name: str) -> None:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines
    for line in lines:
        assert line["source"]
        assert dt.date.fromisoformat(line["date"]) >= dt.date(2026, 11, 1)
    assert load_facts.load_constants("vllm").keys() >= {"request", "lag", "steps"}


def published() -> list[Row]:
    if not PUBLISHED.exists():
        pytest.skip(f"no measured data at {PUBLISHED}")
    return [row for row in rows(PUBLISHED) if row]


def test_published_throughput_is_met() -> None:
    off = [abs(predicted(row).value / row.measured - 1) for row in published()]
    assert statistics.median(off) < 0.05
    assert statistics.fmean(off) < 0.07


def test_published_starved_rows_are_met() -> None:
    starved = [
        row
        for row in published()
        if row.model == "Llama-3.1-70B" and row.precision == "FP16" and row.gpu == "H100-SXM"
        and row.deployment.split.devices == 2 and row.prompt + row.output >= 2000
    ]  # fmt: skip
    assert len(starved) >= 5
    off = [abs(predicted(row).value / row.measured - 1) for row in starved]
    assert statistics.median(off) < 0.15
