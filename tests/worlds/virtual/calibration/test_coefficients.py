import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.plan.deployment import Deployment, Formats, Split
from plimsoll.plan.speed.step import step
from plimsoll.plan.speed.work import Batch
from plimsoll.worlds.virtual.calibration.coefficients import (
    FACTORS,
    SIZES,
    Coefficients,
    coefficients_of,
    physics,
)

FP8 = Formats(weights="fp8", experts="fp8", compute="fp8")
MODELS = [
    ("meta-llama/Llama-3.1-8B", 1, Formats()),
    ("meta-llama/Llama-3.1-70B-Instruct", 4, Formats()),
    ("RedHatAI/Llama-4-Scout-17B-16E-Instruct-FP8-dynamic", 2, FP8),
]


def deployment(model, tensor, formats, **other):
    return Deployment(
        network=network(model),
        device=device("H100-SXM"),
        split=Split(tensor=tensor, **other),
        formats=formats,
        context=8192,
        sequences=128,
        batch_tokens=2048,
    )


def seconds(coefficients, answers, context):
    """Of a step that only decodes."""
    times = coefficients.times()
    dense = dict(times.dense)[answers]
    return times.fixed + dense + times.answer * answers + times.context * answers * context


@pytest.mark.parametrize(("model", "tensor", "formats"), MODELS)
@pytest.mark.parametrize("answers", [1, 8, 32])
def test_a_step_that_decodes_takes_as_long_as_the_planner_says(model, tensor, formats, answers):
    asked = deployment(model, tensor, formats)
    planned = step(asked, Batch(decodes=answers, context=1000.0)).seconds
    assert seconds(physics(asked), answers, 1000.0) == pytest.approx(planned, rel=0.01)


@pytest.mark.parametrize(("model", "tensor", "formats"), MODELS)
def test_many_prompt_tokens_cost_about_what_the_planner_says(model, tensor, formats):
    asked = deployment(model, tensor, formats)
    times = physics(asked).times()
    ours = times.fixed + dict(times.dense)[8192] + times.mixed
    planned = step(asked, Batch(prefill=8192.0, prefill_seen=1.0)).seconds
    assert ours == pytest.approx(planned, rel=0.1)


def test_stages_of_a_pipeline_work_one_after_the_other():
    whole = physics(deployment("meta-llama/Llama-3.1-8B", 1, Formats()))
    halves = physics(deployment("meta-llama/Llama-3.1-8B", 1, Formats(), pipeline=2))
    assert halves.context == pytest.approx(whole.context, rel=0.01)
    assert halves.fixed > whole.fixed


def test_what_was_fitted_under_load_multiplies_physics():
    asked = deployment("meta-llama/Llama-3.1-8B", 1, Formats())
    fitted, plain = coefficients_of(asked), physics(asked)
    assert fitted.read != plain.read
    assert fitted.read == pytest.approx(plain.read, rel=0.5)


@given(
    st.floats(1e-3, 0.1), st.floats(1e-6, 1e-3), st.floats(0.0, 1e-4),
    st.dictionaries(st.sampled_from(FACTORS), st.floats(0.1, 10.0)),
)  # fmt: skip
def test_more_tokens_never_take_less_time(read, multiply, exchange, factors):
    made = Coefficients(fixed=0.0, read=read, multiply=multiply, exchange=exchange)
    dense = [seconds for _, seconds in made.scaled(factors).times().dense]
    assert dense == sorted(dense)
    assert len(dense) == len(SIZES)


def test_a_factor_multiplies_its_own_coefficient_only():
    made = Coefficients(fixed=1.0, read=2.0, multiply=3.0, experts=((1, 4.0), (2, 5.0)))
    scaled = made.scaled({"read": 10.0, "experts": 2.0})
    assert scaled == Coefficients(fixed=1.0, read=20.0, multiply=3.0, experts=((1, 8.0), (2, 10.0)))
