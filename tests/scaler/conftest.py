"""A scaler that answers on loopback, and a client that calls it as KEDA does."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import ceil

import grpc.aio
import msgspec

from plimsoll.policy.scale.types import Answer, Queued, Signals
from plimsoll.scaler import interface
from plimsoll.scaler.decisions import Decisions
from plimsoll.scaler.models import ModelKey, Scaled
from plimsoll.scaler.server import serving
from plimsoll.scaler.tls import Tls


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of Tenth."""

    looks: int = 0
    peak: int = 0


class Tenth:
    """A replica for every ten requests that wait or run; never fewer than two looks ago."""

    memory_type = Seen

    def decide(self, signals: Signals, memory: Seen) -> Answer[Seen]:
        wanted = ceil((signals.queued.requests + signals.in_flight) / 10)
        return Answer(
            replicas=wanted,
            reasons=(f"look {memory.looks + 1}",),
            memory=Seen(looks=memory.looks + 1, peak=max(memory.peak, wanted)),
        )


CHAT = ModelKey(namespace="team", fleet="main", model="chat")
CODE = ModelKey(namespace="team", fleet="main", model="code")


def scaled(**fields) -> Scaled:
    return Scaled(policy=Tenth(), **fields)


def offered(*keys: ModelKey, **options) -> Decisions:
    decisions = Decisions(**options)
    decisions.offer({key: scaled() for key in keys or (CHAT,)})
    return decisions


def load(queued: float, *, now: float = 1000.0, ready: int = 0, **fields) -> Signals:
    return Signals(now=now, queued=Queued(requests=queued), ready=ready, **fields)


def ref(key: ModelKey = CHAT, **metadata: str):
    """A ScaledObjectRef as the rendered triggers make it."""
    found = {"scalerAddress": "x:1", "fleet": key.fleet, "model": key.model, **metadata}
    return interface.ScaledObjectRef(
        name=key.model,
        namespace=key.namespace,
        scalerMetadata={name: value for name, value in found.items() if value},
    )


class Keda:
    """The calls of KEDA, over one channel to a port."""

    def __init__(self, channel: grpc.aio.Channel, port: int) -> None:
        self.port = port
        for name, (takes, answers, streams) in interface.CALLS.items():
            make = channel.unary_stream if streams else channel.unary_unary
            setattr(
                self,
                name,
                make(
                    f"/{interface.SERVICE}/{name}",
                    request_serializer=takes.SerializeToString,
                    response_deserializer=answers.FromString,
                ),
            )

    def over(self, channel: grpc.aio.Channel) -> "Keda":
        """The same over another channel."""
        return Keda(channel, self.port)

    async def metric(self, key: ModelKey = CHAT) -> float:
        """The value of the one metric."""
        spec = (await self.GetMetricSpec(ref(key))).metricSpecs[0]
        request = interface.GetMetricsRequest(scaledObjectRef=ref(key), metricName=spec.metricName)
        (value,) = (await self.GetMetrics(request)).metricValues
        assert value.metricValue == value.metricValueFloat
        return value.metricValueFloat


@asynccontextmanager
async def keda(
    decisions: Decisions,
    *,
    tls: Tls | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, str]] = (),
) -> AsyncIterator[Keda]:
    """A served scaler and its client."""
    async with serving(decisions, host="127.0.0.1", port=0, tls=tls) as port:
        address = f"127.0.0.1:{port}"
        channel = (
            grpc.aio.insecure_channel(address)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=options)
        )
        async with channel:
            yield Keda(channel, port)
