"""What may happen late or oddly in the life of a request: it ends once, and well."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from math import inf
from time import monotonic
from typing import Any, cast

import pytest

from plimsoll.gateway import Board, GatewaySettings, Served
from plimsoll.gateway.answers import body_for_engine
from plimsoll.gateway.carrying import Carrying, Kept
from plimsoll.gateway.connection import ClientConnection
from plimsoll.gateway.continuation import Resumption, UnsoundError, body_to_resume
from plimsoll.gateway.continuation_sent import read_sent
from plimsoll.gateway.continuation_splice import Splice
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.one_try import Means, OneTry
from plimsoll.gateway.pages import Pages
from plimsoll.gateway.reply import Reply
from plimsoll.gateway.service import Service
from plimsoll.gateway.surfaces import CHAT, COMPLETIONS, fitted, no_model, read_call
from plimsoll.gateway.upstream import Kept as KeptConnections
from plimsoll.gateway.upstream import Opening, Pool, UpstreamConnection
from plimsoll.policy.requests.types import Upstream
from plimsoll.policy.retry import MOST_BREAKS
from plimsoll.telemetry.metrics import GatewayMetrics
from tests.gateway import stub
from tests.gateway.arithmetic_engine import read
from tests.gateway.stub import DONE, Asked, StubEngine, event, post, rig, run, until
from tests.gateway.test_failover import MODEL, Arithmetic, body_of, die, undisturbed
from tests.gateway.test_fuzz import Wire

# What comes after the end of a stream.


async def die_behind_the_end(asked: Asked) -> None:
    await asked.stream_head()
    await asked.event("A")
    await asked.chunk(DONE)
    await asyncio.sleep(0.02)  # what was sent arrives before the connection is reset
    await die(asked)


async def garbage_behind_the_end(asked: Asked) -> None:
    await asked.stream_head()
    await asked.event("A")
    await asked.chunk(DONE + b"data: {oh no\n\n")
    await asked.chunk(b"data: {oh no\n\n")
    await asked.end()


async def silence_behind_the_end(asked: Asked) -> None:
    await asked.stream_head()
    await asked.event("A")
    await asked.chunk(DONE)
    await asked.gone.wait()


@pytest.mark.parametrize("continuation", [True, False])
@pytest.mark.parametrize(
    "handler", [die_behind_the_end, garbage_behind_the_end, silence_behind_the_end]
)
def test_what_breaks_behind_the_end_of_a_stream_is_nothing_to_its_caller(
    handler: stub.Handler, continuation: bool
) -> None:
    patient = GatewaySettings(continuation=continuation, between_seconds=0.2)

    async def main() -> None:
        async with rig(StubEngine(handler=handler), settings=patient) as the:
            client = await the.connect()
            client.send(stub.chat(stream=True))
            assert (await client.reply()).body == event("A") + DONE
            the.engine.handler = stub.good
            client.send(stub.chat())
            assert (await client.reply()).status == 200

    run(main)


def test_a_translated_stream_that_breaks_behind_its_end_ends_once() -> None:
    asks = {"model": "chat", "max_tokens": 5, "stream": True, "messages": stub.MESSAGES}

    async def main() -> None:
        off = GatewaySettings(continuation=False)
        async with rig(StubEngine(handler=die_behind_the_end), settings=off) as the:
            got = (await the.ask(post(asks, "/v1/messages"))).body
            assert got.count(b"event: message_stop\n") == 1
            assert b"event: error" not in got

    run(main)


# What is kept to carry a stream on.


def carrying(body: dict[str, Any], kept: Kept | None = None) -> Carrying:
    return Carrying(json.dumps(body).encode(), MODEL, kept or Kept())


def test_only_breaks_of_replicas_that_were_reached_are_counted() -> None:
    it = carrying(body_of(max_tokens=40))
    it.keep(event("A"))
    for _ in range(3 * MOST_BREAKS):
        it.broke(reached=False)
    for _ in range(MOST_BREAKS):
        it.broke()
    with pytest.raises(UnsoundError, match="times"):
        it.broke()


@pytest.mark.interpreted
def test_what_all_streams_keep_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.gateway.carrying._MOST_IN_ALL", 3 * len(event("A")))
    kept = Kept()
    first, second = carrying(body_of(), kept), carrying(body_of(), kept)
    first.keep(event("A"))
    for _ in range(3):
        second.keep(event("A"))
    assert kept.size == len(event("A"))
    with pytest.raises(UnsoundError, match="too much"):
        second.broke()
    first.broke()
    first.release()
    first.release()
    assert kept.size == 0


def test_what_a_stream_kept_is_let_go_when_it_is_over() -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=silence_behind_the_end), served=MODEL) as the:
            kept = the.gateway._service.means.kept
            client = await the.connect()
            client.send(post(body_of(max_tokens=40)))
            await until(lambda: kept.size > 0)
            await client.close()
            await until(the.idle)
            assert kept.size == 0

    run(main)


def test_a_stream_that_went_on_once_is_counted_once() -> None:
    body = body_of(max_tokens=40)

    async def main() -> None:
        handler = Arithmetic(5, 0, 0)  # two who take it over die before they say anything
        engines = (StubEngine(handler=handler), StubEngine("chat-1", handler=handler))
        hasty = GatewaySettings(suspect_seconds=0.01, tries=5)
        async with rig(*engines, served=MODEL, settings=hasty) as the:
            assert read((await the.ask(post(body))).body) == undisturbed(body)
            assert the.metrics.model("chat").continued == 1

    run(main)


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": 3},
        {"choices": {"a": 1}},
        {"choices": [{"index": [], "delta": {"role": "assistant"}}]},
        {"choices": [{"index": 0, "delta": 7}]},
    ],
)
def test_events_of_an_odd_shape_are_said_to_be_that(odd: dict[str, Any]) -> None:
    events = b"data: " + json.dumps(odd).encode() + b"\n\n"
    sent = read_sent(event("A"))
    with pytest.raises(ValueError, match=r"choice|delta"):
        read_sent(events)
    with pytest.raises(ValueError, match=r"choice|delta"):
        Splice(sent, Resumption(drop={"content": "A"}, exact=True), 1).feed(events)


def test_a_completion_is_gone_on_with_whatever_other_fields_it_has() -> None:
    body = b'{"prompt":"hello","messages":[],"max_tokens":9}'
    rest = Resumption(pieces=(" you",), drop={"text": ""}, exact=False)
    told = json.loads(body_to_resume(body, rest, 1, MODEL) or b"")
    assert (told["prompt"], told["messages"], told["max_tokens"]) == ("hello you", [], 8)


@pytest.mark.parametrize("seed", [2**64 - 1, 2**63 - 1, 2**32 - 1, 2**31 - 1])
def test_another_seed_is_a_number_that_an_engine_can_hold(seed: int) -> None:
    body = json.dumps({"prompt": "hello", "seed": seed, "max_tokens": 900}).encode()
    rest = Resumption(pieces=(" you",), drop={"text": ""}, exact=False)
    told = json.loads(body_to_resume(body, rest, 700, MODEL) or b"")
    assert 0 <= told["seed"] != seed
    assert told["seed"] < seed


def test_a_request_that_cannot_be_written_anew_is_not_carried_on() -> None:
    it = carrying({"prompt": ["hello"], "seed": 0, "temperature": 1, "max_tokens": "many"})
    it.keep(b'data: {"choices":[{"index":0,"text":"A"}]}\n\n')
    it._body = b'{"prompt":"\\ud800","temperature":1}'  # engines in Python take it
    with pytest.raises(UnsoundError, match="written anew"):
        it.broke()


# A caller that takes no bytes for now.


class Caller:
    """A connection that keeps what it is told."""

    deadline = 0.0
    paused = False
    kept: bool | None = None
    draining = False
    written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def keeps(self, request: Request) -> bool:
        return not self.draining

    def answered(self, request: Request, *, keep_alive: bool) -> None:
        self.kept = keep_alive


class Silent(Pool):
    """A pool that never opens what it is asked for."""

    def open(self, upstream: Upstream, ready: object) -> Opening:
        return Opening(cast(Any, None))


def slow_try(phase: str) -> tuple[OneTry, Caller]:
    caller, settings = Caller(), GatewaySettings()
    means = Means(
        board=Board([stub.CHAT]), pool=Silent(1.0), settings=settings,
        metrics=GatewayMetrics(), log=None,
    )  # fmt: skip
    made = OneTry(means, caller, Request(), b"1")
    made.phase = phase
    made._end = inf
    return made, caller


def test_a_slow_caller_is_not_cut_off_because_a_replica_does_not_accept() -> None:
    made, caller = slow_try("queued")
    caller.paused = True
    made._open(Upstream(replica="chat-0", host="", port=1, capacity=1))
    assert caller.deadline - monotonic() > GatewaySettings().write_seconds - 1.0


def test_a_caller_that_takes_bytes_again_leaves_a_replica_its_time_to_begin() -> None:
    made, caller = slow_try("waiting")
    upstream = Upstream(replica="chat-0", host="", port=1, capacity=1)
    made._connection = UpstreamConnection(Silent(1.0), KeptConnections(upstream))
    made.resume()
    assert caller.deadline - monotonic() > GatewaySettings().first_byte_seconds - 1.0


def test_who_asks_for_a_count_is_told_when_the_model_is_withdrawn() -> None:
    asks = {"model": "chat", "messages": stub.MESSAGES}

    async def main() -> None:
        async with rig() as the:
            client = await the.connect()
            client.send(post(asks, "/v1/messages/count_tokens"))
            await until(lambda: the.board.demand()["chat"].queued == 1)
            the.board.offer([stub.EMBED])
            reply = await client.reply()
            assert (reply.status, reply.json["error"]["type"]) == (404, "not_found_error")

    run(main)


# What a body may say.


def gateway(models: list[Served]) -> Service:
    metrics = GatewayMetrics()
    board = Board(models)
    settings = GatewaySettings()
    means = Means(board=board, pool=Pool(1.0), settings=settings, metrics=metrics, log=None)
    return Service(means=means, pages=Pages(board, metrics.recent, created=0))


def deep_list(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def deep_options(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.fixture
def _usual_depth() -> Iterator[None]:
    """What Python begins with; libraries of other tests raise it for good."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("_usual_depth")
