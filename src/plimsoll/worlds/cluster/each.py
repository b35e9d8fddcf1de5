"""The same work on many things, some at a time; the first failure stops the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")


async def each(
    things: Iterable[Thing], work: Callable[[Thing], Awaitable[Result]], *, width: int
) -> list[Result]:
    """`work` on every thing, at most `width` at a time; results in the things' order.

    Raises the first failure, after the others were cancelled.
    """
    room = asyncio.Semaphore(width)

    async def one(thing: Thing) -> Result:
        async with room:
            return await work(thing)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(thing)) for thing in things]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
