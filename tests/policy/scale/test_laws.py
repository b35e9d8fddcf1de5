"""Laws that every scaling policy keeps."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plimsoll.policy.scale import Floor, Limits, Notice, Observed, Signals
from plimsoll.policy.scale.types import Arrived, Queued
from tests.policy.scale.seen import POLICIES, World, predictive, turns

NAMES = sorted(POLICIES)
WIDE = Limits(min=0, max=1000)

counts = st.floats(0, 1e5)


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    low = draw(st.integers(0, 5))
    floor = Floor(start=draw(st.floats(0, 86_000)), end=draw(st.floats(0, 86_000)), replicas=7)
    return Limits(
        min=low,
        max=low + draw(st.integers(0, 9)),
        floors=(floor,) if draw(st.booleans()) else (),
        most_up=draw(st.none() | st.integers(1, 4)),
        most_down=draw(st.none() | st.integers(1, 4)),
    )


@st.composite
def looks(draw: st.DrawFn) -> list[Signals]:
    now = draw(st.floats(0, 1e6))
    seen = []
    for _ in range(draw(st.integers(1, 6))):
        passed = draw(st.floats(0.5, 400))
        now += passed
        arrived = Arrived(
            seconds=passed,
            requests=draw(counts),
            missed=draw(counts),
            prompt_tokens=draw(counts),
            output_tokens=draw(counts),
        )
        queued = Queued(
            requests=draw(counts), prompt_tokens=draw(counts), output_tokens=draw(counts)
        )
        ready = draw(st.integers(0, 30))
        seen.append(
            Signals(
                now=now,
                arrived=arrived,
                queued=queued,
                in_flight=draw(counts),
                ready=ready,
                loading=tuple(now + 10.0 for _ in range(draw(st.integers(0, 9)))),
                spot=draw(st.integers(0, ready)),
                notices=(Notice(at=now + 30, count=draw(st.integers(0, ready))),),
                observed=draw(
                    st.none()
                    | st.builds(
                        Observed, seconds=counts, prompt_tokens=counts, output_tokens=counts
                    )
                ),
                age=draw(st.sampled_from((0.0, 5.0, 600.0))),
                blind=draw(st.booleans()),
            )
        )
    return seen


@pytest.mark.parametrize("name", NAMES)
@given(limits=limits(), seen=looks())
@settings(max_examples=30, deadline=None)
def test_the_answer_stays_between_min_and_max_and_is_never_negative(
    name: str, limits: Limits, seen: list[Signals]
) -> None:
    policy = POLICIES[name](limits)
    memory = policy.memory_type()
    for signals in seen:
        answer = policy.decide(signals, memory)
        memory = answer.memory
        assert max(0, limits.min) <= answer.replicas <= limits.max
        assert limits.least(signals.now) <= answer.replicas
        assert answer.reasons
        assert all(answer.reasons)


MOMENT = Signals(
    now=1.0, arrived=Arrived(seconds=1.0), observed=Observed(seconds=5e-324, output_tokens=1.0)
)


@pytest.mark.parametrize("name", NAMES)
@given(seen=looks())
@example(seen=[MOMENT])  # hardly any time was seen, and something in it
@settings(max_examples=25, deadline=None)
def test_memory_comes_back_the_same_from_json(name: str, seen: list[Signals]) -> None:
    policy = POLICIES[name](WIDE)
    memory = policy.memory_type()
    for signals in seen:
        kept = msgspec.json.decode(msgspec.json.encode(memory), type=policy.memory_type)
        assert kept == memory
        answer = policy.decide(signals, memory)
        assert policy.decide(signals, kept) == answer
        memory = answer.memory


@pytest.mark.parametrize("name", NAMES)
@given(seen=looks(), live=st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_blind_never_scales_down(name: str, seen: list[Signals], live: int) -> None:
    policy = POLICIES[name](WIDE)
    memory = policy.memory_type()
    for signals in seen:
        memory = policy.decide(signals, memory).memory
    for later in (1.0, 60.0, 3600.0, 86_400.0):
        lost = Signals(now=seen[-1].now + later, ready=live, blind=True)
        answer = policy.decide(lost, memory)
        assert answer.replicas >= live
        memory = answer.memory


@pytest.mark.parametrize("name", NAMES)
@given(rate=st.floats(5, 400))
@settings(max_examples=5, deadline=None)
def test_loading_replicas_are_never_asked_for_twice(name: str, rate: float) -> None:
    """While a constant load waits for replicas that load, the wish does not grow with each look.

    What waits in the meantime may ask for more: at most as many again.
    """
    needed = rate / 10.0
    world = World(POLICIES[name](Limits(min=1, max=10_000)), ready=max(1, round(needed)))
    list(world.run([rate] * 30))
    before = world.ready + len(world.loading)
    jump = 1.5 * rate
    asked = list(world.run([jump] * 11, seconds=10.0))
    world.queue = 0.0
    assert max(asked) <= 2.5 * max(before, 1.5 * needed) + 5


@pytest.mark.parametrize("name", NAMES)
@given(rate=st.floats(0.5, 500))
@settings(max_examples=5, deadline=None)
def test_a_constant_load_is_met_without_oscillation(name: str, rate: float) -> None:
    world = World(POLICIES[name](Limits(min=1, max=10_000)), ready=1, cold_start=60.0)
    list(world.run([rate] * 240))
    world.queue = 0.0
    settled = list(world.run([rate] * 360))
    assert turns(settled) == 0
    assert settled[-1] * 10.0 >= rate * 0.9


@given(rates=st.lists(st.floats(1, 300), min_size=5, max_size=60), times=st.floats(1, 4))
@settings(max_examples=30, deadline=None)
def test_more_of_the_same_demand_never_needs_fewer(rates: list[float], times: float) -> None:
    few, many = (World(predictive(WIDE), ready=40) for _ in range(2))
    for rate in rates:
        few.look(rate)
        many.look(rate * times)
        few.ready = many.ready = 40
        few.loading, many.loading = [], []
        few.queue = many.queue = 0.0
        assert many.memory.need >= few.memory.need - 1e-9


@given(rate=st.floats(1, 300), queue=st.floats(0, 1e4), more=st.floats(0, 1e4))
@settings(max_examples=30, deadline=None)
def test_a_longer_queue_never_needs_fewer(rate: float, queue: float, more: float) -> None:
    needs = []
    for waiting in (queue, queue + more):
        world = World(predictive(WIDE), ready=1000)
        list(world.run([rate] * 5))
        signals = Signals(
            now=world.now,
            queued=Queued(
                requests=waiting, prompt_tokens=waiting * 1000, output_tokens=waiting * 200
            ),
            ready=1000,
        )
        needs.append(predictive(WIDE).decide(signals, world.memory).memory.need)
    assert needs[1] >= needs[0] - 1e-9