@pytest.mark.parametrize("field", [b"x", b"messages", b"stream_options", b"guided_json"])
@pytest.mark.parametrize("deep", [deep_list, deep_options])
def test_a_body_of_any_depth_waits_or_is_refused(
    field: bytes, deep: Callable[[int], bytes]
) -> None:
    changed = Served(
        name="chat", task="chat", context=2048, aliases=("talk",), assemble=True,
        stream_fields={"return_progress": True}, renamed_fields={"guided_json": "json_schema"},
    )  # fmt: skip
    refused = 0
    for depth in range(900, 1000):
        service, wire = gateway([changed]), Wire()
        client = ClientConnection(service)
        client.connection_made(wire)  # type: ignore[arg-type]
        said = b'[{"role":"user","content":%b}]' if field == b"messages" else b"%b"
        others = b"" if field == b"messages" else b',"messages":[{"role":"user","content":"x"}]'
        body = b'{"model":"talk","' + field + b'":' + said % deep(depth) + others + b"}"
        client.data_received(post(body))
        refused += wire.written.startswith(b"HTTP/1.1 400 ")
        assert wire.written == b"" or wire.written.startswith(b"HTTP/1.1 400 ")
        assert service.means.board.demand()["chat"].queued == (wire.written == b"")
        client.connection_lost(None)
        assert service.bodies == 0
    assert 0 < refused < 100


