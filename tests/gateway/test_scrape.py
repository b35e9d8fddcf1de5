from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter

from plimsoll.telemetry.engine_metrics import EngineMetrics, EngineSeen
from tests.gateway.stub import Rig, get, rig, run, until


def fill(the: Rig, models: int = 1000) -> None:
    for number in range(models):
        numbers = the.metrics.model(f"model-{number}")
        for spread in (numbers.queue, numbers.first, numbers.request, numbers.gap):
            spread.observe(0.2)


async def longest_block(task: asyncio.Task[object]) -> float:
    """The longest time for which the event loop served nobody else, in seconds."""
    worst, last = 0.0, perf_counter()
    while not task.done():
        await asyncio.sleep(0)
        now = perf_counter()
        worst, last = max(worst, now - last), now
    return worst


def test_a_scrape_of_a_thousand_models_blocks_nobody_for_long() -> None:
    async def main() -> None:
        async with rig() as the:
            fill(the)
            blocks = []
            for _ in range(5):
                scrape = asyncio.create_task(the.ask(get("/metrics")))
                blocks.append(await longest_block(scrape))
                assert scrape.result().body.count(b"_bucket{") == 4 * 17 * 1000
            assert min(blocks) < 0.05, blocks

    run(main)


def test_what_comes_after_a_scrape_on_a_connection_is_answered_after_it() -> None:
    async def main() -> None:
        async with rig() as the:
            fill(the, 200)
            client = await the.connect()
            client.send(get("/metrics") + get("/health"))
            first, second = await client.reply(), await client.reply()
            assert first.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert second.json == {"status": "serving"}
            client.send(get("/metrics", method="HEAD"))
            status, headers = await client.head()
            assert (status, int(headers["content-length"]) > 10_000) == (200, True)

    run(main)


def test_a_caller_that_leaves_ends_its_scrape() -> None:
    class Slow:
        parts_written = 0

        def parts(self) -> Iterator[bytes]:
            while True:
                self.parts_written += 1
                yield b""

    async def main() -> None:
        slow = Slow()
        async with rig() as the:
            the.metrics.follow(slow)
            client = await the.connect()
            client.send(get("/metrics"))
            await until(lambda: slow.parts_written > 10)
            await client.close()
            await until(lambda: the.metrics.connections == 0)
            written = slow.parts_written
            await asyncio.sleep(0.05)
            assert slow.parts_written == written
            assert (await the.ask(get("/health"))).status == 200

    run(main)


def test_a_fault_in_a_metric_is_told_and_ends_nothing_else() -> None:
    def fault() -> Iterator[EngineSeen]:
        raise RuntimeError("a fault of the test's")

    async def main() -> None:
        told: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        async with rig() as the:
            the.metrics.follow(EngineMetrics(fault))
            answer = await the.ask(get("/metrics"))
            assert (answer.status, answer.code) == (500, "internal")
            assert isinstance(told[0], RuntimeError)
            assert (await the.ask(get("/health"))).status == 200

    run(main)
