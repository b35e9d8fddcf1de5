from __future__ import annotations

import math

import pytest

from plimsoll.facts.accelerators import accelerators, device
from plimsoll.facts.speed import (
    fitted_engines,
    kernels,
    likenesses,
    speed_constants,
    speed_effects,
    speed_intervals,
)
from plimsoll.plan.speed.effects import MOST, factors
from plimsoll.plan.speed.hardware import hardware, measured_generation
from tests.plan.speed.deployments import made


def test_every_engine_has_every_constant() -> None:
    common = speed_constants("")
    assert fitted_engines() == {"vllm", "sglang", "trtllm"}
    for engine in (*fitted_engines(), "unheard of"):
        own = speed_constants(engine)
        assert own.keys() == common.keys()
        assert all(value > 0 for value in own.values())


def test_kernels_reach_at_most_about_their_peaks() -> None:
    for row in kernels().values():
        assert row.start >= 0
        assert 0 < row.bandwidth < 1.1
        assert 0 < row.operations <= 1


@pytest.mark.parametrize("name", sorted(accelerators()))
def test_every_accelerator_has_kernels_or_a_likeness(name: str) -> None:
    generation = device(name).generation
    assert measured_generation(generation) == generation or generation in likenesses()
    reach = hardware(made("Llama-3.1-8B", name))
    rates = set(type(reach).__dataclass_fields__) - {"nvlink"}
    assert all(getattr(reach, field) > 0 for field in rates)


@pytest.mark.parametrize("target", ["tpot", "ttft"])
def test_no_level_multiplies_a_time_by_more_than_the_largest_factor(target: str) -> None:
    for group, found in speed_effects(target).items():
        assert found
        for level in found:
            for factor in factors(target, {group: level}).values():
                assert math.exp(-MOST) <= factor <= math.exp(MOST)


def test_an_unknown_level_multiplies_nothing() -> None:
    assert factors("tpot", {"model": "1x1x1", "version": "vllm 999"}) == {}


def test_effects_on_the_time_per_token_are_small() -> None:
    values = [
        abs(value)
        for found in speed_effects("tpot").values()
        for parts in found.values()
        for value in parts.values()
    ]
    assert sorted(values)[int(0.99 * len(values))] < 0.4


def test_intervals_hold_their_prediction_and_widen_with_what_is_unknown() -> None:
    table = speed_intervals()
    assert all(row.low <= 0 <= row.high for row in table.values())

    def width(known: str) -> float:
        row = table["tpot", known, "together"]
        return row.high - row.low

    assert width("configuration") < width("deployment")
    assert width("configuration") < width("model")
    assert width("configuration") < width("accelerator")
