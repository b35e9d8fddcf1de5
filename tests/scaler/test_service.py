"""KEDA is told what was decided, an error where nothing is known, and never a made-up zero."""

import asyncio
import time

import grpc
import grpc.aio
import pytest

from plimsoll.errors import PortTaken
from plimsoll.scaler import interface, metric
from plimsoll.scaler.decisions import Decisions
from plimsoll.scaler.models import ModelKey
from plimsoll.scaler.server import serving
from tests.scaler.conftest import CHAT, CODE, keda, load, offered, ref, scaled


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 20))


async def status_of(call) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details()


def test_the_metric_is_the_number_that_was_decided():
    async def check():
        decisions = offered(CHAT, CODE)
        decisions.look(CHAT, load(35))
        decisions.look(CODE, load(0))
        async with keda(decisions) as client:
            spec = (await client.GetMetricSpec(ref())).metricSpecs[0]
            assert spec.metricName == metric.NAME
            assert spec.targetSize == spec.targetSizeFloat == metric.TARGET
            assert await client.metric() == 4 * metric.TARGET
            assert await client.metric(CODE) == 0
            assert (await client.IsActive(ref())).result is True
            assert (await client.IsActive(ref(CODE))).result is False

    run(check())


def test_the_bytes_are_those_of_kedas_interface():
    """By hand: field numbers and types as KEDA's client puts them on the wire."""

    def text(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    def pair(key: bytes, value: bytes) -> bytes:
        return text(3, text(1, key) + text(2, value))

    async def check():
        decisions = offered()
        decisions.look(CHAT, load(1))
        scaled_object = text(1, b"chat") + text(2, b"team")
        scaled_object += pair(b"fleet", b"main") + pair(b"model", b"chat")
        async with (
            serving(decisions, host="127.0.0.1", port=0) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):

            async def call(name: str, request: bytes) -> bytes:
                return await channel.unary_unary(f"/externalscaler.ExternalScaler/{name}")(request)

            assert await call("IsActive", scaled_object) == b"\x08\x01"
            name = text(1, b"plimsoll-replicas")
            thousand = b"\x10\xe8\x07" + b"\x19" + bytes.fromhex("0000000000408f40")
            assert await call("GetMetricSpec", scaled_object) == text(1, name + thousand)
            request = text(1, scaled_object) + text(2, b"plimsoll-replicas")
            assert await call("GetMetrics", request) == text(1, name + thousand)

    run(check())


def test_a_wake_from_zero_is_pushed_within_a_second_and_the_way_back_too():
    async def check():
        decisions = offered()
        decisions.look(CHAT, load(0))
        async with keda(decisions) as client:
            stream = client.StreamIsActive(ref())
            assert (await stream.read()).result is False
            began = time.monotonic()
            decisions.look(CHAT, load(1))
            assert (await stream.read()).result is True
            assert time.monotonic() - began < 1
            decisions.look(CHAT, load(500))
            decisions.look(CHAT, load(0))
            assert (await stream.read()).result is False
            stream.cancel()

    run(check())


def test_a_stream_says_nothing_before_anything_is_known():
    async def check():
        decisions = offered()
        async with keda(decisions) as client:
            stream = client.StreamIsActive(ref())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(
                    asyncio.shield(first := asyncio.ensure_future(stream.read())), 0.3
                )
            decisions.look(CHAT, load(0))
            assert (await first).result is False
            stream.cancel()

    run(check())


def test_the_specs_stream_opens_with_what_get_metric_spec_says():
    async def check():
        decisions = offered()
        async with keda(decisions) as client:
            stream = client.StreamMetricSpec(ref())
            assert await stream.read() == await client.GetMetricSpec(ref())
            stream.cancel()

    run(check())


def test_streams_end_when_their_model_is_scaled_here_no_more():
    async def check():
        decisions = offered(CHAT, CODE)
        decisions.look(CHAT, load(1))
        async with keda(decisions) as client:
            streams = [client.StreamIsActive(ref()), client.StreamMetricSpec(ref())]
            for stream in streams:
                await stream.read()
            decisions.offer({CODE: scaled()})
            for stream in streams:
                code, _ = await status_of(stream.read())
                assert code is grpc.StatusCode.NOT_FOUND

    run(check())


def test_streams_that_were_closed_leave_nothing_behind():
    async def check():
        decisions = offered()
        decisions.look(CHAT, load(1))
        async with keda(decisions) as client:
            streams = [client.StreamIsActive(ref()) for _ in range(20)]
            for stream in streams:
                await stream.read()
                stream.cancel()
            async with asyncio.timeout(5):
                while decisions._waiting:  # noqa: ASYNC110 -- nobody tells when gRPC lets go
                    await asyncio.sleep(0.01)

    run(check())


@pytest.mark.parametrize("name", ["IsActive", "GetMetricSpec"])
@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (ref(ModelKey(namespace="team", fleet="main", model="chit")), "NOT_FOUND", "`chat`"),
        (ref(ModelKey(namespace="team", fleet="mian", model="chat")), "NOT_FOUND", "`team/main`"),
        (ref(fleetNamespace="other"), "NOT_FOUND", "namespace `other`"),
        (ref(model=""), "INVALID_ARGUMENT", "no `model`"),
        (ref(model="", fleet=""), "INVALID_ARGUMENT", "no `fleet` and `model`"),
    ],
)
def test_a_trigger_that_names_no_model_is_told_so_and_what_to_try(name, request_, code, text):
    async def check():
        decisions = offered()
        decisions.look(CHAT, load(1))
        async with keda(decisions) as client:
            found, details = await status_of(getattr(client, name)(request_))
            assert found is grpc.StatusCode[code]
            assert text in details

    run(check())


