"""Time to start from what is predicted; nothing kills a replica that loads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.engines import ENGINES
from plimsoll.facts.kubernetes import figure
from plimsoll.plan.types import ColdStart
from plimsoll.worlds.cluster.objects.probes import startup_budget
from tests.worlds.cluster.objects.made import GGUF, REPOSITORY, engine_of, first, made, model, one


def budget(weights: float, engine: float, timeout: float) -> int:
    cold = ColdStart(node=1000, image=1000, weights=weights, engine=engine, source="test")
    site = made(model(startup={"timeout": f"{timeout:.3f}s"}), place={"cold_start": cold})
    return startup_budget(first(site)).seconds


seconds = st.floats(0.1, 5000, allow_nan=False)


@given(weights=seconds, engine=seconds, timeout=st.floats(1, 86_000, allow_nan=False))
@settings(deadline=None)
def test_the_budget_is_never_below_what_is_predicted(weights, engine, timeout):
    assert budget(weights, engine, timeout) >= weights + engine


@given(weights=seconds, engine=seconds, timeout=st.floats(1, 86_000, allow_nan=False))
@settings(deadline=None)
def test_the_budget_keeps_to_the_fleet_file_where_that_leaves_enough(weights, engine, timeout):
    if timeout >= weights + engine:
        assert budget(weights, engine, timeout) <= timeout + 1


def test_a_quick_start_has_a_floor_and_a_slow_one_a_factor():
    assert budget(1, 1, 1800) == figure("startup_floor")
    assert budget(100, 100, 1800) == figure("startup_factor") * 200


def test_where_nothing_is_known_the_fleet_file_decides():
    site = made(model(startup={"timeout": "7m"}), place={"cold_start": ColdStart()})
    assert startup_budget(first(site)).seconds == 420


@pytest.mark.parametrize("engine", sorted(set(ENGINES) - {"rayserve"}))
def test_probes_are_consistent_for_every_engine(engine: str):
    source = GGUF if engine == "llamacpp" else REPOSITORY
    options = {"image": "registry.example.com/own:1"} if engine == "custom" else {}
    site = made(model(engine=engine, source=source, engineOptions=options))
    container = engine_of(one(site, "Deployment"))
    start = container["startupProbe"]
    allowed = start["periodSeconds"] * start["failureThreshold"]
    assert allowed >= startup_budget(first(site)).seconds
    assert start["timeoutSeconds"] <= start["periodSeconds"]
    assert container["readinessProbe"]["periodSeconds"] <= 10
    # A liveness probe begins after the startup probe, and is patient with a long step.
    alive = container.get("livenessProbe")
    if alive is not None:
        assert alive["periodSeconds"] * alive["failureThreshold"] >= 60
        assert "initialDelaySeconds" not in alive
    assert {p["httpGet"]["port"] for n, p in container.items() if n.endswith("Probe")} == {"http"}


def test_an_engine_that_cannot_tell_stuck_from_loading_has_no_liveness_probe():
    assert "livenessProbe" not in engine_of(
        one(made(model(engine="llamacpp", source=GGUF)), "Deployment")
    )
