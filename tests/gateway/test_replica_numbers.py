"""What a gateway counts of single replicas while it serves."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from plimsoll.gateway import GatewaySettings
from plimsoll.gateway.access import Caller, Grant, StaticAccess
from tests.gateway.stub import (
    CHAT,
    Asked,
    Rig,
    StubEngine,
    chat,
    get,
    post,
    rig,
    run,
    until,
)


def number(the: Rig, name: str, replica: str, more: str = "") -> float:
    """One sample of a replica; -1 where it is not shown."""
    start = f'plimsoll_gateway_{name}{{{more}model="chat",replica="{replica}"}} '
    found = (row for row in the.numbers().splitlines() if row.startswith(start))
    return float(next(found, "x -1").rpartition(" ")[2])


async def break_off(asked: Asked) -> None:
    asked.writer.transport.abort()


def test_tries_and_tokens_count_for_the_replica_that_had_them() -> None:
    async def main() -> None:
        async with rig(StubEngine("one")) as the:
            for _ in range(3):
                assert (await the.ask(chat())).status == 200
            assert number(the, "replica_tries_total", "one") == 3
            assert number(the, "replica_failures_total", "one") == 0
            assert number(the, "replica_tokens_total", "one", 'kind="completion",') == 9
            assert number(the, "replica_first_byte_seconds_count", "one") == 3

    run(main)


def test_a_replica_that_breaks_connections_is_counted_and_shown_as_ejected() -> None:
    async def main() -> None:
        bad, fine = StubEngine("bad", break_off), StubEngine("fine")
        async with rig(bad, fine) as the:
            while not bad.asked:
                assert (await the.ask(chat())).status == 200
            assert number(the, "replica_failures_total", "bad") == 1
            assert number(the, "replica_failures_total", "fine") == 0
            assert number(the, "replica_ejected", "bad") == 1
            assert number(the, "replica_ejections_total", "bad", 'kind="broken",') == 1

    run(main)


def test_in_flight_is_told_of_each_replica_and_a_caller_that_leaves_is_its_cancellation() -> None:
    async def silent(asked: Asked) -> None:
        await asked.gone.wait()

    async def main() -> None:
        async with rig(StubEngine("one", silent)) as the:
            client = await the.connect()
            client.send(chat())
            await until(lambda: bool(the.engine.asked))
            assert number(the, "replica_in_flight", "one") == 1
            await client.close()
            await until(the.idle)
            assert number(the, "replica_in_flight", "one") == 0
            assert number(the, "replica_cancelled_total", "one") == 1

    run(main)


def test_a_replica_that_is_gone_leaves_the_metrics() -> None:
    async def main() -> None:
        async with rig(StubEngine("one")) as the:
            assert (await the.ask(chat())).status == 200
            the.board.update("chat", ())
            assert number(the, "replica_tries_total", "one") == -1
            assert number(the, "replica_in_flight", "one") == -1

    run(main)


def test_who_waits_while_no_replica_is_ready_is_held() -> None:
    async def main() -> None:
        async with rig() as the:
            client = await the.connect()
            client.send(chat())
            await until(lambda: the.board.demand()["chat"].queued == 1)
            assert 'plimsoll_gateway_held{model="chat"} 1.0' in the.numbers()
            assert 'plimsoll_gateway_queued_bytes{model="chat"} 0.0' not in the.numbers()
            await client.close()

    run(main)


def test_a_request_that_another_model_answered_is_a_fallback_and_counts_there() -> None:
    async def main() -> None:
        served = replace(CHAT, fallbacks=("spare",))
        settings = GatewaySettings(queue_wait=0.2)
        async with rig(StubEngine("one"), served=served, settings=settings) as the:
            spare = replace(CHAT, name="spare", aliases=())
            the.board.offer([*the.board.offered(), spare])
            the.board.update_all({"chat": (), "spare": (the.engine.upstream(),)})
            reply = await the.ask(chat())
            assert reply.status == 200
            text = the.numbers()
            assert 'plimsoll_gateway_fallbacks_total{model="chat",to="spare"} 1.0' in text
            assert 'requests_total{model="spare",status="200",surface="chat"} 1.0' in text
            story = await the.ask(get(f"/plimsoll/requests/{reply.headers['x-request-id']}"))
            assert story.json["outcome"]["model"] == "spare"

    run(main)


def test_requests_are_counted_by_tenant() -> None:
    caller = Caller(tenant="acme", key="web", scope=b"acme/")
    access = StaticAccess([Grant(digest=sha256(b"sk").digest(), caller=caller)], clock=lambda: 0.0)

    async def main() -> None:
        async with rig(StubEngine("one"), access=access) as the:
            body = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
            await the.ask(post(body, "/v1/chat/completions", "x-api-key: sk"))
            text = the.numbers()
            assert 'plimsoll_gateway_tenant_requests_total{tenant="acme"} 1.0' in text
            tokens = 'plimsoll_gateway_tenant_tokens_total{kind="completion",tenant="acme"} 3.0'
            assert tokens in text

    run(main)