@pytest.mark.parametrize(
    "twice",
    [
        b'"model":"other","model":"chat","stream":true,"stream":false',
        b'"model":"other","mod\\u0065l":"chat","strea\\u006D":false',
        b'"mod\\u0065l":"other","model":"chat"',
        b'"stream":true,"model":"chat","\\u0073tream":null',
    ],
)
def test_an_engine_reads_the_model_and_the_stream_that_were_checked(twice: bytes) -> None:
    body = b"{" + twice + b',"messages":[{"role":"user","content":"x"}]}'
    call = read_call(CHAT, body, Board([stub.CHAT]))
    pairs = json.loads(body_for_engine(call, fitted(call)), object_pairs_hook=list)
    assert [value for name, value in pairs if name == "model"] == ["chat"]
    assert [value for name, value in pairs if name == "stream" and value] == []
    assert not call.stream


def test_a_body_that_says_everything_once_goes_as_it_came() -> None:
    body = b' {"model" : "chat", "prompt": "\\u00e9 \\"model\\"" } '
    assert read_call(COMPLETIONS, body, Board([stub.CHAT])).body is body


def test_a_wrong_name_costs_little_among_a_thousand_models() -> None:
    board = Board([Served(name=f"model-{n:04}", task="chat", context=1) for n in range(1000)])
    refused = no_model("model-00001", board)
    assert "`model-0001`" in refused.hint
    assert "950 more" in refused.hint
    assert len(refused.hint) < 2000


# What is told to the caller and the machine.


@pytest.mark.parametrize("draining", [True, False])
def test_a_connection_ends_after_a_stream_as_the_streams_head_said(draining: bool) -> None:
    caller, request = Caller(), Request()
    request.keep_alive = True
    caller.draining = draining
    reply = Reply(caller, request, b"1", None)
    reply.events(DONE)
    caller.draining = False
    reply.last()
    reply.done_streaming()
    assert (b"connection: close" in caller.written) is draining
    assert caller.kept is not draining


def test_a_replica_is_suspect_for_as_long_as_the_settings_say() -> None:
    async def main() -> None:
        slow = GatewaySettings(suspect_seconds=7.5, tries=1)
        async with rig(StubEngine(handler=die), StubEngine("chat-1"), settings=slow) as the:
            for _ in range(2):
                await the.ask(stub.chat())
            suspects = [place.suspect for place in the.board.places("chat") if place.suspect]
            left = [until - monotonic() for until in suspects]
            assert len(left) == 1
            assert 6.0 < left[0] <= 7.5

    run(main)
