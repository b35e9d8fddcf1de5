"""The scaler's door: a gRPC server, in the open or by TLS, and what runs beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc.aio

from plimsoll.errors import PlimsollError, PortTaken
from plimsoll.policy.scale.types import Signals
from plimsoll.scaler.decisions import Decisions, UnknownModelError
from plimsoll.scaler.memory import Keeper
from plimsoll.scaler.models import ModelKey
from plimsoll.scaler.service import Service
from plimsoll.scaler.signals import Source
from plimsoll.scaler.tls import Tls
from plimsoll.scaler.turns import Turns

_log = logging.getLogger(__name__)

_GRACE_SECONDS = 1.0  # for calls that run when the server stops
_AGAIN_SECONDS = 1.0  # before a source that failed is asked again
_OPTIONS = (
    # Every replica of KEDA keeps one connection, with a stream for every ScaledObject.
    ("grpc.max_concurrent_streams", 100_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
)


@asynccontextmanager
async def serving(
    decisions: Decisions, *, host: str, port: int, tls: Tls | None = None
) -> AsyncIterator[int]:
    """Answer KEDA while the context is open; yields the port, which is chosen where 0 was asked.

    Raises PortTaken where somebody else listens, InputError for a certificate that cannot be used.
    """
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((Service(decisions).handler(),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, tls.credentials())
    except RuntimeError as error:
        raise PortTaken(
            "cannot listen there",
            where=address,
            hint="give another port, or end what listens on it",
        ) from error
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(_GRACE_SECONDS)


async def deciding(decisions: Decisions, source: Source) -> None:
    """Decide at every look of a source, for ever; a source that fails is asked again.

    Meanwhile the last numbers are served.
    """
    while True:
        try:
            turns = Turns()
            async for key, signals in source.looks():
                _look(decisions, key, signals)
                await turns.pause()
        except PlimsollError as error:
            _log.warning("no figures, the last numbers stay: %s", error)
        else:
            return
        await asyncio.sleep(_AGAIN_SECONDS)


def _look(decisions: Decisions, key: ModelKey, signals: Signals) -> None:
    try:
        decisions.look(key, signals)
    except UnknownModelError:
        return  # a look from before the fleet changed
    except Exception:  # noqa: BLE001 -- reported; the other models go on, this one's number stays
        _log.exception("the policy of %s failed", key)


async def serve(
    decisions: Decisions,
    source: Source,
    *,
    keeper: Keeper | None = None,
    host: str,
    port: int,
    tls: Tls | None = None,
    started: Callable[[int], None] = lambda _: None,
) -> None:
    """All of the scaler, until cancelled: recall, answer, decide, store.

    started  is told the port once it answers

    Raises as `serving` does.
    """
    if keeper is not None:
        keeper.recall(decisions)
    async with serving(decisions, host=host, port=port, tls=tls) as bound:
        started(bound)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(deciding(decisions, source))
                if keeper is not None:
                    tasks.create_task(keeper.run(decisions))
        finally:
            if keeper is not None:
                await keeper.close(decisions)
