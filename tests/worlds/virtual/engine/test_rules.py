"""What the engine does in cases that can be reckoned by hand."""

from __future__ import annotations

from math import inf

import msgspec
import pytest

from plimsoll.worlds.virtual.engine.replica import Replica
from plimsoll.worlds.virtual.engine.types import EngineLimits, Job, StepTimes
from tests.worlds.virtual.engine.test_agreement import run

TIMES = StepTimes(fixed=1.0, token=0.01)
LIMITS = EngineLimits(
    max_num_batched_tokens=100, max_num_seqs=4, kv_blocks=100, hash_tokens=16, steps_ahead=0
)


def limits(**changes: object) -> EngineLimits:
    return msgspec.structs.replace(LIMITS, **changes)


def times(**changes: float) -> StepTimes:
    return msgspec.structs.replace(TIMES, **changes)


def seen(engine: Replica, *jobs: Job) -> list[tuple[float, float]]:
    run(engine, list(jobs))
    return [(job.first, job.end) for job in jobs]


def test_a_lone_request_reads_in_parts_and_then_writes_a_token_a_step() -> None:
    assert seen(Replica(TIMES, LIMITS), Job(5.0, 250, 4)) == [(5.0 + 3 + 2.5, 5.0 + 3 + 2.5 + 3)]


def test_the_first_token_comes_with_the_last_part_of_the_prompt() -> None:
    ((first, end),) = seen(Replica(TIMES, LIMITS), Job(0.0, 100, 1))
    assert first == end == 2.0


def test_an_answer_takes_of_the_tokens_of_a_step_before_a_prompt_does() -> None:
    # At 0 a prompt of 10; at 1.1 it writes, and 100 more come: 99 fit beside its token, 1 is left.
    (_, _), (first, _) = seen(Replica(TIMES, LIMITS), Job(0.0, 10, 50), Job(1.0, 100, 2))
    assert first == pytest.approx(1.1 + 1.99 + 1.01)


def test_who_comes_while_a_step_runs_is_read_in_the_next() -> None:
    _, (first, _) = seen(Replica(TIMES, LIMITS), Job(0.0, 10, 50), Job(2.5, 10, 1))
    assert first == pytest.approx(3.1 + 1.1)


def test_with_a_step_ahead_it_is_read_in_the_next_but_one() -> None:
    engine = Replica(TIMES, limits(steps_ahead=1))
    _, (first, _) = seen(engine, Job(0.0, 10, 50), Job(2.5, 10, 1))
    assert first == pytest.approx(4.1 + 1.1)


def test_with_a_step_ahead_a_place_is_free_one_step_later() -> None:
    for ahead, end, next_begins in ((0, 3.0, 3.0), (1, 4.0, 5.0)):
        engine = Replica(times(token=0.0), limits(max_num_seqs=2, steps_ahead=ahead))
        jobs = [Job(0.0, 10, 9), Job(0.05, 10, 2), Job(0.1, 10, 2)]
        run(engine, jobs)
        assert (jobs[1].end, jobs[2].started) == (end, next_begins)


def test_a_beginning_that_is_in_the_cache_is_not_read_again() -> None:
    engine = Replica(TIMES, LIMITS)
    one, same = Job(0.0, 50, 1, (1, 2, 3)), Job(10.0, 50, 1, (1, 2, 9))
    run(engine, [one, same])
    assert same.cached == 32
    assert same.first == pytest.approx(10.0 + 1 + 0.18)
    assert engine.read == 50 + 18


def test_of_a_prompt_that_is_in_the_cache_whole_a_block_is_read_again() -> None:
    engine = Replica(TIMES, LIMITS)
    same = Job(10.0, 32, 1, (1, 2))
    run(engine, [Job(0.0, 32, 1, (1, 2)), same])
    assert same.cached == 16


