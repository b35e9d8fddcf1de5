import pytest

from plimsoll.facts.catalogue import network
from plimsoll.facts.step_factors import fitted_runs, step_factors

RUNS = sorted(fitted_runs("vllm"))


def test_every_fit_has_a_source_and_plausible_factors():
    for without in ("", *RUNS):
        row = step_factors("vllm", without=without)
        assert row.source
        assert all(0.05 < factor < 20.0 for factor in row.factors.values())
        assert all(0.7 < effect < 1.4 for effect in row.models.values())


def test_models_are_named_as_in_the_catalogue():
    for name in step_factors("vllm").models:
        assert network(name).name == name


@pytest.mark.parametrize("run", RUNS)
def test_a_run_has_a_fit_that_left_it_out(run):
    assert step_factors("vllm", without=run).without == run


def test_a_run_that_was_never_fitted_on_takes_the_fit_of_all():
    assert step_factors("vllm", without="unheard-of").without == ""
    assert step_factors("unheard-of") == step_factors("vllm")


def test_a_models_effect_is_on_steps_and_not_on_what_is_outside_of_them():
    row = step_factors("vllm")
    name, effect = next(iter(row.models.items()))
    assert row.of(name)["read"] == pytest.approx(row.factors["read"] * effect)
    assert row.of(name)["request"] == row.factors["request"]
    assert row.of("unheard-of") == row.factors
