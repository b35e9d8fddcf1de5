"""The queue: each key once, one worker each, failing keys later, nobody starved."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.worlds.cluster.operator.queue import Pace, WorkQueue
from tests.worlds.cluster.operator.stage import played


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def queue(time: Time, **pace: float) -> WorkQueue[str]:
    return WorkQueue(pace=Pace(**pace), clock=time, random=lambda: 1.0)  # type: ignore[arg-type]


async def taken(waiting: WorkQueue[str]) -> str | None:
    """The next key, or None where none is due."""
    try:
        async with asyncio.timeout(0.01):
            return await waiting.take()
    except TimeoutError:
        return None


@played
async def test_a_key_that_is_added_twice_is_handed_out_once() -> None:
    waiting = queue(Time())
    waiting.add("a")
    waiting.add("a")
    assert await taken(waiting) == "a"
    assert await taken(waiting) is None


@played
async def test_a_key_has_one_worker_and_is_looked_at_again_after() -> None:
    waiting = queue(Time())
    waiting.add("a")
    await waiting.take()
    waiting.add("a")
    assert await taken(waiting) is None
    waiting.done("a")
    assert await taken(waiting) == "a"


@played
async def test_a_failing_key_waits_longer_each_time_and_a_success_forgets_that() -> None:
    waiting = queue(Time(), first=1.0, longest=5.0)
    assert [waiting.failed("a") for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    waiting.succeeded("a")
    assert waiting.failed("a") == 1.0


@played
async def test_a_delayed_key_comes_when_it_is_due_and_the_earliest_wish_counts() -> None:
    time = Time()
    waiting = queue(time)
    waiting.add("a", after=10)
    waiting.add("a", after=5)
    waiting.add("a", after=20)
    assert await taken(waiting) is None
    time.now = 5
    assert await taken(waiting) == "a"
    waiting.done("a")
    time.now = 100
    assert await taken(waiting) is None


@played
async def test_an_event_does_not_wait_for_the_delay() -> None:
    waiting = queue(Time())
    waiting.add("a", after=10)
    waiting.add("a")
    assert await taken(waiting) == "a"


@played
async def test_the_rate_over_all_keys_is_bounded() -> None:
    time = Time()
    waiting = queue(time, rate=1.0, burst=2)
    for key in "abcd":
        waiting.add(key)
    assert [await taken(waiting) for _ in range(3)] == ["a", "b", None]
    time.now = 1.0
    assert [await taken(waiting) for _ in range(2)] == ["c", None]


@played
async def test_a_key_that_always_comes_back_starves_nobody() -> None:
    waiting = queue(Time())
    for key in "abc":
        waiting.add(key)
    seen = []
    for _ in range(6):
        key = await waiting.take()
        seen.append(key)
        waiting.add(key)
        waiting.done(key)
    assert seen == ["a", "b", "c", "a", "b", "c"]


@played
async def test_a_forgotten_key_does_not_come() -> None:
    waiting = queue(Time())
    waiting.add("a")
    waiting.forget("a")
    assert await taken(waiting) is None


@given(st.integers(0, 2**32))
def test_whatever_happens_no_key_is_lost_and_none_has_two_workers(seed: int) -> None:
    asyncio.run(_storm(random.Random(seed)))


async def _storm(chance: random.Random) -> None:
    time = Time()
    waiting: WorkQueue[str] = WorkQueue(
        pace=Pace(rate=1e6, burst=1000), clock=time, random=chance.random
    )
    busy: set[str] = set()
    owed: set[str] = set()  # added since a worker last took them
    for _ in range(60):
        match chance.randrange(4):
            case 0:
                key = chance.choice("abcd")
                waiting.add(key, after=chance.choice((0, 0, 3)))
                owed.add(key)
            case 1 if len(waiting):
                key = await waiting.take()
                assert key not in busy
                busy.add(key)
                owed.discard(key)
            case 2 if busy:
                key = chance.choice(sorted(busy))
                busy.discard(key)
                if chance.random() < 0.3:
                    waiting.failed(key)
                    owed.add(key)
                waiting.done(key)
            case _:
                time.now += chance.random() * 4
    for key in sorted(busy):
        waiting.done(key)
    time.now += 1e6
    left = set()
    while (key_ := await taken(waiting)) is not None:
        left.add(key_)
    assert owed <= left
