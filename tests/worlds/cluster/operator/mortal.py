"""Operators that die at a chosen step: as by SIGKILL, without a last word to the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any

from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from plimsoll.worlds.cluster.operator.parts import Settings
from plimsoll.worlds.cluster.operator.run import Operator
from tests.worlds.cluster.operator.stage import QUICK, Cluster, parts

_LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class Life:
    """How many steps an operator's tasks may take together; a step ends at each await.

    left  steps until it dies; None: it lives on
    """

    def __init__(self, left: int | None) -> None:
        self.left = left
        self.taken = 0
        self.over = asyncio.Event()

    def step(self) -> None:
        self.taken += 1
        if self.left is not None and self.taken >= self.left:
            self.over.set()


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are counted."""

    def __init__(self, inner: Coroutine[Any, Any, Any], life: Life) -> None:
        self._inner = inner
        self._life = life

    def send(self, value: Any) -> Any:
        self._life.step()
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


def count_steps(loop: asyncio.AbstractEventLoop) -> None:
    """Have the steps of every task of an operator counted."""

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **words: Any) -> asyncio.Task[Any]:
        life = _LIFE.get()
        whole = coroutine if life is None else _Stepped(coroutine, life)
        return asyncio.Task(whole, loop=loop, **words)

    loop.set_task_factory(make)


def _silence(kube: Kube, life: Life) -> None:
    """Let nothing of a dead operator reach the API server, whatever it does while it unwinds."""
    session = kube._transport._session
    say = session.send

    async def send(*given: Any, **words: Any) -> Any:
        if life.over.is_set():
            await asyncio.Event().wait()
        return await say(*given, **words)

    session.send = send  # type: ignore[method-assign]


async def live(
    stage: Cluster,
    settings: Settings,
    life: Life,
    until: asyncio.Event | None = None,
    roster: list[tuple[Operator, Life]] | None = None,
) -> None:
    """Run an operator until its life is over, or until something has come to pass.

    roster  takes the operator down
    """
    async with await Kube.connect(url=stage.api.url, patience=QUICK) as kube:
        _silence(kube, life)
        operator = Operator(kube, settings, parts(stage), OperatorMetrics())
        if roster is not None:
            roster.append((operator, life))
        _LIFE.set(life)
        task = asyncio.create_task(operator.run())
        _LIFE.set(None)
        ends = [asyncio.create_task(event.wait()) for event in (life.over, until) if event]
        await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
        for each in (task, *ends):
            each.cancel()
        await asyncio.gather(task, *ends, return_exceptions=True)
