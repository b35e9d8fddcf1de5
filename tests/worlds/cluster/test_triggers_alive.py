"""Every trigger against a real Prometheus that scrapes real engines behind the real gateway.

One element that moves with the work, and none when what it needs is not scraped.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from plimsoll.gateway import Served, Upstream
from plimsoll.plan.types import Ledger, Term
from plimsoll.units import MIB
from plimsoll.worlds.cluster.objects.gateway import gateway_selector
from plimsoll.worlds.cluster.objects.promql import Trigger, alive, triggers
from plimsoll.worlds.cluster.objects.site import Site
from tests.gateway.engine import RealEngine, demo
from tests.gateway.stub import MESSAGES, Rig, post, rig, run
from tests.vllm_server import processor_placement, serve_vllm, write_tiny_llama
from tests.worlds.cluster.objects.signals import signal_site, workload
from tests.worlds.cluster.prometheus import Pod, Prometheus, needs_prometheus, prometheus

pytestmark = needs_prometheus
POLICIES = ("plimsoll", "concurrency", "queueDepth")
SLOTS = 2
CALLERS = 8
SLOW = 90.0  # seconds that one test may take on a busy machine


@pytest.fixture(scope="module")
def engine() -> Iterator[RealEngine]:
    with RealEngine(parallel=SLOTS) as started:
        yield started


def gateway_pod(site: Site, the: Rig, name: str = "gateway-0") -> Pod:
    address = f"{the.host}:{the.port}"
    return Pod(name=name, namespace=site.namespace, address=address, labels=gateway_selector(site))


def engine_pod(site: Site, address: str) -> Pod:
    model = workload(site)
    return Pod(name="demo-0", namespace=model.namespace, address=address, labels=model.labels)


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def site_of(policy: str, **words: Any) -> Site:
    scaling = {"policy": policy, **words.pop("scaling", {})}
    return signal_site(
        name="demo", scaling=scaling, **{"engine": "llamacpp", "parallel": SLOTS, **words}
    )


def body(model: str, tokens: int) -> bytes:
    return post(
        {
            "model": model, "messages": MESSAGES, "stream": True, "max_tokens": tokens,
            "temperature": 0, "ignore_eos": True,
        },
        "/v1/chat/completions",
    )  # fmt: skip


@asynccontextmanager
async def load(the: Rig, *, model: str = "demo", callers: int = CALLERS) -> AsyncIterator[None]:
    """So many callers who ask again and again; all have been answered or are gone at the end."""

    async def call() -> None:
        while True:
            assert (await the.ask(body(model, 600))).status == 200

    tasks = [asyncio.create_task(call()) for _ in range(callers)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


async def answer(server: Prometheus, trigger: Trigger) -> tuple[bool, float | None, str]:
    """Alive, the value of its one element, and the reason."""
    answered = await server.query(trigger.query)
    ok, why = alive(trigger, answered)
    return ok, float(answered["data"]["result"][0]["value"][1]) if ok else None, why


async def comes(
    server: Prometheus, trigger: Trigger, holds: Callable[[float | None], bool]
) -> float | None:
    """The value as soon as the condition holds of it; None is a query that yields nothing."""
    value, why = None, ""
    for _ in range(400):
        _, value, why = await answer(server, trigger)
        if holds(value):
            return value
        await asyncio.sleep(0.05)
    raise AssertionError(f"{trigger.name} stays at {value}: {why}: {trigger.query}")


def zero(value: float | None) -> bool:
    return value == 0


def blind(value: float | None) -> bool:
    return value is None


def at_least(low: float) -> Callable[[float | None], bool]:
    return lambda value: value is not None and value >= low


def test_demand_moves_with_the_queue_and_a_lost_gateway_is_not_an_idle_model(
    engine: RealEngine, tmp_path: Path
) -> None:
    """All policies that this engine can serve, in one load."""
    sites = {policy: site_of(policy) for policy in POLICIES}
    signals = [
        (policy, trigger)
        for policy, site in sites.items()
        for trigger in triggers(site, workload(site))
    ]
    site = sites["plimsoll"]

    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            pods = [gateway_pod(site, the), engine_pod(site, engine.address)]
            with prometheus(tmp_path, site, pods) as server:
                for _, trigger in signals:
                    await comes(server, trigger, zero)
                async with load(the):
                    for _, trigger in signals:
                        wanted = {"demand": CALLERS, "waiting": CALLERS - SLOTS, "carried": SLOTS}
                        least = wanted[trigger.name] - 1  # one may be on its way back
                        await comes(server, trigger, at_least(least))
                for _, trigger in signals:
                    await comes(server, trigger, zero)
                await the.gateway.close()
                for _, trigger in signals:
                    await comes(server, trigger, blind)
                    ok, _, why = await answer(server, trigger)
                    assert not ok
                    assert "not scraped" in why

    run(main, seconds=SLOW)


def test_gateways_of_one_fleet_are_added_up_and_warm_replicas_with_them(
    engine: RealEngine, tmp_path: Path
) -> None:
    site = site_of("concurrency", scaling={"warm": 3})
    (trigger,) = triggers(site, workload(site))

    async def main() -> None:
        async with rig(served=demo()) as one, rig(served=demo()) as two:
            for the in (one, two):
                the.board.update("demo", (engine.upstream(),))
            pods = [gateway_pod(site, one), gateway_pod(site, two, "gateway-1")]
            with prometheus(tmp_path, site, pods) as server:
                await comes(server, trigger, zero)  # none is kept warm for nobody
                async with load(one, callers=3), load(two, callers=3):
                    added = 3 * trigger.threshold
                    await comes(server, trigger, at_least(5 + added))

    run(main, seconds=SLOW)


def test_a_model_at_zero_is_idle_and_wakes_by_one_request(tmp_path: Path) -> None:
    site = site_of("queueDepth", scaling={"min": 0})
    waiting, carried = triggers(site, workload(site))

    async def main() -> None:
        async with rig(served=demo()) as the:
            pods = [gateway_pod(site, the), engine_pod(site, nobody())]
            with prometheus(tmp_path, site, pods) as server:
                await comes(server, waiting, zero)
                await comes(server, carried, zero)
                caller = await the.connect()
                caller.send(body("demo", 10))
                await comes(server, waiting, lambda v: v == 1)
                await caller.close()
                await comes(server, waiting, zero)

    run(main, seconds=SLOW)


def test_an_engine_that_is_ready_and_not_scraped_is_blindness(
    engine: RealEngine, tmp_path: Path
) -> None:
    site = site_of("queueDepth")
    waiting, carried = triggers(site, workload(site))

    async def main() -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            pods = [gateway_pod(site, the), engine_pod(site, nobody())]
            with prometheus(tmp_path, site, pods) as server:
                await comes(server, carried, zero)  # by now the gateway has been scraped
                assert (await answer(server, waiting))[0] is False
                the.board.update("demo", ())
                await comes(server, waiting, zero)

    run(main, seconds=SLOW)


def test_an_engine_that_shows_its_queue_late_is_idle_as_soon_as_it_is_scraped(
    tmp_path: Path,
) -> None:
    site = site_of("queueDepth", engine="tgi")  # none of its metrics are in llama.cpp's text
    waiting, _ = triggers(site, workload(site))

    async def main(engine: RealEngine) -> None:
        async with rig(served=demo()) as the:
            the.board.update("demo", (engine.upstream(),))
            pods = [gateway_pod(site, the), engine_pod(site, engine.address)]
            with prometheus(tmp_path, site, pods) as server:
                await comes(server, waiting, zero)
                await asyncio.to_thread(engine.kill)
                await comes(server, waiting, blind)

    with RealEngine() as engine:
        run(lambda: main(engine), seconds=SLOW)


def test_other_fleets_models_and_gateways_are_not_counted(
    engine: RealEngine, tmp_path: Path
) -> None:
    site = site_of("concurrency")
    (trigger,) = triggers(site, workload(site))
    other = signal_site(name="other", engine="llamacpp")

    async def main() -> None:
        async with rig(served=demo()) as one, rig(served=demo()) as two:
            for the in (one, two):
                the.board.update("demo", (engine.upstream(),))
            stranger = gateway_pod(site, two, "gateway-1")
            moved = Pod(
                name="x", namespace="elsewhere", address=stranger.address, labels=stranger.labels
            )
            with prometheus(tmp_path, site, [gateway_pod(site, one), moved]) as server:
                await comes(server, trigger, zero)
                async with load(two, callers=4):
                    counted = Trigger(
                        name="all", query="sum(plimsoll_gateway_in_flight)", threshold=1,
                        meaning="", unit="",
                    )  # fmt: skip
                    await comes(server, counted, at_least(1))
                    assert (await answer(server, trigger))[1] == 0
                (missing,) = triggers(other, workload(other))
                assert (await answer(server, missing))[0] is False

    run(main, seconds=SLOW)


@pytest.mark.slow
def test_a_real_vllm_moves_the_signals_that_it_adds_and_its_loss_is_blindness(
    tmp_path: Path,
) -> None:
    """Its own queue, behind the gateway's, and its KV cache."""
    in_gateway, inside = 6, 2  # requests at once: let through by the gateway, run by the engine
    cache = Ledger(terms=(Term(name="kv cache", bytes=8 * MIB),))
    place = processor_placement("demo", parallel=inside, ledger=cache)
    sites = {policy: site_of(policy, engine="vllm") for policy in ("queueDepth", "kvCache")}
    signals = {
        trigger.name: trigger
        for site in sites.values()
        for trigger in triggers(site, workload(site))
    }
    assert set(signals) == {"waiting", "carried", "cache", "asked"}
    least = {
        "waiting": CALLERS - inside - 1,  # more than the gateway alone holds back
        "carried": in_gateway - 1,
        "cache": 0.01,
        "asked": 1,
    }
    site = sites["kvCache"]

    async def main(address: str, kill: Callable[[], None]) -> None:
        host, _, port = address.rpartition(":")
        served = Served(name="demo", task="chat", context=2048)
        upstream = Upstream(replica="demo-0", host=host, port=int(port), capacity=in_gateway)
        async with rig(served=served) as the:
            the.board.update("demo", (upstream,))
            pods = [gateway_pod(site, the), engine_pod(site, address)]
            with prometheus(tmp_path / "prometheus", site, pods) as server:
                for trigger in signals.values():
                    await comes(server, trigger, zero)
                async with load(the):
                    for name, trigger in signals.items():
                        found = await comes(server, trigger, at_least(least[name]))
                        assert name != "cache" or found <= 1
                for trigger in signals.values():
                    await comes(server, trigger, zero)
                kill()
                for name in ("waiting", "cache"):
                    await comes(server, signals[name], blind)
                for name in ("carried", "asked"):  # what the gateway itself knows
                    await comes(server, signals[name], zero)

    weights = write_tiny_llama(tmp_path / "weights")
    with serve_vllm(weights, tmp_path, place=place) as vllm:
        run(lambda: main(vllm.url.removeprefix("http://"), vllm.process.kill), seconds=SLOW)
