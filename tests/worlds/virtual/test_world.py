"""A simulated fleet: what comes in comes out, seeds decide, figures add up."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.policy.requests.types import QueueLimits, Served
from plimsoll.policy.scale.types import Answer, Limits, Signals
from plimsoll.worlds.virtual.durations import Constant, LogNormal, Measured
from plimsoll.worlds.virtual.engine.replica import Replica
from plimsoll.worlds.virtual.engine.types import EngineLimits, StepTimes
from plimsoll.worlds.virtual.setup import (
    Hardware,
    ModelSetup,
    Phases,
    WorldSetup,
    Zone,
)
from plimsoll.worlds.virtual.tally import Minute
from plimsoll.worlds.virtual.workloads.types import Arrival
from plimsoll.worlds.virtual.world import ModelOutcome, Outcome, World, simulate
from tests.worlds.virtual.engine.reference import Reference

TIMES = StepTimes(fixed=0.01, token=1e-4, attention=1e-8, answer=1e-5, context=1e-7)
ENGINE = EngineLimits(max_num_batched_tokens=512, max_num_seqs=8, kv_blocks=600, hash_tokens=512)
SLOW_START = Phases(
    node=Constant(seconds=40.0),
    image=Constant(seconds=20.0),
    weights=Constant(seconds=30.0),
    engine=Constant(seconds=25.0),
    first=Constant(seconds=5.0),
)


class Memory(msgspec.Struct, frozen=True):
    """Nothing to remember."""


class Follow:
    """A policy that wants what a function of the signals says, and keeps them."""

    memory_type = Memory

    def __init__(self, wanted: object) -> None:
        self.wanted = wanted
        self.seen: list[Signals] = []

    def decide(self, signals: Signals, memory: Memory) -> Answer[Memory]:
        self.seen.append(signals)
        wanted = self.wanted(signals) if callable(self.wanted) else self.wanted
        return Answer(replicas=wanted, reasons=("told so",), memory=memory)


def model(**changes: object) -> ModelSetup:
    given: dict[str, object] = {
        "served": Served(name="m", task="chat", context=8192, kv_tokens=600 * 16),
        "times": TIMES,
        "engine": ENGINE,
        "limits": Limits(min=2, max=8),
        "ready": 2,
    }
    return ModelSetup(**(given | changes))


def fleet(**changes: object) -> WorldSetup:
    return WorldSetup(models=(model(**changes),))


def workload(
    *, count: int, rate: float, seed: int = 1, prompt: int = 600, output: int = 80
) -> Iterator[Arrival]:
    chance = random.Random(seed)
    at = 0.0
    for number in range(count):
        at += chance.expovariate(rate)
        tokens = chance.randrange(1, prompt)
        kind = chance.randrange(5)
        yield Arrival(
            at=at,
            prompt_tokens=tokens,
            output_tokens=chance.randrange(1, output),
            blocks=(kind, 100 + kind, 1000 + number)[: tokens // 512 + 1],
            tenant=f"tenant-{chance.randrange(3)}",
            model="m",
        )


def only(outcome: Outcome) -> ModelOutcome:
    (one,) = outcome.models
    assert one.arrived == one.ended + one.broken + sum(one.refused.values())
    return one


def test_every_request_ends_once() -> None:
    one = only(simulate(fleet(), workload(count=500, rate=5.0)))
    assert one.ended == 500
    assert one.ttft.p50 > 0.01
    assert one.e2e.p99 >= one.ttft.p99


def test_the_same_seed_gives_the_same_bytes() -> None:
    def run(seed: int) -> bytes:
        setup = fleet(
            scaling=Follow(lambda seen: 2 + int(seen.now) // 300 % 3),
            phases=Phases(weights=LogNormal(p50=20.0, p90=60.0), engine=Measured(seconds=(1, 9))),
            hardware=Hardware(
                price=2.0, spot=1.0, share=0.7, zones=(Zone(losses=6.0), Zone(name="b", outages=2))
            ),
        )
        rows: list[Minute] = []
        out = simulate(setup, workload(count=1500, rate=2.0), seed=seed, minute=rows.append)
        return msgspec.json.encode((out, rows))

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_minutes_add_up_to_the_whole() -> None:
    rows: list[Minute] = []
    setup = fleet(hardware=Hardware(gpus=2, price=3.0))
    out = simulate(setup, workload(count=1000, rate=4.0), minute=rows.append)
    one = only(out)
    for name in ("arrived", "ended", "prompt", "cached", "output"):
        assert sum(getattr(row, name) for row in rows) == getattr(one, name)
    seconds = sum(row.spent.busy + row.spent.idle for row in rows)
    assert seconds == pytest.approx(2 * 2 * out.seconds)
    assert one.spent.busy + one.spent.idle == pytest.approx(seconds)
    assert one.spent.dollars == pytest.approx(seconds * 3.0 / 3600.0)


def test_a_cold_start_takes_its_phases_and_is_paid_as_loading() -> None:
    rows: list[Minute] = []
    setup = fleet(
        ready=0, limits=Limits(min=1, max=1), phases=SLOW_START, hardware=Hardware(price=3.6),
    )  # fmt: skip
    one = only(simulate(setup, workload(count=50, rate=0.2), minute=rows.append))
    assert one.spent.loading == pytest.approx(120.0)
    assert one.cold_start["weights"].p50 == pytest.approx(30.0, rel=0.01)
    assert [row.ready for row in rows[:3]] == [0, 1, 1]
    assert one.ttft.max > 100.0


def test_a_model_without_replicas_is_woken_within_a_second() -> None:
    policy = Follow(lambda seen: 1 if seen.queued.requests or seen.in_flight else 0)
    setup = WorldSetup(
        models=(model(ready=0, limits=Limits(min=0, max=1), scaling=policy),),
        look=60.0, age=0.0, wake=0.5,
    )  # fmt: skip
    arrival = Arrival(at=61.0, prompt_tokens=10, output_tokens=5, model="m")
    one = only(simulate(setup, [arrival]))
    assert one.ttft.max < 0.7


def test_what_the_scaler_sees_is_as_old_as_said() -> None:
    policy = Follow(2)
    setup = WorldSetup(models=(model(scaling=policy),), look=10.0, age=15.0)
    simulate(setup, workload(count=400, rate=4.0))
    assert [seen.blind for seen in policy.seen[:4]] == [True, True, False, False]
    assert {seen.age for seen in policy.seen[2:]} == {20.0}
    arrived = sum(seen.arrived.requests for seen in policy.seen)
    assert 250 < arrived <= 400


def test_scaling_down_drains_and_breaks_nothing() -> None:
    setup = fleet(ready=6, scaling=Follow(lambda seen: 6 if seen.now < 30 else 1))
    one = only(simulate(setup, workload(count=300, rate=5.0, output=300)))
    assert one.ended == 300
    assert one.broken == 0


def test_a_lost_spot_node_is_noticed_and_its_requests_go_elsewhere() -> None:
    rows: list[Minute] = []
    policy = Follow(4)
    setup = fleet(
        ready=4,
        scaling=policy,
        phases=Phases(weights=Constant(seconds=20.0)),
        hardware=Hardware(share=0.5, price=4.0, spot=1.0, zones=(Zone(losses=60.0, notice=1.0),)),
    )
    one = only(simulate(setup, workload(count=2000, rate=2.0, output=400), minute=rows.append))
    assert one.lost > 5
    assert any(seen.notices for seen in policy.seen) or one.lost
    assert one.ended > 1900
    assert one.starts >= one.lost


def test_what_does_not_fit_is_turned_away() -> None:
    arrivals = [
        Arrival(at=0.0, prompt_tokens=600 * 16 + 1, output_tokens=1, model="m"),
        Arrival(at=1.0, prompt_tokens=10, output_tokens=1, model="m"),
    ]
    one = only(simulate(fleet(), arrivals))
    assert one.refused == {"too-long": 1}
    assert one.ended == 1


def test_a_full_queue_turns_away() -> None:
    setup = WorldSetup(
        models=(model(ready=1, limits=Limits(min=1, max=1)),),
        queue=QueueLimits(requests=5, bytes=1 << 30),
    )
    one = only(simulate(setup, workload(count=300, rate=100.0)))
    assert one.refused["queue-full"] > 100


def test_an_unknown_model_is_an_error_of_the_input() -> None:
    with pytest.raises(InputError, match="asks for `other`"):
        simulate(fleet(), [Arrival(at=0.0, prompt_tokens=1, output_tokens=1, model="other")])


def test_unsorted_arrivals_are_an_error_of_the_input() -> None:
    arrivals = [Arrival(at=at, prompt_tokens=1, output_tokens=1, model="m") for at in (5.0, 4.0)]
    with pytest.raises(InputError, match="comes after"):
        simulate(fleet(), arrivals)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    losses=st.sampled_from((0.0, 30.0, 300.0)),
    outages=st.sampled_from((0.0, 20.0)),
    notice=st.sampled_from((0.0, 2.0, 120.0)),
    queue=st.sampled_from((3, 10_000)),
    patience=st.sampled_from((2.0, 120.0)),
    continues=st.booleans(),
    per_node=st.integers(1, 3),
)
def test_nothing_is_lost_and_every_gpu_second_has_a_cause(
    *,
    seed: int,
    losses: float,
    outages: float,
    notice: float,
    queue: int,
    patience: float,
    continues: bool,
    per_node: int,
) -> None:
    chance = random.Random(seed)
    rows: list[Minute] = []
    setup = WorldSetup(
        models=(
            model(
                served=Served(name="m", task="chat", context=8192, continues=continues),
                scaling=Follow(lambda _: chance.randrange(6)),
                phases=Phases(node=Constant(seconds=20.0), weights=LogNormal(p50=5.0, p90=30.0)),
                patience=patience,
                drain=chance.choice((1.0, 600.0)),
                hardware=Hardware(
                    gpus=2,
                    per_node=per_node,
                    price=3.0,
                    spot=1.0,
                    share=0.6,
                    linger=chance.choice((0.0, 30.0)),
                    zones=(
                        Zone(name="a", losses=losses, notice=notice),
                        Zone(name="b", outages=outages, part=0.5, notice=notice, closed=60.0),
                    ),
                ),
            ),
        ),
        queue=QueueLimits(requests=queue, bytes=1 << 40),
        look=10.0,
    )
    world = World(setup, seed=seed, minute=rows.append)
    one = only(world.run(workload(count=300, rate=2.0, seed=seed, output=300)))
    dispatcher = world.traffic.dispatcher
    assert dispatcher.in_flight_of("m") == dispatcher.queued("m") == world.traffic.open == 0
    assert all(place.in_flight == place.context == 0 for place in dispatcher.places("m"))
    for place in dispatcher.places("m"):
        assert world.traffic.member(place).engine.usage(1e9) == 0.0
    assert world._models["m"].tokens == 0
    assert not world.traffic._told
    assert not world.traffic._sent
    spent = one.spent
    assert min(spent.busy, spent.idle, spent.loading, spent.lost) >= 0.0
    seconds = spent.busy + spent.idle + spent.loading + spent.lost
    assert seconds / 3600.0 * 1.0 <= spent.dollars + 1e-9 <= seconds / 3600.0 * 3.0 + 1e-6
    for row in rows:
        assert min(row.spent.busy, row.spent.idle, row.spent.loading, row.spent.lost) >= 0.0


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(("none", "prefix", "session")),
    st.integers(1, 4),
    st.sampled_from((1.0, 10.0, 40.0)),
    st.sampled_from((4, 40)),
)
def test_a_fleet_of_token_by_token_engines_tells_the_same(
    seed: int, affinity: str, replicas: int, rate: float, blocks: int
) -> None:
    engine = EngineLimits(
        max_num_batched_tokens=64, max_num_seqs=6, kv_blocks=blocks + 20, hash_tokens=512
    )
    setup = WorldSetup(
        models=(
            model(
                served=Served(name="m", task="chat", context=8192, affinity=affinity),
                engine=engine,
                ready=replicas,
                limits=Limits(min=replicas, max=replicas),
                capacity=8,
            ),
        ),
        scrape=1.0,
    )

    def run(kind: type) -> tuple[ModelOutcome, list[tuple[str, float, float]]]:
        jobs: list[tuple[str, float, float]] = []

        class Recorded:
            def __init__(self, times: StepTimes, limits: EngineLimits) -> None:
                self.engine = kind(times, limits)

            def __getattr__(self, name: str) -> object:
                return getattr(self.engine, name)

            def advance(self) -> object:
                begun, ended = self.engine.advance()
                jobs.extend((job.owner.request_id, job.first, job.end) for job in ended)
                return begun, ended

        world = World(setup, engine=Recorded)
        return only(world.run(workload(count=80, rate=rate, seed=seed, prompt=250))), jobs

    fast, ours = run(Replica)
    slow, theirs = run(Reference)
    assert [job[0] for job in ours] == [job[0] for job in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one[1:] == pytest.approx(other[1:], rel=1e-9)
    assert fast.ended == slow.ended
    assert fast.refused == slow.refused
    assert fast.cached == slow.cached
    assert fast.spent.busy == pytest.approx(slow.spent.busy, rel=1e-9)
