from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from plimsoll.errors import Failed
from plimsoll.gateway.workers.link import Link, LinkEnded, linked
from tests.gateway.stub import run, until


async def echo(about: str, body: bytes) -> bytes:
    return about.encode() + b":" + body


async def pair(
    answers: Callable[[str, bytes], Awaitable[bytes]] = echo,
    lost: Callable[[], None] = lambda: None,
) -> tuple[Link, Link]:
    """Two ends: one that asks, and one that answers."""
    ours, theirs = socket.socketpair()
    return await linked(ours, echo, lost), await linked(theirs, answers, lambda: None)


def test_both_ask_and_answer_at_once_and_large_answers_come_whole() -> None:
    async def main() -> None:
        first, second = await pair()
        large = b"x" * 5_000_000
        asked = [first.ask("a", large), *(second.ask("b", b"%d" % each) for each in range(50))]
        answers = await asyncio.gather(*asked)
        assert answers == [b"a:" + large, *(b"b:%d" % each for each in range(50))]
        first.close()
        second.close()

    run(main)


def test_an_answer_that_is_late_is_not_taken_for_another() -> None:
    async def slow(about: str, body: bytes) -> bytes:
        await asyncio.sleep(0.1 if body == b"1" else 0)
        return body

    async def main() -> None:
        first, second = await pair(slow)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await first.ask("a", b"1")
        assert await first.ask("a", b"2") == b"2"
        await asyncio.sleep(0.15)
        assert await first.ask("a", b"3") == b"3"
        first.close()
        second.close()

    run(main)


def test_an_error_is_told_to_who_asked_and_the_link_goes_on() -> None:
    async def refuses(about: str, body: bytes) -> bytes:
        if about == "bad":
            raise Failed("nothing is known of it")
        return b"fine"

    async def main() -> None:
        first, second = await pair(refuses)
        with pytest.raises(LinkEnded, match="nothing is known"):
            await first.ask("bad")
        assert await first.ask("good") == b"fine"
        first.close()
        second.close()

    run(main)


def test_the_end_of_the_other_is_told_once_and_ends_every_question() -> None:
    async def never(about: str, body: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def main() -> None:
        ends: list[int] = []
        first, second = await pair(never, lambda: ends.append(1))
        questions = [asyncio.create_task(first.ask("a")) for _ in range(3)]
        await asyncio.sleep(0.02)
        second.close()
        for question in questions:
            with pytest.raises(LinkEnded):
                await question
        await until(lambda: ends == [1])
        with pytest.raises(LinkEnded):
            await first.ask("a")

    run(main)


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\0\0\0\x03abc", b"\0\0\0\x01\x90"])
def test_bytes_that_are_no_frame_end_the_link(garbage: bytes) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ended = asyncio.Event()
        await linked(ours, echo, ended.set)
        theirs.send(garbage)
        await ended.wait()
        theirs.close()

    run(main)
