"""Every time of a shutdown follows from the longest answer."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.engines import ENGINES
from plimsoll.facts.kubernetes import figure
from plimsoll.worlds.cluster.info import ASSUMED
from plimsoll.worlds.cluster.objects.drain import DRAIN_VARIABLE
from plimsoll.worlds.cluster.objects.pods import rendered
from plimsoll.worlds.cluster.objects.workloads import deployment
from tests.worlds.cluster.objects.made import (
    GGUF,
    REPOSITORY,
    engine_of,
    first,
    made,
    model,
    notes_of,
    one,
    pod_of,
)

SPOT = {
    "name": "spot", "accelerator": "H100-80GB-SXM", "perNode": 8, "capacity": "spot",
    "nodes": {"min": 0, "max": 4},
}  # fmt: skip


def site(engine: str, seconds: float = 600, **words):
    source = GGUF if engine == "llamacpp" else REPOSITORY
    options = {"image": "registry.example.com/own:1"} if engine == "custom" else {}
    return made(
        model(engine=engine, source=source, engineOptions=options),
        gateway={"maxStream": f"{seconds}s"},
        **words,
    )


@given(engine=st.sampled_from(sorted(ENGINES)), seconds=st.integers(1, 86_400))
@settings(deadline=None, max_examples=60)
def test_the_grace_period_holds_the_pause_and_the_longest_answer(engine: str, seconds: int):
    end = rendered(place := site(engine, seconds), first(place)).ending
    assert end.max_stream >= seconds
    assert end.grace >= end.pre_stop + figure("shutdown_margin")
    assert end.pre_stop >= figure("endpoint_removal")
    # Either answers end after the engine's signal, or, where that aborts them, before it.
    before = end.pre_stop - figure("endpoint_removal") >= seconds
    assert before or end.grace >= end.pre_stop + seconds


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llamacpp"])
def test_an_engine_that_finishes_its_streams_is_told_how_long(engine: str):
    place = site(engine, 300)
    container = engine_of(one(place, "Deployment"))
    told = {**{e["name"]: e.get("value") for e in container["env"]}}
    if engine == "llamacpp":
        assert told[DRAIN_VARIABLE] == "300"
    if engine == "vllm":
        assert container["args"][container["args"].index("--shutdown-timeout") + 1] == "300"
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}
    assert pod_of(one(place, "Deployment"))["terminationGracePeriodSeconds"] >= 15 + 300


@pytest.mark.parametrize("engine", ["triton", "custom"])
def test_an_engine_that_aborts_at_its_signal_gets_it_after_the_longest_answer(engine: str):
    manifest = one(site(engine, 300), "Deployment")
    assert engine_of(manifest)["lifecycle"]["preStop"]["sleep"]["seconds"] == 315
    assert "aborts" in notes_of(manifest)["plimsoll.dev/why-grace-period"]


def test_an_old_kubelet_pauses_with_a_program():
    old = msgspec.structs.replace(ASSUMED, kubernetes="1.33")
    older = msgspec.structs.replace(ASSUMED, kubernetes="1.29")
    sleep = engine_of(one(site("vllm", info=old), "Deployment"))["lifecycle"]["preStop"]
    assert sleep == {"sleep": {"seconds": 15}}
    place = site("vllm", info=older)
    hook = engine_of(deployment(place, first(place)))["lifecycle"]["preStop"]
    assert hook == {"exec": {"command": ["sleep", "15"]}}


@pytest.mark.parametrize(
    ("provider", "provisioner", "seconds"),
    [
        ("aws", "karpenter", 120),
        ("aws", "nodeGroup", 120),
        ("gcp", "auto", 15),
        ("azure", "auto", 30),
    ],
)
def test_a_spot_notice_that_is_too_short_is_said(provider: str, provisioner: str, seconds: int):
    pool = SPOT | {"cloud": {"provider": provider}, "provisioner": provisioner}
    notes = notes_of(one(site("vllm", pools=(pool,)), "Deployment"))
    assert notes["plimsoll.dev/spot-notice-seconds"] == str(seconds)
    assert "another replica" in notes["plimsoll.dev/why-spot"]


def test_a_spot_notice_that_is_long_enough_is_not_mentioned():
    pool = SPOT | {"cloud": {"provider": "aws"}}
    notes = notes_of(one(site("vllm", 60, pools=(pool,)), "Deployment"))
    assert "plimsoll.dev/spot-notice-seconds" not in notes


@given(seconds=st.floats(1, 10_000, allow_nan=False))
@settings(deadline=None, max_examples=20)
def test_parts_of_a_second_are_rounded_up(seconds: float):
    text = f"{round(seconds * 1000)}ms"
    place = made(model(), gateway={"maxStream": text})
    assert rendered(place, first(place)).ending.max_stream == math.ceil(
        round(seconds * 1000) / 1000
    )
