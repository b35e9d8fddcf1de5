"""The engine in closed form tells what one that goes token by token tells."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.worlds.virtual.engine.replica import Replica
from plimsoll.worlds.virtual.engine.types import Engine, EngineLimits, Job, StepTimes
from tests.worlds.virtual.engine.reference import Reference

EXACT = 1e-9


def run(engine: Engine, jobs: list[Job]) -> list[tuple[str, int]]:
    """Let the jobs come at their times; who began and ended, in that order."""
    told: list[tuple[str, int]] = []

    def until(at: float) -> None:
        while engine.wake <= at and engine.wake != float("inf"):
            begun, ended = engine.advance()
            told.extend(("began", job.owner) for job in begun)
            told.extend(("ended", job.owner) for job in ended)

    for job in jobs:
        until(job.at)
        engine.arrive(job, job.at)
    until(float("inf"))
    return told


@st.composite
def step_times(draw: st.DrawFn) -> StepTimes:
    def seconds(most: float) -> float:
        return draw(st.floats(0.0, most)) if draw(st.booleans()) else 0.0

    knots = sorted(draw(st.sets(st.integers(0, 600), max_size=4)))
    dense = sorted(draw(st.floats(0.0, 0.1)) for _ in knots)
    return StepTimes(
        fixed=draw(st.floats(1e-4, 0.05)),
        token=seconds(1e-3),
        attention=seconds(1e-5),
        answer=seconds(1e-3),
        context=seconds(1e-4),
        dense=tuple(zip(knots, dense, strict=True)),
        mixed=seconds(0.01),
        prompt=seconds(0.01),
        padding=tuple(sorted(draw(st.sets(st.integers(1, 40), max_size=4)))),
        before=seconds(0.05),
        before_token=seconds(1e-3),
        first=seconds(0.01),
        last=seconds(0.01),
    )


@st.composite
def engine_limits(draw: st.DrawFn) -> EngineLimits:
    block = draw(st.sampled_from((1, 4, 16)))
    seqs = draw(st.integers(1, 24))
    return EngineLimits(
        max_num_batched_tokens=seqs + draw(st.integers(0, 200)),
        max_num_seqs=seqs,
        kv_blocks=draw(st.integers(8, 120)),
        block_size=block,
        prefix_caching=draw(st.booleans()),
        hash_tokens=block * draw(st.sampled_from((1, 1, 2, 5))),
        steps_ahead=draw(st.integers(0, 1)),
        reserve_prompt=draw(st.booleans()),
    )


def made_jobs(limits: EngineLimits, seed: int, count: int, rate: float) -> list[Job]:
    """Requests that fit, some of which begin as others do; names are those of a tree of prompts."""
    chance = random.Random(seed)
    room = limits.kv_blocks * limits.block_size
    jobs: list[Job] = []
    at = 0.0
    longest = max(2, int(room * chance.choice((0.1, 0.4, 0.9))))
    for number in range(count):
        at += chance.expovariate(rate) if chance.random() < 0.8 else 0.0
        prompt = chance.randrange(1, longest)
        output = chance.randrange(1, max(2, min(room - prompt + 2, longest)))
        names: list[int] = []
        for _ in range(-(-prompt // limits.hash_tokens)):
            branch = chance.choice((0, 0, 0, 1, number + 2))
            names.append(hash((names[-1] if names else 7, branch)) & 0xFFFFFFFFFF)
        if chance.random() < 0.2:
            names = []
        jobs.append(Job(at, prompt, output, tuple(names), number))
    return jobs


def anew(jobs: list[Job]) -> list[Job]:
    return [Job(job.at, job.prompt, job.output, job.blocks, job.owner) for job in jobs]


def check(times: StepTimes, limits: EngineLimits, jobs: list[Job]) -> tuple[int, int, int]:
    """Both tell the same; how often requests were preempted, and tokens found, to see that it is
    about something.
    """
    fast, slow = Replica(times, limits), Reference(times, limits)
    ours, theirs = anew(jobs), anew(jobs)
    assert run(fast, ours) == run(slow, theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.started == pytest.approx(other.started, rel=EXACT, abs=0.0)
        assert one.first == pytest.approx(other.first, rel=EXACT, abs=0.0)
        assert one.end == pytest.approx(other.end, rel=EXACT, abs=0.0)
        assert (one.preemptions, one.cached) == (other.preemptions, other.cached)
        assert one.end >= one.first > one.at
    assert fast.read == slow.read
    assert fast.wrote == slow.wrote
    assert fast.busy == pytest.approx(slow.busy, rel=1e-9)
    assert fast.usage(1e9) == slow.usage(1e9) == 0.0
    return sum(job.preemptions for job in ours), sum(job.cached for job in ours), len(ours)


@settings(max_examples=150, deadline=None)
@given(
    step_times(),
    engine_limits(),
    st.integers(0, 2**32),
    st.integers(1, 60),
    st.sampled_from((0.3, 3.0, 30.0, 300.0)),
)
def test_it_agrees_with_the_token_by_token_engine(
    times: StepTimes, limits: EngineLimits, seed: int, count: int, rate: float
) -> None:
    check(times, limits, made_jobs(limits, seed, count, rate))


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize("caching", [False, True])
@pytest.mark.parametrize("reserve", [False, True])
def test_it_agrees_where_blocks_run_out(ahead: int, caching: bool, reserve: bool) -> None:
    times = StepTimes(fixed=0.01, token=1e-4, attention=1e-7, answer=1e-5, context=1e-6)
    limits = EngineLimits(
        max_num_batched_tokens=128, max_num_seqs=16, kv_blocks=60, prefix_caching=caching,
        hash_tokens=16, steps_ahead=ahead, reserve_prompt=reserve,
    )  # fmt: skip
    preemptions = found = 0
    for seed in range(6):
        more, cached, _ = check(times, limits, made_jobs(limits, seed, 60, 5.0))
        preemptions += more
        found += cached
    assert preemptions > 50
    assert (found > 1000) == caching
