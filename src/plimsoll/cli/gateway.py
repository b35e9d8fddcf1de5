"""`plimsoll gateway`: the gateway as it runs in a cluster's pods."""

from __future__ import annotations

import contextlib
import io
import random
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import click
import uvloop

from plimsoll.cli.cluster_gateway import ClusterGateway, Door
from plimsoll.cli.gateway_limits import look_pace
from plimsoll.cli.workers import PLACE_OPTION, Place, given_again, serve_workers
from plimsoll.errors import InputError
from plimsoll.gateway.certificate import Certificate
from plimsoll.telemetry.event_log import log_events
from plimsoll.telemetry.watch_metrics import WatchMetrics
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.configuration import from_config_map, from_file
from plimsoll.worlds.cluster.following import Pace
from plimsoll.worlds.cluster.replicas import Replicas
from plimsoll.worlds.cluster.served import GatewayConfiguration

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("gateway")
@click.option("--config-map", metavar="NAME", help="ConfigMap to follow, as rendered")
@click.option(
    "--config", type=_FILE, metavar="FILE",
    help="File to follow instead, with what the ConfigMap holds under `fleet.json`",
)  # fmt: skip
@click.option("-n", "--namespace", help="Namespace of the ConfigMap; by default the pod's own")
@click.option(
    "--service", default="", metavar="NAME",
    help="Service of the gateways, by which several share the replicas; by default one is alone",
)  # fmt: skip
@click.option("--host", default="", help="Address to listen on; by default every address")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True,
    help="Port to listen on, 0 picks one",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True,
    help="Processes on that port, of which each can keep one core busy",
)  # fmt: skip
@click.option(PLACE_OPTION, hidden=True)
@click.option(
    "--drain-delay", type=click.FloatRange(0, 3600), default=0.0, metavar="SECONDS",
    help="How long after SIGTERM new connections are still accepted, where nothing else waits for "
    "balancers; pods have a pause of their own",
)  # fmt: skip
@click.option("--tls-certificate", type=_FILE, metavar="FILE", help="Certificate chain (PEM)")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Its private key (PEM)")
@click.option(
    "--keys", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Keys of tenants that are in Secrets, a file TENANT/KEY each; followed",
)  # fmt: skip
@click.option("--kubeconfig", metavar="FILE", help="Cluster to ask, outside of a pod")
@click.option("--context", help="Context of the kubeconfig")
@click.option("--api-server", metavar="URL", help="API server without login, as `kubectl proxy`")
@click.option("--json", "as_json", is_flag=True, help="Log as JSON on a terminal, too")
def gateway_command(
    *,
    config_map: str | None,
    config: Path | None,
    namespace: str | None,
    service: str,
    host: str,
    port: int,
    workers: int,
    worker: str | None,
    drain_delay: float,
    tls_certificate: Path | None,
    tls_key: Path | None,
    keys: Path | None,
    kubeconfig: str | None,
    context: str | None,
    api_server: str | None,
    as_json: bool,
) -> None:
    """Serve a fleet's models from where a cluster runs them.

    Runs in the pods that `plimsoll render` makes. Follows its ConfigMap and the replicas without
    a restart. SIGTERM lets running streams finish, a second one cuts them. Accesses are logged to
    stdout, all else to stderr, as the fleet wishes; as JSON where nobody reads along. Several
    workers act as one gateway; one that dies is started again.
    """
    if (config_map is None) == (config is None):
        raise InputError(
            "name either `--config-map` or `--config`",
            hint="in a cluster, `--config-map NAME` as `plimsoll render` made it",
            code="usage",
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a pipe, too, gets each access as it ends
    log_events(sys.stderr, level="info", as_json=as_json or not sys.stderr.isatty())
    if workers > 1 and worker is None:
        again = given_again(click.get_current_context())
        code = uvloop.run(
            serve_workers(
                workers, host=host, port=port, arguments=lambda own: (*again, "--port", str(own))
            )
        )
        raise click.exceptions.Exit(code)
    place = Place.read(worker) if worker is not None else None
    certificate = _certificate(tls_certificate, tls_key)

    async def run() -> int:
        async with await Kube.connect(
            kubeconfig=kubeconfig, context=context, url=api_server
        ) as kube:
            home = namespace or kube.namespace
            metrics = WatchMetrics()
            pace = Pace(jitter=random.random)
            async with contextlib.aclosing(
                _configurations(
                    kube, home, config_map=config_map, config=config, pace=pace, metrics=metrics
                )
            ) as configurations:
                gateway = ClusterGateway(
                    door=Door(
                        host=host, port=port, certificate=certificate, namespace=home,
                        service=service, drain_delay=drain_delay, place=place,
                    ),
                    configurations=configurations,
                    keys=keys,
                    as_json=as_json,
                    replicas=lambda changed: Replicas(
                        kube, pace=pace, metrics=metrics, changed=changed
                    ),
                    metrics=metrics,
                    pace=look_pace(random.random),
                )  # fmt: skip
                return await gateway.serve()

    cut = uvloop.run(run())
    if cut:
        click.echo(f"{cut} unfinished requests were cut", err=True)


def _configurations(
    kube: Kube,
    namespace: str,
    *,
    config_map: str | None,
    config: Path | None,
    pace: Pace,
    metrics: WatchMetrics,
) -> AsyncGenerator[GatewayConfiguration, None]:
    if config is not None:
        return from_file(config, metrics=metrics)
    assert config_map is not None
    return from_config_map(kube, namespace, config_map, pace=pace, metrics=metrics)


def _certificate(chain: Path | None, key: Path | None) -> Certificate | None:
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise InputError(
            "a certificate needs both `--tls-certificate` and `--tls-key`", code="usage"
        )
    return Certificate(chain, key)
