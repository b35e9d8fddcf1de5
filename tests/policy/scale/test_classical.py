"""The classical rules do what their originals do."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.scale import (
    Arrived,
    Keda,
    Knative,
    Limits,
    Metric,
    Queued,
    QueueDrain,
    Signals,
)
from plimsoll.policy.scale.keda import Memory
from plimsoll.policy.scale.mm1 import highest_rate
from tests.policy.scale.seen import CAPACITY, SERVICE

WIDE = Limits(min=1, max=10_000)


def look(now: float, in_flight: float, ready: int, queued: float = 0.0) -> Signals:
    return Signals(
        now=now, in_flight=in_flight, ready=ready, queued=Queued(requests=queued), arrived=Arrived()
    )


@given(total=st.floats(0, 5000), threshold=st.floats(0.5, 200), current=st.integers(1, 60))
def test_the_hpa_formula_with_its_tolerance_and_its_limit_upwards(
    total: float, threshold: float, current: int
) -> None:
    policy = Keda(threshold=threshold, limits=WIDE)
    got = policy.decide(look(0.0, total, current), Memory()).replicas
    ratio = total / (threshold * current)
    wanted = current if abs(1 - ratio) <= 0.1 else max(1, ceil(total / threshold - 1e-9))
    assert got == min(wanted, max(2 * current, current + 4))


def test_the_hpa_goes_down_to_the_highest_of_five_minutes() -> None:
    policy = Keda(threshold=10.0, limits=WIDE)
    memory = policy.decide(look(0.0, 200.0, 20), Memory()).memory
    memory = policy.decide(look(15.0, 120.0, 20), memory).memory
    at_20 = policy.decide(look(285.0, 50.0, 20), memory)
    assert at_20.replicas == 20
    gone = policy.decide(look(300.0, 50.0, 20), at_20.memory)
    assert gone.replicas == 12
    assert policy.decide(look(315.0, 50.0, 12), gone.memory).replicas == 5


def test_between_two_syncs_the_hpa_does_nothing() -> None:
    policy = Keda(threshold=10.0, limits=WIDE)
    first = policy.decide(look(0.0, 100.0, 10), Memory())
    assert policy.decide(look(10.0, 900.0, 10), first.memory).replicas == 10
    assert policy.decide(look(15.0, 900.0, 10), first.memory).replicas == 20


def test_keda_goes_to_zero_after_the_cooldown_and_wakes_at_a_poll() -> None:
    policy = Keda(threshold=10.0, limits=Limits(min=0, max=9))
    memory = policy.decide(look(0.0, 5.0, 1), Memory()).memory
    asked = []
    for step in range(1, 30):
        answer = policy.decide(look(step * 15.0, 0.0, 1), memory)
        memory = answer.memory
        asked.append(answer.replicas)
    assert asked[18] == 1
    assert asked[-1] == 0
    woken = [
        policy.decide(look(450.0 + wait, 0.0, 0, queued=1.0), memory).replicas for wait in (15, 30)
    ]
    assert woken[-1] == 1


def test_keda_on_a_rate_takes_the_mean_of_a_minute() -> None:
    policy = Keda(threshold=5.0, limits=WIDE, metric=Metric.RATE)
    memory = Memory()
    for step, rate in enumerate((10.0, 10.0, 10.0, 50.0)):
        signals = Signals(
            now=15.0 * (step + 1), arrived=Arrived(seconds=15.0, requests=15.0 * rate), ready=4
        )
        answer = policy.decide(signals, memory)
        memory = answer.memory
    assert answer.replicas == 4  # 20 requests/s


def kpa(seconds: int, asked: float, ready: int, policy: Knative, start: int = 0) -> list[int]:
    memory = policy.memory_type()
    answers = []
    for now in range(start, start + seconds, 2):
        answer = policy.decide(look(float(now), asked, ready), memory)
        memory = answer.memory
        answers.append(answer.replicas)
    return answers


def test_the_kpa_panics_at_twice_what_is_ready_and_then_never_goes_down() -> None:
    policy = Knative(target=10.0, limits=WIDE)
    memory = policy.memory_type()
    for now in range(0, 60, 2):
        memory = policy.decide(look(float(now), 40.0, 4), memory).memory
    asked = []
    for now in range(60, 120, 2):
        answer = policy.decide(look(float(now), 100.0 if now < 70 else 0.0, 4), memory)
        memory = answer.memory
        asked.append(answer.replicas)
    assert max(asked[:5]) == 10
    assert min(asked[5:]) == 10


def test_the_kpa_goes_down_by_half_of_what_is_ready_at_most() -> None:
    policy = Knative(target=10.0, limits=WIDE)
    assert kpa(200, 1.0, 16, policy)[-1] == 8


def test_a_queue_that_waits_is_through_in_the_time_given() -> None:
    policy = QueueDrain(capacity=CAPACITY, limits=WIDE, drain=10.0)
    signals = Signals(
        now=0.0,
        queued=Queued(requests=300.0, prompt_tokens=300_000.0, output_tokens=60_000.0),
        ready=1,
    )
    assert policy.decide(signals, policy.memory_type()).replicas == 3


@given(prompt=st.integers(10, 4000), output=st.integers(2, 800))
def test_longer_requests_never_allow_a_higher_rate(prompt: int, output: int) -> None:
    rate = highest_rate(SERVICE, prompt, output)
    assert highest_rate(SERVICE, prompt * 2, output) <= rate * (1 + 1e-6)
    assert highest_rate(SERVICE, prompt, output * 2) <= rate * (1 + 1e-6)


def test_an_objective_that_one_request_misses_allows_no_rate() -> None:
    slow = type(SERVICE)(
        **{**{f: getattr(SERVICE, f) for f in SERVICE.__struct_fields__}, "tpot": 0.001}
    )
    assert highest_rate(slow, 1000, 100) == 0.0


@pytest.mark.parametrize("ready", [1, 7])
def test_without_figures_the_classical_rules_change_nothing(ready: int) -> None:
    blind = Signals(now=0.0, ready=ready, blind=True)
    for policy in (Keda(threshold=1.0, limits=WIDE), Knative(target=1.0, limits=WIDE)):
        assert policy.decide(blind, policy.memory_type()).replicas == ready
