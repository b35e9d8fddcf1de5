from __future__ import annotations

from hypothesis import given, settings

from plimsoll.plan.deployment import Deployment
from plimsoll.plan.speed.floor import decode_floor, prompt_floor
from plimsoll.plan.speed.latency import latency
from tests.plan.speed.deployments import RUNS, made


@settings(deadline=None)
@given(RUNS)
def test_no_prediction_passes_its_floor(run: Deployment) -> None:
    said = latency(run, 2000, 200, 1)
    assert said.tpot.value > decode_floor(run).seconds
    assert said.ttft.value > prompt_floor(run, 2000).seconds


def test_a_floor_says_what_is_read_and_how_fast() -> None:
    words = decode_floor(made("Llama-3.1-8B", "L4")).words
    assert words == ("decode cannot go under 50.0 ms on L4: 14.0 GiB of weights at 300 GB/s")


def test_a_floor_over_several_devices_says_so() -> None:
    assert decode_floor(made("Llama-3.1-8B", "H100", tensor=2)).words.endswith(
        ", on each of 2 devices"
    )
