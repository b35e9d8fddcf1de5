"""Streams of a real vLLM, carried on over broken connections and over the death of a replica."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from benchmarks.failover.replicas import FIELDS, served
from plimsoll.gateway import Upstream
from tests.gateway.arithmetic_engine import read
from tests.gateway.breaking import Breaking
from tests.gateway.stub import MESSAGES, Rig, post, rig, run, until
from tests.vllm_server import VllmServer, processor_placement, serve_vllm, write_tiny_llama

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[VllmServer]]:
    """Two replicas; the last test kills one."""
    weights = write_tiny_llama(tmp_path_factory.mktemp("weights") / "tiny")
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                serve_vllm(
                    weights, tmp_path_factory.mktemp(name), place=processor_placement("demo")
                )
            )
            for name in ("one", "two")
        ]


def upstream(server: VllmServer, name: str) -> Upstream:
    port = int(server.url.rsplit(":", 1)[1])
    return Upstream(replica=name, host="127.0.0.1", port=port, capacity=4)


def body_of(*, is_chat: bool = True, **more: object) -> dict[str, Any]:
    asks: dict[str, Any] = {"messages": MESSAGES} if is_chat else {"prompt": "once"}
    usual = {"model": "demo", "stream": True, "temperature": 0, "max_tokens": 80}
    options = {"stream_options": {"include_usage": True}}
    return {**usual, **FIELDS["vllm"], **options, **asks, **more}


async def answer(the: Rig, body: dict[str, Any]) -> bytes:
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    return (await the.ask(post(body, path))).body


@pytest.mark.parametrize("repeated", [1024, 0], ids=["made again", "continued"])
@pytest.mark.parametrize("is_chat", [True, False])
@pytest.mark.parametrize("after", [(1,), (30,), (79,), (20, 30, 20)])
def test_a_broken_stream_of_vllm_equals_an_undisturbed_one(
    servers: list[VllmServer],
    monkeypatch: pytest.MonkeyPatch,
    is_chat: bool,
    after: tuple[int, ...],
    repeated: int,
) -> None:
    monkeypatch.setattr("plimsoll.gateway.continuation.MOST_REPEATED", repeated)

    async def main() -> None:
        breaking = Breaking(upstream(servers[1], "demo-1"), *after)
        async with breaking.listening() as there, rig(served=served("vllm")) as the:
            the.board.update("demo", (there,))
            got = read(await answer(the, body_of(is_chat=is_chat)))
            assert got == read(await answer(the, body_of(is_chat=is_chat)))
            assert got.usage[0]["completion_tokens"] == 80

    run(main, seconds=120)


def test_a_completion_that_names_no_limit_keeps_vllms_own_over_a_break(
    servers: list[VllmServer],
) -> None:
    async def main() -> None:
        breaking = Breaking(upstream(servers[1], "demo-1"), 9)
        async with breaking.listening() as there, rig(served=served("vllm")) as the:
            the.board.update("demo", (there,))
            body = body_of(is_chat=False, max_tokens=None, temperature=1)
            assert read(await answer(the, body)).usage[0]["completion_tokens"] == 16

    run(main, seconds=120)


def test_a_replica_of_vllm_that_is_killed_is_not_noticed(servers: list[VllmServer]) -> None:
    async def main() -> None:
        both = (upstream(servers[0], "demo-0"), upstream(servers[1], "demo-1"))
        async with rig(served=served("vllm")) as the:
            the.board.update("demo", both)
            bodies = [body_of(is_chat=bool(n % 2), max_tokens=600 + n) for n in range(8)]
            want = [read(await answer(the, body)) for body in bodies]
            asking = [asyncio.create_task(answer(the, body)) for body in bodies]
            names = ("demo-0", "demo-1")
            await until(lambda: max(map(the.board.in_flight, names)) >= 3, seconds=60)
            busiest = max(range(2), key=lambda number: the.board.in_flight(names[number]))
            await asyncio.sleep(0.5)
            os.killpg(servers[busiest].process.pid, signal.SIGKILL)
            assert [read(each) for each in await asyncio.gather(*asking)] == want
            assert "continuations_total" in the.numbers()

    run(main, seconds=300)