def test_what_was_not_used_for_longest_is_forgotten_first_and_its_end_before_its_beginning() -> (
    None
):
    engine = Replica(TIMES, limits(kv_blocks=5, max_num_seqs=1))
    jobs = [
        Job(0.0, 32, 1, (1, 2)),
        Job(10.0, 32, 1, (3, 4)),
        Job(20.0, 32, 1, (5, 6)),  # takes the last free block and the one named 2
        Job(30.0, 33, 1, (1, 2)),
    ]
    run(engine, jobs)
    assert [job.cached for job in jobs] == [0, 0, 0, 16]


def test_without_a_cache_of_prefixes_nothing_is_found() -> None:
    engine = Replica(TIMES, limits(prefix_caching=False))
    same = Job(10.0, 50, 1, (1, 2, 3))
    run(engine, [Job(0.0, 50, 1, (1, 2, 3)), same])
    assert same.cached == 0


def test_where_blocks_run_out_the_latest_gives_way_and_is_read_again() -> None:
    engine = Replica(times(token=0.0), limits(kv_blocks=4, prefix_caching=False))
    old, new = Job(0.0, 30, 20), Job(0.0, 30, 3)
    run(engine, [old, new])
    # Both take 2 blocks for 30 tokens; the third token of an answer would need another.
    assert (old.preemptions, new.preemptions) == (0, 1)
    assert new.end == pytest.approx(old.end + 1.0)
    assert engine.read == 30 + 30 + 32


def test_a_batch_is_rounded_up_to_the_sizes_that_there_are() -> None:
    step = StepTimes(fixed=0.0, answer=1.0, token=1e-9, padding=(4, 8))
    ((first, end),) = seen(Replica(step, LIMITS), Job(0.0, 1, 3))
    assert end - first == 8.0  # two steps of one answer, rounded up to four


def test_what_depends_on_the_number_of_tokens_is_read_from_the_table() -> None:
    step = StepTimes(fixed=0.0, dense=((10, 1.0), (20, 3.0)))
    for tokens, seconds in ((1, 1.0), (10, 1.0), (15, 2.0), (20, 3.0), (40, 7.0)):
        ((first, _),) = seen(Replica(step, LIMITS), Job(0.0, tokens, 1))
        assert first == pytest.approx(seconds)


def test_what_comes_before_the_first_token_and_after_the_last_is_added() -> None:
    slow = times(before=0.5, before_token=0.01, first=0.25, last=0.75)
    assert seen(Replica(slow, LIMITS), Job(0.0, 100, 2)) == [(1.5 + 2 + 0.25, 1.5 + 3 + 0.75)]


def test_a_stopped_engine_hands_back_what_it_had_and_how_far_it_came() -> None:
    engine = Replica(times(token=0.0), LIMITS)
    for number in range(6):
        engine.arrive(Job(0.0, 10, 20, (), number), 0.0)
    while engine.wake < 5.5:
        engine.advance()
    jobs = engine.stop(5.5)
    assert [job.owner for job in jobs] == list(range(6))
    assert [job.made for job in jobs] == [5, 4, 4, 4, 0, 0]
    assert (engine.wake, engine.running, engine.waiting) == (inf, 0, 0)


def test_a_request_that_could_never_end_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Replica(TIMES, LIMITS).arrive(Job(0.0, 1600, 2), 0.0)


@pytest.mark.parametrize(
    "changes",
    [{"kv_blocks": 0}, {"max_num_batched_tokens": 3}, {"hash_tokens": 24}, {"steps_ahead": 2}],
)
def test_limits_that_make_no_sense_are_an_error(changes: dict[str, int]) -> None:
    given = msgspec.structs.asdict(LIMITS) | changes
    with pytest.raises(ValueError, match=next(iter(changes))):
        EngineLimits(**given)


@pytest.mark.parametrize(
    "changes",
    [{"fixed": 0.0}, {"token": -1.0}, {"padding": (8, 4)}, {"dense": ((1, 2.0), (2, 1.0))}],
)
def test_step_times_that_make_no_sense_are_an_error(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"time|seconds|rise"):
        StepTimes(**({"fixed": 1.0, "token": 0.1} | changes))
