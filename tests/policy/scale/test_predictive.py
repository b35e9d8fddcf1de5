"""The policy that looks ahead."""

from __future__ import annotations

from math import pi, sin
from random import Random

import msgspec
import pytest

from plimsoll.policy.scale import Arrived, Floor, Limits, Notice, Observed, Signals
from plimsoll.policy.scale.turns import Turns, left_at, may_turn, turned
from tests.policy.scale.seen import OUTPUT, PROMPT, RATE, World, predictive, turns

WIDE = Limits(min=1, max=1000)


def test_replicas_that_load_are_counted_and_never_asked_for_again() -> None:
    world = World(predictive(WIDE, 300.0), ready=10, cold_start=300.0)
    list(world.run([95.0] * 60))
    asked = list(world.run([150.0] * 29))
    assert world.ready <= 13
    assert 15 <= max(asked) <= 24
    assert asked[-1] == max(asked)


def test_a_load_that_rises_steadily_is_met_before_it_comes() -> None:
    """From ten minutes after it began to: before, nothing announced it."""
    world = World(predictive(WIDE), ready=12)
    list(world.run([100.0] * 120))
    late = 0.0
    for step in range(180):
        world.look(100.0 + step * 0.5)
        late = max(late, world.queue if step > 60 else 0.0)
    assert late == 0.0


def test_where_every_day_doubles_at_an_hour_replicas_are_there_before_it() -> None:
    """A step that no trend announces: only history can."""
    day = [100.0] * 4320 + [200.0] * 2160 + [100.0] * 2160
    known = World(predictive(WIDE), ready=12)
    list(known.run(day * 3))
    list(known.run(day[:4300]))
    before = known.ready
    new = World(predictive(WIDE), ready=12)
    list(new.run(day[:4300]))
    known.queue = new.queue = 0.0
    list(known.run(day[4300:4320]))
    list(new.run(day[4300:4320]))
    assert known.ready + len(known.loading) >= 1.5 * before
    assert known.ready + len(known.loading) > new.ready + len(new.loading)


def test_turns_are_at_most_two_an_hour_however_the_load_swings() -> None:
    chance = Random(1)
    world = World(predictive(WIDE), ready=20)
    numbers = [
        world.look(200.0 + 120.0 * sin(step / 20.0) + chance.gauss(0, 20)).replicas
        for step in range(8640)
    ]
    assert turns(numbers) <= 24 * 2 + 2


def test_noise_alone_hardly_turns() -> None:
    """As uneven as Poisson arrivals at this rate are over ten seconds."""
    chance = Random(2)
    world = World(predictive(WIDE), ready=20)
    numbers = [world.look(max(0.0, chance.gauss(150.0, 4.0))).replicas for _ in range(4320)]
    assert turns(numbers[360:]) <= 4


def test_what_was_never_seen_stops_nothing() -> None:
    """After a restart that lost its memory: no figures yet is not no demand."""
    world = World(predictive(WIDE), ready=9)
    assert world.look(0.0, seconds=0.0).replicas == 9
    assert min(world.run([0.0] * 20)) == 9


def test_after_a_blind_hour_it_goes_on_from_what_it_knew() -> None:
    world = World(predictive(WIDE), ready=20)
    list(world.run([150.0] * 90))
    need = world.memory.need
    for minute in range(60):
        lost = Signals(now=world.now + 60.0 * minute, ready=world.ready, blind=True)
        answer = world.policy.decide(lost, world.memory)
        assert answer.replicas >= world.ready
        assert "no figures" in answer.reasons[0]
        world.memory = answer.memory
    world.now += 3600.0
    world.look(150.0)
    assert world.memory.need == pytest.approx(need, rel=0.05)


def test_an_idle_model_stops_after_the_cooldown_and_the_first_request_wakes_it() -> None:
    world = World(predictive(Limits(min=0, max=9), cooldown=300.0), ready=1)
    list(world.run([5.0] * 60))
    idle = list(world.run([0.0] * 120))
    assert idle[25] == 1
    assert idle[-1] == 0
    assert world.look(0.1).replicas == 1


def test_a_schedule_is_met_when_it_begins_not_a_cold_start_later() -> None:
    floor = Floor(start=3600.0, end=7200.0, replicas=8)
    world = World(predictive(Limits(min=1, max=20, floors=(floor,))), ready=1)
    while world.now < 3595.0:
        world.look(5.0)
    assert world.ready + len(world.loading) == 8
    while world.now < 3600.0:
        world.look(5.0)
    assert world.ready == 8


def test_spot_replicas_with_a_notice_are_replaced_before_they_go() -> None:
    world = World(predictive(WIDE), ready=20)
    list(world.run([150.0] * 90))
    calm = world.look(150.0).replicas
    warned = world.look(150.0, spot=14, notices=(Notice(at=world.now + 30.0, count=3),))
    assert warned.replicas >= calm
    assert any("spot" in reason for reason in warned.reasons)


def test_losses_that_are_seen_raise_what_is_kept_against_the_next() -> None:
    calm, harsh = (World(predictive(WIDE), ready=20) for _ in range(2))
    for step in range(360):
        calm.look(150.0, spot=14)
        notices = (Notice(at=harsh.now + 35.0, count=1),) if step % 30 == 0 else ()
        harsh.look(150.0, spot=14, notices=notices)
        calm.ready = harsh.ready = 20
    assert harsh.memory.need > calm.memory.need + 0.5


@pytest.mark.parametrize("share", [0.8, 1.25])
def test_capacity_is_corrected_by_what_full_replicas_did(share: float) -> None:
    policy = predictive(WIDE)
    memory = policy.memory_type()
    for step in range(360):
        signals = Signals(
            now=step * 10.0,
            arrived=Arrived(
                seconds=10.0,
                requests=1000.0,
                prompt_tokens=1000.0 * PROMPT,
                output_tokens=1000.0 * OUTPUT,
            ),
            ready=20,
            observed=Observed(
                seconds=100.0,
                prompt_tokens=100.0 * RATE * share * PROMPT,
                output_tokens=100.0 * RATE * share * OUTPUT,
            ),
        )
        memory = policy.decide(signals, memory).memory
    assert memory.corrects == pytest.approx(share, rel=0.02)
    assert memory.need == pytest.approx(10.0 / share, rel=0.15)


def test_memory_stays_small_however_long_it_runs() -> None:
    world = World(predictive(WIDE, 1800.0), ready=20)
    list(world.run([150.0 + 50.0 * sin(pi * step / 360) for step in range(8 * 8640)]))
    assert len(msgspec.json.encode(world.memory)) < 24_000


def test_a_look_twice_a_second_answers_as_one_every_ten_seconds() -> None:
    slow, fast = (World(predictive(WIDE), ready=15) for _ in range(2))
    for step in range(200):
        rate = 100.0 + step * 0.3
        slow.look(rate)
        for _ in range(20):
            fast.look(rate, seconds=0.5)
    assert abs(slow.memory.need - fast.memory.need) < 0.5


def test_turns_are_saved_up_and_spent() -> None:
    spent = Turns(left=1.5, at=0.0, direction=1)
    assert not may_turn(spent, 0.0, 2.0)
    assert may_turn(spent, 900.0, 2.0)
    assert left_at(turned(spent, 900.0, -1, 2.0), 900.0, 2.0) == pytest.approx(1.0)
    assert may_turn(Turns(left=0.0, at=0.0, direction=-1), 0.0, 2.0)
