"""A parent and its workers in one process, over real pairs of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from plimsoll.gateway.workers.hub import Hub, Waits
from plimsoll.gateway.workers.link import LinkEnded, linked
from plimsoll.gateway.workers.member import Member
from plimsoll.telemetry.metrics import GATEWAY, GatewayMetrics
from tests.gateway.stub import run, until

WAITS = Waits(numbers=0.1, explain=0.1, alive=0.1, every=0.02)


@dataclass
class Rig:
    hub: Hub
    ready: list[int] = field(default_factory=list)
    ends: dict[int, socket.socket] = field(default_factory=dict)

    async def join(self, number: int, metrics: GatewayMetrics, known: bytes = b"") -> Member:
        """A worker that serves and knows one request."""
        ours, theirs = socket.socketpair()
        await self.hub.joined(number, ours)
        made = Member(numbers=metrics.parts, explain=lambda key: b"told" if key == known else b"")
        await made.join(theirs, lambda: None)
        made.ready()
        await until(lambda: number in self.ready)
        return made


def a_rig() -> Rig:
    ready: list[int] = []
    return Rig(Hub(families=GATEWAY, ready=ready.append, waits=WAITS), ready)


def answered(count: int) -> GatewayMetrics:
    made = GatewayMetrics()
    for _ in range(count):
        made.model("chat").answered("chat", 200)
    return made


def requests(text: bytes) -> float:
    rows = text.decode().splitlines()
    return sum(
        float(row.rpartition(" ")[2])
        for row in rows
        if row.startswith('plimsoll_gateway_requests_total{model="chat"')
    )


def test_whichever_worker_is_asked_tells_the_numbers_of_all() -> None:
    async def main() -> None:
        the = a_rig()
        members = [await the.join(each, answered(each + 1)) for each in range(3)]
        texts = await asyncio.gather(*(each.metrics() for each in members))
        assert [requests(text) for text in texts] == [6, 6, 6]
        assert b"plimsoll_gateway_workers 3.0" in texts[0]
        for each in range(3):
            the.hub.left(each, wanted=True)

    run(main)


def test_counters_stay_when_a_worker_dies_and_its_successor_adds_to_them() -> None:
    async def main() -> None:
        the = a_rig()
        first = await the.join(0, answered(5))
        assert requests(await first.metrics()) == 5
        the.hub.left(0, wanted=False)
        the.ready.clear()
        second = await the.join(0, answered(2))
        text = await second.metrics()
        assert requests(text) == 7
        assert b"plimsoll_gateway_worker_ends_total 1.0" in text
        the.hub.left(0, wanted=True)

    run(main)


def test_a_worker_that_drains_leaves_its_last_numbers() -> None:
    async def main() -> None:
        the = a_rig()
        first = await the.join(0, answered(1))
        second = await the.join(1, answered(4))
        await first.leave()
        the.hub.left(0, wanted=True)
        assert requests(await second.metrics()) == 5
        the.hub.left(1, wanted=True)

    run(main)


def test_what_another_worker_knows_is_found_and_what_nobody_knows_is_empty() -> None:
    async def main() -> None:
        the = a_rig()
        first = await the.join(0, answered(0))
        await the.join(1, answered(0), known=b"tenant/1")
        assert await first.explain(b"tenant/1") == b"told"
        assert await first.explain(b"tenant/2") == b""
        for each in range(2):
            the.hub.left(each, wanted=True)

    run(main)


def test_a_silent_worker_delays_nobody_for_long_shows_its_last_numbers_and_is_told_of() -> None:
    async def main() -> None:
        the = a_rig()
        first = await the.join(0, answered(3))
        hung: list[int] = []
        ours, theirs = socket.socketpair()
        await the.hub.joined(1, ours)
        asked = 0

        async def once(about: str, body: bytes) -> bytes:
            nonlocal asked
            asked += about == "numbers"
            if about != "numbers" or asked > 1:
                await asyncio.Event().wait()
            return b"".join(answered(4).parts())

        silent = await linked(theirs, once, lambda: None)
        silent.tell("ready")
        await until(lambda: 1 in the.ready)
        assert requests(await first.metrics()) == 7
        text = await first.metrics()
        assert requests(text) == 7
        assert b"plimsoll_gateway_workers_silent 1.0" in text
        watching = asyncio.create_task(the.hub.watch(hung.append))
        await until(lambda: bool(hung))
        assert set(hung) == {1}
        watching.cancel()
        for each in range(2):
            the.hub.left(each, wanted=False)

    run(main)


def test_a_worker_without_its_parent_has_no_numbers_to_show() -> None:
    async def main() -> None:
        the = a_rig()
        first = await the.join(0, answered(1))
        the.hub.left(0, wanted=True)
        with pytest.raises(LinkEnded):
            await first.metrics()

    run(main)


def test_numbers_are_asked_while_more_are_counted() -> None:
    """A text is made in parts; between them other work counts on."""

    async def main() -> None:
        the = a_rig()
        metrics = answered(0)

        def parts() -> Iterator[bytes]:
            for part in metrics.parts():
                metrics.model("chat").answered("chat", 200)
                yield part

        ours, theirs = socket.socketpair()
        await the.hub.joined(0, ours)
        member = Member(numbers=parts, explain=lambda _: b"")
        await member.join(theirs, lambda: None)
        member.ready()
        await until(lambda: 0 in the.ready)
        before = requests(await member.metrics())
        assert requests(await member.metrics()) > before
        the.hub.left(0, wanted=True)

    run(main)
