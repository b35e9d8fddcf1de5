"""A gateway of several worker processes: what its parent runs, and what a worker is told."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import click

from plimsoll.cli.signals import on_signals
from plimsoll.errors import InputError
from plimsoll.gateway import GatewaySettings
from plimsoll.gateway.listening import reserved
from plimsoll.gateway.workers.hub import Hub
from plimsoll.telemetry.engine_metrics import ENGINE
from plimsoll.telemetry.metrics import GATEWAY
from plimsoll.telemetry.watch_metrics import WATCH
from plimsoll.worlds.local.workers import Workers

PLACE_OPTION = "--worker"  # hidden: how the parent tells a worker its place
_OWN = frozenset({"workers", "worker", "port"})  # options that are not passed on as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A worker's place among the others.

    number      of this one, from 0
    count       of all
    descriptor  of the socket to the parent
    """

    number: int
    count: int
    descriptor: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}/{self.descriptor}"

    @classmethod
    def read(cls, text: str) -> Self:
        """What `str` wrote. Raises InputError for anything else."""
        try:
            number, count, descriptor = map(int, text.split("/"))
        except ValueError as error:
            raise InputError(f"`{text}` is not a worker's place", code="usage") from error
        return cls(number=number, count=count, descriptor=descriptor)


async def serve_workers(
    count: int, *, host: str, port: int, arguments: Callable[[int], Sequence[str]]
) -> int:
    """Keep workers on one port until SIGINT or SIGTERM, then let them drain; the exit code.

    arguments  port -> the command of a worker, without its place

    Raises PortTaken, and Failed for an address that cannot be listened on.
    """
    with reserved(host, port) as taken:

        def command(number: int, descriptor: int) -> Sequence[str]:
            place = Place(number=number, count=count, descriptor=descriptor)
            return (*arguments(taken), PLACE_OPTION, str(place))

        hub = Hub(families=(*GATEWAY, *ENGINE, *WATCH), ready=lambda _number: workers.proven())
        workers = Workers(command=command, count=count, joined=hub.joined, left=hub.left)
        with on_signals(workers.stop):
            watching = asyncio.create_task(hub.watch(workers.kill))
            try:
                return await workers.run()
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching


def given_again(context: click.Context) -> tuple[str, ...]:
    """A command's options as they were given, by argument or environment, for a worker of it."""
    assert context.info_name is not None
    words = [context.info_name]
    for option in context.command.params:
        value: Any = context.params.get(option.name or "")
        if option.name in _OWN or value is None or value is False or value == "":
            continue
        words.append(option.opts[-1])
        if value is not True:
            words.append(str(value))
    return tuple(words)


def shared(settings: GatewaySettings, workers: int) -> GatewaySettings:
    """The settings of each of several workers, which together keep within what was wished.

    A share holds at least the largest request.
    """

    def share(whole: int) -> int:
        return math.ceil(whole / workers)

    return replace(
        settings,
        max_bodies=max(share(settings.max_bodies), settings.max_body),
        max_connections=share(settings.max_connections),
        queue_requests=share(settings.queue_requests),
        queue_bytes=max(share(settings.queue_bytes), min(settings.queue_bytes, settings.max_body)),
    )
