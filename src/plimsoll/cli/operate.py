"""`plimsoll operate`: keep a cluster at its Fleet objects."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import uvloop

from plimsoll.cli.cluster_plan import plan_for_cluster
from plimsoll.cli.files import LoadedFleet
from plimsoll.cli.rendering import image_option
from plimsoll.cli.signals import on_signals
from plimsoll.engines import ENGINES
from plimsoll.errors import Failed
from plimsoll.telemetry.event_log import log_events
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.doctor import cluster_info
from plimsoll.worlds.cluster.errors import ClusterError
from plimsoll.worlds.cluster.info import ASSUMED
from plimsoll.worlds.cluster.objects.names import object_name
from plimsoll.worlds.cluster.objects.render import render
from plimsoll.worlds.cluster.observe import replicas_seen
from plimsoll.worlds.cluster.operator.fleets import Effective
from plimsoll.worlds.cluster.operator.gateway_metrics import MetricsReader
from plimsoll.worlds.cluster.operator.health import pages_of
from plimsoll.worlds.cluster.operator.metrics import OperatorMetrics
from plimsoll.worlds.cluster.operator.parts import LEASE, Parts, Settings
from plimsoll.worlds.cluster.operator.planning import Plan
from plimsoll.worlds.cluster.operator.run import Operator
from plimsoll.worlds.cluster.operator.sites import Planned, Surroundings

METRICS_PORT = 9464
_LOOK_AGAIN = 600.0  # seconds until the cluster is asked again what it offers
_RETRY = 5.0  # seconds until it is asked again where it did not answer
_log = logging.getLogger(__name__)


@click.command("operate")
@click.option(
    "-n", "--namespace", "namespaces", multiple=True, metavar="NAME",
    help="Keep the Fleets of this namespace only (may be repeated); by default of all",
)  # fmt: skip
@image_option
@click.option(
    "--scaler", default="", metavar="HOST:PORT",
    help="Let KEDA ask Plimsoll's external scaler there, instead of Prometheus",
)  # fmt: skip
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), default=METRICS_PORT, show_default=True,
    help="Port of `/metrics`, `/healthz` and `/readyz`, 0 picks one",
)  # fmt: skip
@click.option(
    "--leader-elect/--no-leader-elect", default=True, show_default=True,
    help="Act only while holding the Lease, so that several may run",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Look at every Fleet once, and end")
@click.option("--kubeconfig", metavar="FILE", help="Cluster to keep, outside of a pod")
@click.option("--context", help="Context of the kubeconfig")
@click.option("--api-server", metavar="URL", help="API server without login, as `kubectl proxy`")
@click.option("--json", "as_json", is_flag=True, help="Log as JSON on a terminal, too")
def operate_command(
    *,
    namespaces: tuple[str, ...],
    image: str,
    scaler: str,
    metrics_port: int,
    leader_elect: bool,
    once: bool,
    kubeconfig: str | None,
    context: str | None,
    api_server: str | None,
    as_json: bool,
) -> None:
    """Keep a cluster at its Fleet objects, until SIGTERM or Ctrl-C.

    Makes and changes what Fleets say, scales their models by demand, tells in each Fleet's status
    how it is, and takes everything away again when the Fleet is deleted. May be stopped at any
    moment. Exits 1 with `--once` when something could not be done.
    """
    log_events(sys.stderr, level="info", as_json=as_json or not sys.stderr.isatty())

    async def run() -> tuple[str, ...]:
        async with await Kube.connect(
            kubeconfig=kubeconfig, context=context, url=api_server
        ) as kube:
            settings = Settings(
                identity=_identity(),
                lease=object_name(LEASE, *sorted(namespaces)),
                namespace=kube.namespace,
                namespaces=tuple(sorted(set(namespaces))),
                elect=leader_elect,
            )
            around = _Around(kube, Surroundings(
                engines=ENGINES, image=image, info=ASSUMED, scaler=scaler
            ))  # fmt: skip
            return await _operate(kube, settings, around, port=metrics_port, once=once)

    failures = uvloop.run(run())
    if failures:
        error = Failed(
            "1 Fleet is not as it should be"
            if len(failures) == 1
            else f"{len(failures)} Fleets are not as they should be",
            hint="`kubectl describe fleet` says more",
            code="operator.not-done",
        )
        error.details = "\n".join(failures)
        raise error


async def _operate(
    kube: Kube, settings: Settings, around: _Around, *, port: int, once: bool
) -> tuple[str, ...]:
    with _planning() as plan:
        async with MetricsReader() as reader, around.kept():
            parts = Parts(
                plan=plan,
                render=lambda site: render(site).manifests,
                observe=replicas_seen,
                fetch=reader.fetch,
                around=lambda: around.now,
                clock=time.monotonic,
                now=time.time,
                random=random.random,
            )
            operator = Operator(kube, settings, parts, OperatorMetrics())
            async with pages_of(operator, "", port) as listening:
                _log.info("operating %s; metrics on port %d", kube.server, listening)
                return await _until_told(operator.once() if once else operator.run())


async def _until_told(work: Coroutine[Any, Any, tuple[str, ...] | None]) -> tuple[str, ...]:
    """What the work yields; nothing where it yields nothing, or SIGTERM or SIGINT end it first."""
    task = asyncio.create_task(work)
    with on_signals(task.cancel):
        try:
            return await task or ()
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return ()


@contextlib.contextmanager
def _planning() -> Iterator[Plan]:
    """Plans in a thread of their own, one at a time: the event loop goes on meanwhile."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="planning") as threads:

        async def plan(effective: Effective) -> Planned:
            assert effective.fleet is not None
            loaded = LoadedFleet(
                fleet=effective.fleet, base=Path.cwd(), title=f"Fleet {effective.key}"
            )
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(threads, plan_for_cluster, loaded)
            return Planned(plan=found.plan, notes=found.notes)

        yield plan


class _Around:
    """What the cluster offers, asked again now and then.

    now  as it was last told
    """

    def __init__(self, kube: Kube, first: Surroundings) -> None:
        self._kube = kube
        self.now = first

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Ask first, then again now and then meanwhile."""
        while not await self._ask():  # noqa: ASYNC110 -- another machine answers or not
            await asyncio.sleep(_RETRY)
        task = asyncio.create_task(self._again())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _again(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AGAIN)
            await self._ask()

    async def _ask(self) -> bool:
        try:
            info = await cluster_info(self._kube)
        except ClusterError as error:
            _log.warning("asking what the cluster offers: %s", error)
            return False
        if info != self.now.info:
            self.now = replace(self.now, info=info)
        return True


def _identity() -> str:
    """Who we are: in a pod its name, so that a restarted container goes on at once."""
    host = socket.gethostname()
    return host if "KUBERNETES_SERVICE_HOST" in os.environ else f"{host}-{os.getpid()}"