def test_a_fleet_of_another_namespace_is_found_by_its_namespace():
    async def check():
        decisions = offered()
        decisions.look(CHAT, load(1))
        elsewhere = ref()
        elsewhere.namespace = "product"
        async with keda(decisions) as client:
            code, _ = await status_of(client.IsActive(elsewhere))
            assert code is grpc.StatusCode.NOT_FOUND
            elsewhere.scalerMetadata["fleetNamespace"] = "team"
            assert (await client.IsActive(elsewhere)).result is True

    run(check())


def test_without_any_figures_the_answer_is_unavailable_and_no_zero():
    async def check():
        async with keda(offered()) as client:
            request = interface.GetMetricsRequest(scaledObjectRef=ref())
            for call in (client.IsActive(ref()), client.GetMetrics(request)):
                code, details = await status_of(call)
                assert code is grpc.StatusCode.UNAVAILABLE
                assert "no figures yet" in details

    run(check())


def test_another_metric_than_ours_is_refused():
    async def check():
        decisions = offered()
        decisions.look(CHAT, load(1))
        async with keda(decisions) as client:
            request = interface.GetMetricsRequest(scaledObjectRef=ref(), metricName="s0-other")
            code, details = await status_of(client.GetMetrics(request))
            assert code is grpc.StatusCode.NOT_FOUND
            assert metric.NAME in details

    run(check())


def test_a_thousand_scaled_objects_have_their_streams_open_at_once():
    async def check():
        keys = [ModelKey(namespace="team", fleet="main", model=f"m{n}") for n in range(1000)]
        decisions = offered(*keys)
        for key in keys:
            decisions.look(key, load(0))
        async with keda(decisions) as client:
            streams = [client.StreamIsActive(ref(key)) for key in keys]
            assert not any([(await stream.read()).result for stream in streams])
            for key in keys:
                decisions.look(key, load(10))
            assert all([(await stream.read()).result for stream in streams])
            for stream in streams:
                stream.cancel()

    run(check())


def test_a_port_that_is_taken_is_said():
    async def check():
        async with serving(Decisions(), host="127.0.0.1", port=0) as port:
            with pytest.raises(PortTaken) as caught:
                async with serving(Decisions(), host="127.0.0.1", port=port):
                    pass
            assert caught.value.where == f"127.0.0.1:{port}"

    run(check())
