"""KEDA's calls, answered from the last decisions. Nothing is reckoned while KEDA waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn

from plimsoll.errors import Failed, InputError, MissingExtra, PlimsollError
from plimsoll.scaler import interface, metric
from plimsoll.scaler.decisions import Decided, Decisions, UnknownModelError
from plimsoll.scaler.models import ModelKey

try:
    import grpc
except ImportError as error:
    raise MissingExtra(
        "the scaler needs gRPC and protocol buffers",
        hint="install them with `pip install 'plimsoll[scaler]'`",
    ) from error


class Service:
    """The calls of KEDA's external scaler.

    What KEDA cannot be told is an error status, on which HPA and KEDA leave the replicas as they
    are; a number that is not known is never a zero.
    """

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def handler(self) -> Any:
        """All calls, for a server of grpc.aio."""
        handlers = {}
        for name, (takes, answers, streams) in interface.CALLS.items():
            make = (
                grpc.unary_stream_rpc_method_handler
                if streams
                else grpc.unary_unary_rpc_method_handler
            )
            handlers[name] = make(
                getattr(self, _METHODS[name]),
                request_deserializer=takes.FromString,
                response_serializer=answers.SerializeToString,
            )
        return grpc.method_handlers_generic_handler(interface.SERVICE, handlers)

    async def is_active(self, request: Any, context: Any) -> Any:
        """Whether any replica is wanted."""
        _, decided = await self._decided(request, context)
        return interface.IsActiveResponse(result=decided.replicas > 0)

    async def stream_is_active(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """The same, at once where it is known, and whenever it changes."""
        key = await self._key(request, context)
        said: bool | None = None
        while True:
            try:
                decided = self._decisions.of(key)
                if decided is not None and said is not (decided.replicas > 0):
                    said = decided.replicas > 0
                    yield interface.IsActiveResponse(result=said)
                    continue  # it may have changed while that was sent
                await self._decisions.change(key)
            except UnknownModelError as error:
                await _abort(context, error)

    async def get_metric_spec(self, request: Any, context: Any) -> Any:
        """One metric, of which each replica is worth the same."""
        await self._known(request, context)
        return _SPEC

    async def stream_metric_spec(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """The same at once; it never changes while the model is scaled here."""
        key = await self._known(request, context)
        yield _SPEC
        while True:
            try:
                await self._decisions.change(key)
            except UnknownModelError as error:
                await _abort(context, error)

    async def get_metrics(self, request: Any, context: Any) -> Any:
        """The number of replicas that are wanted, as that metric."""
        if request.metricName not in ("", metric.NAME):
            await _abort(
                context,
                InputError(
                    f"there is no metric `{request.metricName[:80]}`",
                    hint=f"the only one is `{metric.NAME}`, as GetMetricSpec says",
                    code="scaler.unknown-metric",
                ),
                grpc.StatusCode.NOT_FOUND,
            )
        _, decided = await self._decided(request.scaledObjectRef, context)
        value = metric.value(decided.replicas, decided.current)
        return interface.GetMetricsResponse(
            metricValues=[
                interface.MetricValue(
                    metricName=metric.NAME, metricValue=value, metricValueFloat=value
                )
            ]
        )

    async def _decided(self, ref: Any, context: Any) -> tuple[ModelKey, Decided]:
        key = await self._key(ref, context)
        try:
            decided = self._decisions.of(key)
        except UnknownModelError as error:
            await _abort(context, error)
        if decided is None:
            await _abort(
                context,
                Failed(
                    "no figures yet, so no number of replicas",
                    where=str(key),
                    hint="see whether the fleet's gateways run and answer the scaler",
                    code="scaler.no-figures",
                ),
            )
        return key, decided

    async def _known(self, ref: Any, context: Any) -> ModelKey:
        key = await self._key(ref, context)
        try:
            self._decisions.of(key)
        except UnknownModelError as error:
            await _abort(context, error)
        return key

    @staticmethod
    async def _key(ref: Any, context: Any) -> ModelKey:
        try:
            return key_of(ref)
        except InputError as error:
            await _abort(context, error)


def key_of(ref: Any) -> ModelKey:
    """The model that a ScaledObject means. Raises InputError where its metadata does not say.

    The metadata of the trigger names it: `fleet`, `model`, and `fleetNamespace` where the fleet is
    not of the ScaledObject's own namespace.
    """
    metadata = ref.scalerMetadata
    missing = [name for name in ("fleet", "model") if not metadata.get(name)]
    if missing:
        names = " and ".join(f"`{name}`" for name in missing)
        raise InputError(
            f"the trigger's metadata has no {names}",
            where=f"ScaledObject {ref.namespace}/{ref.name}",
            hint="set `fleet` and `model`, and `fleetNamespace` where it is another one",
            code="scaler.metadata",
        )
    namespace = metadata.get("fleetNamespace") or ref.namespace
    return ModelKey(namespace=namespace, fleet=metadata["fleet"], model=metadata["model"])


async def _abort(context: Any, error: PlimsollError, status: Any = None) -> NoReturn:
    """End a call with an error's status and its message, hint included."""
    if status is None:
        status = (
            grpc.StatusCode.NOT_FOUND
            if isinstance(error, UnknownModelError)
            else grpc.StatusCode.INVALID_ARGUMENT
            if isinstance(error, InputError)
            else grpc.StatusCode.UNAVAILABLE
        )
    await context.abort(status, str(error))
    raise AssertionError("abort does not return")


_METHODS = {
    "IsActive": "is_active",
    "StreamIsActive": "stream_is_active",
    "GetMetricSpec": "get_metric_spec",
    "GetMetrics": "get_metrics",
    "StreamMetricSpec": "stream_metric_spec",
}
_SPEC = interface.GetMetricSpecResponse(
    metricSpecs=[
        interface.MetricSpec(
            metricName=metric.NAME, targetSize=metric.TARGET, targetSizeFloat=metric.TARGET
        )
    ]
)
