"""The supervisor with real processes of our own program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import psutil
import pytest

from plimsoll.worlds.local.workers import Restarts, Workers

QUICK = Restarts(first=0.01, longest=0.04, settled=30.0)
LASTING = ("gateway", "--config", "/dev/null", "--api-server", "http://127.0.0.1:9")


@dataclass
class Seen:
    """What the parent was told."""

    workers: Workers | None = None
    joins: list[int] = field(default_factory=list)
    leaves: list[tuple[int, bool]] = field(default_factory=list)
    ends: list[socket.socket] = field(default_factory=list)

    async def joined(self, number: int, end: socket.socket) -> None:
        self.joins.append(number)
        self.ends.append(end)

    def left(self, number: int, *, wanted: bool) -> None:
        self.leaves.append((number, wanted))


@contextlib.asynccontextmanager
async def supervised(
    command: Sequence[str], *, count: int
) -> AsyncIterator[tuple[Seen, asyncio.Task[int]]]:
    seen = Seen()
    seen.workers = Workers(
        command=lambda _number, _descriptor: command,
        count=count,
        joined=seen.joined,
        left=seen.left,
        restarts=QUICK,
    )
    task = asyncio.create_task(seen.workers.run())
    try:
        yield seen, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for end in seen.ends:
            end.close()
        assert psutil.Process(os.getpid()).children() == []


async def until(condition: object, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_the_first_ones_end_before_it_was_ready_ends_all_with_its_code() -> None:
    async def main() -> None:
        async with supervised(("gateway", "--no-such-option"), count=3) as (seen, task):
            assert await asyncio.wait_for(task, 60) == 2
            assert seen.joins == [0]

    asyncio.run(main())


def test_others_are_started_when_the_first_is_ready_and_each_again_when_it_dies() -> None:
    async def main() -> None:
        # It ends by itself, again and again: `--help` is as good as a fault.
        async with supervised(("gateway", "--help"), count=2) as (seen, task):
            assert seen.workers is not None
            seen.workers.proven()
            await until(lambda: seen.joins.count(0) > 2 and seen.joins.count(1) > 2)
            assert all(not wanted for _, wanted in seen.leaves)
            seen.workers.stop()
            assert await asyncio.wait_for(task, 60) == 0

    asyncio.run(main())


def test_a_cancelled_parent_leaves_no_process() -> None:
    async def main() -> None:
        async with supervised(("gateway", "--help"), count=2) as (seen, task):
            assert seen.workers is not None
            seen.workers.proven()
            await until(lambda: len(seen.joins) >= 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_one_that_is_told_to_end_before_it_serves_is_no_failure() -> None:
    async def main() -> None:
        async with supervised(LASTING, count=1) as (seen, task):
            assert seen.workers is not None
            await until(lambda: psutil.Process(os.getpid()).children() != [])
            seen.workers.stop()
            code = await asyncio.wait_for(task, 60)
            assert code in (0, 2)  # 2: it had read its configuration by then, and refused it
            assert seen.leaves == [(0, True)]

    asyncio.run(main())
