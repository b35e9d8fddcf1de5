"""Looks at replicas' metrics: before stubs with every fault, then before real llama.cpp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

import httpx
import pytest

from plimsoll.engines import ENGINES
from plimsoll.facts.engines import engine as engine_facts
from plimsoll.gateway import EngineLooks, LookPace, Served, Spoken, Upstream
from plimsoll.policy.requests.types import Place
from plimsoll.telemetry.engine_metrics import EngineSeen
from tests.gateway.engine import RealEngine, demo
from tests.gateway.stub import MESSAGES, Asked, Rig, StubEngine, chat, good, post, rig, run, until

GOLDEN = Path(__file__).parents[1] / "golden" / "engines"
VLLM = (GOLDEN / "vllm.metrics.txt").read_bytes()  # two run, one waits
PACE = LookPace(
    interval=0.02, rate=1000.0, at_once=4, seconds=0.3, largest=200_000, believed=3.0,
    jitter=lambda: 0.5,
)  # fmt: skip


def spoken(engine: str = "vllm") -> Spoken:
    metrics = tuple(engine_facts(engine).metrics.values())
    return Spoken(path="/metrics", metrics=metrics, read=ENGINES[engine].counts)


class Telling(StubEngine):
    """A stub that also has metrics: `text` with `status`, held back while `hangs`."""

    def __init__(self, name: str = "chat-0", text: bytes = VLLM) -> None:
        super().__init__(name, self.handle)
        self.text = text
        self.status = "200 OK"
        self.hangs = False
        self.looks = 0
        self.now = 0
        self.most = 0

    async def handle(self, asked: Asked) -> None:
        if not asked.line.startswith("GET /metrics "):
            await good(asked)
            return
        self.looks += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.hangs:
                await asyncio.sleep(60)
            await asked.whole(self.text, status=self.status)
        finally:
            self.now -= 1


@asynccontextmanager
async def looking(
    the: Rig, *models: str, pace: LookPace = PACE, engine: str = "vllm"
) -> AsyncIterator[EngineLooks]:
    looks = EngineLooks(the.board, pace)
    looks.follow({model: spoken(engine) for model in models or ("chat",)})
    task = asyncio.create_task(looks.run())
    try:
        yield looks
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def place(the: Rig, model: str = "chat") -> Place:
    places = tuple(the.board.places(model))
    return places[0]


def seen(looks: EngineLooks) -> EngineSeen:
    return next(iter(looks.seen()))


def test_what_a_replica_says_reaches_the_board_over_one_connection() -> None:
    async def main() -> None:
        engine = Telling()
        async with rig(engine) as the, looking(the) as looks:
            await until(lambda: engine.looks >= 5)
            assert place(the).others == 3
            told = seen(looks)
            assert (told.known, told.running, told.waiting, told.failed) == (1, 2, 1, 0)
            assert told.kv_usage == pytest.approx(0.000977, rel=1e-3)
            assert told.age < 1.0
            assert engine.connections == 1

    run(main)


def test_metrics_that_hang_slow_no_request_and_become_unknown_not_zero() -> None:
    async def main() -> None:
        engine = Telling()
        pace = replace(PACE, interval=0.1, seconds=0.05, believed=4.0)
        async with rig(engine) as the, looking(the, pace=pace) as looks:
            await until(lambda: seen(looks).known == 1)
            engine.hangs = True
            began = monotonic()
            for _ in range(20):
                assert (await the.ask(chat())).status == 200
            assert monotonic() - began < 2.0
            await until(lambda: seen(looks).failed >= 1)
            assert place(the).others == 3  # one lost look is not blindness
            await until(lambda: seen(looks).known == 0)
            assert monotonic() - began >= 0.3
            assert place(the).others == 0
            assert place(the).limit == place(the).capacity
            engine.hangs = False
            await until(lambda: seen(looks).known == 1)

    run(main)


def test_replicas_that_hang_hold_a_bounded_number_of_looks() -> None:
    async def main() -> None:
        engines = [Telling(f"chat-{number}") for number in range(6)]
        for engine in engines:
            engine.hangs = True
        async with rig(*engines) as the, looking(the, pace=replace(PACE, at_once=2)):
            most = 0
            deadline = monotonic() + 1.0
            while monotonic() < deadline:
                most = max(most, sum(engine.now for engine in engines))
                await asyncio.sleep(0.005)
            assert 1 <= most <= 3  # one may be ending
            assert sum(engine.looks for engine in engines) >= 6

    run(main)


def test_a_replica_that_is_gone_is_looked_at_no_more_and_its_counts_are_forgotten() -> None:
    async def main() -> None:
        stays, goes = Telling("chat-0"), Telling("chat-1")
        async with rig(stays, goes) as the, looking(the) as looks:
            await until(lambda: seen(looks).known == 2)
            the.board.update("chat", (stays.upstream(),))
            await until(lambda: seen(looks).known == 1)
            before = goes.looks
            at = stays.looks
            await until(lambda: stays.looks >= at + 10)
            assert goes.looks == before
            assert seen(looks).running == 2
            looks.follow({})
            assert list(looks.seen()) == []
            assert place(the).others == 0
            await asyncio.sleep(0.1)
            at = stays.looks
            await asyncio.sleep(0.1)
            assert stays.looks == at

    run(main)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"<html>Not metrics</html>", "200 OK"),
        (b"", "200 OK"),
        (VLLM, "503 Service Unavailable"),
        (VLLM + b"x_total 1\n" * 30_000, "200 OK"),  # more than the largest
        (VLLM + b"#" * 100_000, "200 OK"),  # a line without end
        (b'vllm:num_requests_running{engine="0"} 1\n' * 1000, "200 OK"),
    ],
)
def test_an_answer_that_is_no_metrics_is_unknown_and_never_zero(text: bytes, status: str) -> None:
    async def main() -> None:
        engine = Telling(text=text)
        engine.status = status
        async with rig(engine) as the, looking(the) as looks:
            await until(lambda: seen(looks).failed >= 5)
            assert seen(looks).known == 0
            assert (place(the).others, place(the).limit) == (0, 4)
            engine.text, engine.status = VLLM, "200 OK"
            await until(lambda: seen(looks).known == 1)

    run(main)


@pytest.mark.parametrize("engine", [name for name in ENGINES if engine_facts(name).metrics])
def test_a_page_that_is_no_metrics_is_refused_for_every_engine(engine: str) -> None:
    async def main() -> None:
        page = Telling(text=b"<html>\nhello\n</html>")
        async with rig(page) as the, looking(the, engine=engine) as looks:
            await until(lambda: seen(looks).failed >= 2)
            assert seen(looks).known == 0

    run(main)


def test_an_engine_that_closes_after_every_answer_is_read_all_the_same() -> None:
    class Closing(Telling):
        async def handle(self, asked: Asked) -> None:
            await super().handle(asked)
            asked.writer.close()

    async def main() -> None:
        engine = Closing()
        async with rig(engine) as the, looking(the) as looks:
            await until(lambda: engine.looks >= 10)
            assert (seen(looks).known, seen(looks).failed) == (1, 0)

    run(main)


def test_one_that_is_away_does_not_hide_the_others() -> None:
    async def main() -> None:
        here, away = Telling("chat-0"), Telling("chat-1")
        async with rig(here, away) as the, looking(the) as looks:
            await until(lambda: seen(looks).known == 2)
            await away.kill()
            at = here.looks
            await until(lambda: seen(looks).known == 1)
            assert here.looks > at
            assert seen(looks).running == 2

    run(main)


def test_a_replica_of_several_models_tells_nothing_of_one() -> None:
    async def main() -> None:
        engine = Telling()
        async with rig(engine) as the:
            the.board.update("embed", (engine.upstream(),))
            async with looking(the, "chat", "embed") as looks:
                await asyncio.sleep(0.2)
                assert engine.looks == 0
                assert [each.known for each in looks.seen()] == [0, 0]

    run(main)


# Real llama.cpp from here on.


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[RealEngine, RealEngine]]:
    with RealEngine("demo-a") as first, RealEngine("demo-b") as second:
        yield first, second


def shared(engine: RealEngine) -> Upstream:
    return replace(engine.upstream(), gateways=2)


def endless(tokens: int = 200) -> bytes:
    body = {"model": "demo", "messages": MESSAGES, "stream": True, "max_tokens": tokens}
    return post({**body, "ignore_eos": True})


async def load(engine: RealEngine, http: httpx.AsyncClient) -> int:
    counts = ENGINES["llamacpp"].counts((await http.get(f"http://{engine.address}/metrics")).text)
    return counts.running + counts.waiting


@pytest.mark.slow
def test_two_gateways_before_the_same_two_replicas_overload_neither(
    engines: tuple[RealEngine, RealEngine],
) -> None:
    served: Served = demo()

    async def main() -> None:
        async with (
            rig(served=served) as one,
            rig(served=served) as two,
            httpx.AsyncClient() as http,
        ):
            for the in (one, two):
                the.board.update("demo", tuple(shared(engine) for engine in engines))
            pace = replace(PACE, interval=0.05)
            async with (
                looking(one, "demo", pace=pace, engine="llamacpp"),
                looking(two, "demo", pace=pace, engine="llamacpp"),
            ):
                asked = [asyncio.create_task(the.ask(endless())) for the in (one, two) * 16]
                loads: dict[str, list[int]] = {engine.name: [] for engine in engines}
                while not all(task.done() for task in asked):
                    for engine in engines:
                        loads[engine.name].append(await load(engine, http))
                    await asyncio.sleep(0.01)
                assert {task.result().status for task in asked} == {200}
        for each in loads.values():
            # Four places. Two gateways that know nothing of each other would put eight there.
            assert 3 <= max(each) <= 5, loads
            assert sum(each) / len(each) <= 4.2, loads

    run(main, seconds=120)


@pytest.mark.slow
def test_a_gateway_that_is_busy_alone_gets_more_than_its_share_of_a_real_replica(
    engines: tuple[RealEngine, RealEngine],
) -> None:
    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (shared(engines[0]),))
            async with looking(the, "demo", pace=replace(PACE, interval=0.05), engine="llamacpp"):
                asked = [asyncio.create_task(the.ask(endless())) for _ in range(8)]
                await until(lambda: place(the, "demo").in_flight == 3, seconds=20)
                for task in asked:
                    assert (await task).status == 200

    run(main, seconds=120)
