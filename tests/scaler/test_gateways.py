"""Several gateways' metrics as one: merged, aged, and heard within a second."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from plimsoll.errors import Failed
from plimsoll.scaler.gateway_demand import BLIND_SECONDS, GONE_SECONDS, FleetDemand
from plimsoll.scaler.gateway_pages import Counts, counts_of
from plimsoll.scaler.gateways import Gateways, Pace
from plimsoll.scaler.models import ModelKey
from plimsoll.scaler.server import deciding
from plimsoll.telemetry.metrics import Depth, GatewayMetrics
from tests.gateway.stub import StubEngine, rig
from tests.scaler.conftest import CHAT, CODE, keda, load, offered, ref

FAST = Pace(look=0.1, quick=0.05, wait=0.05)


def page(*depths: Depth, answers=(), tokens=(0, 0), model: str = "chat") -> str:
    """A page as the gateway writes it. answers: pairs of a status and how many."""
    metrics = GatewayMetrics()
    numbers = metrics.model(model)
    for status, count in answers:
        for _ in range(count):
            numbers.answered("chat", status)
    numbers.prompt_tokens, numbers.completion_tokens = tokens
    metrics.watch(lambda: depths)
    return metrics.text().decode()


def depth(queued: int = 0, in_flight: int = 0, ready: int = 0, model: str = "chat") -> Depth:
    return Depth(model=model, queued=queued, in_flight=in_flight, replicas=ready)


def demand(*addresses: str) -> FleetDemand:
    fleet = FleetDemand()
    fleet.offer("chat", prompt_tokens=100, output_tokens=10)
    fleet.listed(addresses, 0.0)
    return fleet


def look(fleet: FleetDemand, now: float, wanted: int | None = None):
    return fleet.look("chat", now, wanted=wanted, cold_start=60.0)


def test_a_page_says_each_models_numbers():
    text = page(depth(3, 4, 2), depth(1, model='we"ird\\\n'), answers=[(200, 5), (429, 2)])
    found = counts_of(text)
    assert found["chat"] == Counts(queued=3, in_flight=4, ready=2, ended=7, answered=5, missed=2)
    assert found['we"ird\\\n'].queued == 1


def test_the_callers_own_errors_are_no_demand():
    statuses = [(400, 1), (401, 2), (404, 4), (413, 8), (429, 32), (499, 64), (503, 128)]
    assert counts_of(page(answers=statuses))["chat"].ended == 32 + 64 + 128


@pytest.mark.parametrize("text", ["", "<html>", "# TYPE vllm:x gauge\nvllm:x 1\n"])
def test_a_page_that_is_no_gateways_is_refused(text):
    with pytest.raises(Failed) as caught:
        counts_of(text)
    assert caught.value.hint


def test_levels_of_gateways_add_up_and_ready_replicas_are_counted_once():
    fleet = demand("a", "b")
    fleet.heard("a", counts_of(page(depth(3, 4, 2))), 1.0)
    fleet.heard("b", counts_of(page(depth(1, 0, 3))), 1.0)
    signals = look(fleet, 1.0)
    assert (signals.queued.requests, signals.in_flight, signals.ready) == (4, 4, 3)
    assert (signals.queued.prompt_tokens, signals.queued.output_tokens) == (400, 40)


def test_arrivals_are_what_ended_and_what_is_there_more_than_before():
    fleet = demand("a", "b")
    for address in "ab":
        fleet.heard(address, counts_of(page(depth(2, 2), answers=[(200, 7)])), 0.0)
    assert look(fleet, 0.0).arrived.requests == 0  # nothing is known of the time before
    fleet.heard("a", counts_of(page(depth(5, 3), answers=[(200, 9), (400, 3)])), 5.0)
    fleet.heard("b", counts_of(page(depth(0, 0), answers=[(200, 10), (499, 1)])), 5.0)
    signals = look(fleet, 5.0)
    assert signals.arrived.seconds == 5.0
    assert signals.arrived.requests == (4 + 2) + (4 - 4)
    assert look(fleet, 6.0).arrived.requests == 0


def test_who_was_turned_away_for_want_of_room_is_told():
    fleet = demand("a")
    fleet.heard("a", counts_of(page(answers=[(429, 5)])), 0.0)
    look(fleet, 0.0)
    fleet.heard("a", counts_of(page(answers=[(429, 7), (503, 1), (200, 4), (502, 1)])), 5.0)
    arrived = look(fleet, 5.0).arrived
    assert (arrived.requests, arrived.missed) == (8, 3)


def test_a_gateway_that_began_anew_counts_from_zero():
    fleet = demand("a")
    fleet.heard("a", counts_of(page(answers=[(200, 100)])), 0.0)
    look(fleet, 0.0)
    fleet.heard("a", counts_of(page(depth(2), answers=[(200, 3)])), 5.0)
    assert look(fleet, 5.0).arrived.requests == 5


def test_what_a_new_gateway_counted_before_it_was_known_is_no_arrival():
    fleet = demand("a", "b")
    fleet.heard("a", counts_of(page()), 0.0)
    look(fleet, 0.0)
    fleet.heard("b", counts_of(page(answers=[(200, 500)])), 5.0)
    assert look(fleet, 5.0).arrived.requests == 0


def test_lengths_are_learnt_from_answers_that_state_them():
    fleet = demand("a")
    fleet.heard("a", counts_of(page()), 0.0)
    for step in range(1, 20):
        said = page(answers=[(200, 100 * step)], tokens=(100_000 * step, 20_000 * step))
        fleet.heard("a", counts_of(said), 5.0 * step)
    silent = page(answers=[(200, 100_000)], tokens=(1_900_000, 380_000))
    fleet.heard("a", counts_of(silent), 100.0)
    look(fleet, 100.0)
    fleet.heard("a", counts_of(page(depth(10), answers=[(200, 100_000)])), 105.0)
    signals = look(fleet, 105.0)
    assert signals.queued.prompt_tokens == pytest.approx(10 * 1000, rel=0.05)
    assert signals.queued.output_tokens == pytest.approx(10 * 200, rel=0.05)


def test_of_a_silent_gateway_the_last_words_count_and_age():
    fleet = demand("a", "b")
    for address in "ab":
        fleet.heard(address, counts_of(page(depth(3))), 0.0)
    fleet.listed("ab", 40.0)
    fleet.heard("a", counts_of(page(depth(1))), 40.0)
    signals = look(fleet, 40.0)
    assert signals.queued.requests == 4
    assert signals.age == 40.0
    assert not signals.blind


def test_all_gateways_silent_is_blind_however_long_it_lasts():
    fleet = demand("a", "b")
    for address in "ab":
        fleet.heard(address, counts_of(page(depth(3, 0, 2))), 0.0)
    assert not look(fleet, BLIND_SECONDS - 1).blind
    for now in (BLIND_SECONDS + 1, 10 * GONE_SECONDS):
        fleet.listed("ab", now)
        signals = look(fleet, now)
        assert signals.blind
        assert signals.ready == 2


def test_a_gateway_that_is_gone_is_forgotten_but_the_last_one_never():
    fleet = demand("a", "b")
    for address in "ab":
        fleet.heard(address, counts_of(page(depth(3))), 0.0)
    fleet.listed(["a"], GONE_SECONDS - 1)
    fleet.heard("a", counts_of(page(depth(1))), GONE_SECONDS - 1)
    assert look(fleet, GONE_SECONDS - 1).queued.requests == 4
    fleet.listed(["a"], GONE_SECONDS + 1)
    assert look(fleet, GONE_SECONDS + 1).queued.requests == 1
    fleet.listed([], 10 * GONE_SECONDS)
    assert look(fleet, 10 * GONE_SECONDS).blind


def test_what_is_wanted_and_not_ready_is_loading_since_it_was_asked_for():
    fleet = demand("a")
    fleet.heard("a", counts_of(page(depth(0, 0, 1))), 0.0)
    assert look(fleet, 0.0, wanted=3).loading == (60.0, 60.0)
    assert look(fleet, 10.0, wanted=4).loading == (60.0, 60.0, 70.0)
    fleet.heard("a", counts_of(page(depth(0, 0, 3))), 20.0)
    assert look(fleet, 20.0, wanted=4).loading == (70.0,)
    assert look(fleet, 25.0, wanted=2).loading == ()


@asynccontextmanager
async def deciding_from(decisions, fetch, addresses, **options):
    async def listed(_):
        return addresses() if callable(addresses) else addresses

    source = Gateways(decisions, addresses=listed, fetch=fetch, pace=FAST, **options)
    task = asyncio.ensure_future(deciding(decisions, source))
    try:
        yield source
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 -- looks come as they come
            await asyncio.sleep(0.01)


def test_looks_merge_all_pages_and_cover_all_models():
    async def main():
        decisions = offered(CHAT, CODE)
        pages = {
            "a": page(depth(20), depth(5, model="code")),
            "b": page(depth(15), depth(0, model="code")),
        }

        async def fetch(address):
            return pages[address]

        async with deciding_from(decisions, fetch, ["a", "b"]):
            await until(lambda: (one := decisions.of(CHAT)) and one.replicas == 4)
            await until(lambda: (one := decisions.of(CODE)) and one.replicas == 1)

    asyncio.run(main())


def test_before_any_gateway_has_answered_nothing_is_decided(caplog):
    async def main():
        decisions = offered()
        asked = 0

        async def fetch(_):
            nonlocal asked
            asked += 1
            raise Failed("refused")

        async with deciding_from(decisions, fetch, ["a"]):
            await until(lambda: asked > 5)
            assert decisions.of(CHAT) is None
        assert caplog.text.count("refused") == 1

    asyncio.run(main())


@pytest.mark.parametrize("how", ["silent", "unlisted", "no list", "no metrics"])
def test_the_loss_of_all_metrics_never_scales_down(how):
    async def main():
        clock = [1000.0]
        decisions = offered()
        lost = False

        async def fetch(_):
            if lost and how == "no metrics":
                return "<html>"
            if lost:
                raise Failed("refused")
            return page(depth(40))

        def addresses():
            if lost and how == "no list":
                raise Failed("no such name")
            return [] if lost and how == "unlisted" else ["a"]

        looked = []
        decisions._changed = lambda *_: looked.append(decisions.of(CHAT))
        async with deciding_from(decisions, fetch, addresses, clock=lambda: clock[0]):
            await until(lambda: (one := decisions.of(CHAT)) and one.replicas == 4)
            lost = True
            for _ in range(10):
                clock[0] += 300
                seen = len(looked)
                await until(lambda seen=seen: len(looked) > seen + 1)
        assert {each.replicas for each in looked} == {4}

    asyncio.run(main())


def test_a_gateway_that_hangs_keeps_nobody_waiting():
    async def main():
        decisions = offered()

        async def fetch(address):
            if address == "slow":
                await asyncio.sleep(60)
            return page(depth(10 if decisions.of(CHAT) is None else 30))

        async with deciding_from(decisions, fetch, ["slow", "a"]):
            await until(lambda: (one := decisions.of(CHAT)) and one.replicas == 3)

    asyncio.run(main())


def test_a_request_at_a_real_gateway_wakes_the_model_at_keda_within_a_second():
    async def main():
        decisions = offered()
        async with AsyncExitStack() as stack:
            gateways = [await stack.enter_async_context(rig()) for _ in range(2)]
            http = await stack.enter_async_context(httpx.AsyncClient())

            async def fetch(address: str) -> str:
                return (await http.get(f"{address}/metrics")).text

            addresses = [f"http://{each.host}:{each.port}" for each in gateways]
            source = Gateways(
                decisions,
                addresses=lambda _: asyncio.sleep(0, addresses),
                fetch=fetch,
                pace=Pace(look=30.0),
            )
            task = asyncio.ensure_future(deciding(decisions, source))
            client = await stack.enter_async_context(keda(decisions))
            stream = client.StreamIsActive(ref())
            assert (await stream.read()).result is False
            began = time.monotonic()
            body = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
            asked = asyncio.ensure_future(
                http.post(f"{addresses[1]}/v1/chat/completions", json=body)
            )
            assert (await stream.read()).result is True
            assert time.monotonic() - began < 1.0
            engine = StubEngine()
            await engine.start()
            gateways[1].board.update("chat", (engine.upstream(),))
            assert (await asked).status_code == 200
            await engine.kill()
            stream.cancel()
            task.cancel()

    asyncio.run(main())


def test_models_of_several_fleets_are_asked_of_their_own_gateways():
    async def main():
        other = ModelKey(namespace="else", fleet="main", model="chat")
        decisions = offered(CHAT, other)

        async def addresses(name):
            return [name[0]]

        async def fetch(address):
            return page(depth({"team": 10, "else": 50}[address]))

        source = Gateways(decisions, addresses=addresses, fetch=fetch, pace=FAST)
        task = asyncio.ensure_future(deciding(decisions, source))
        await until(lambda: (one := decisions.of(other)) and one.replicas == 5)
        assert decisions.of(CHAT).replicas == 1
        task.cancel()

    asyncio.run(main())


def test_a_model_offered_later_is_looked_at():
    async def main():
        decisions = offered(CHAT)

        async def fetch(_):
            return page(depth(0), depth(12, model="code"))

        async with deciding_from(decisions, fetch, ["a"]):
            await until(lambda: decisions.of(CHAT))
            decisions.offer({CHAT: decisions.models[CHAT], CODE: decisions.models[CHAT]})
            await until(lambda: decisions.of(CODE) and decisions.of(CODE).replicas == 2)
            decisions.look(CODE, load(1))

    asyncio.run(main())
