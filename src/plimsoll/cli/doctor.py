"""`plimsoll doctor`: what a cluster lacks, and what that costs."""

from __future__ import annotations

import json

import click
import msgspec

from plimsoll.cli.cluster import with_cluster
from plimsoll.cli.cluster_options import Reach, cluster_options
from plimsoll.cli.tables import table
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.doctor import Findings, examine


@click.command("doctor")
@cluster_options
@click.option(
    "--json", "as_json", is_flag=True, help="Print it as JSON, for `render --cluster-info` too"
)
def doctor_command(
    *, kubeconfig: str | None, context: str | None, namespace: str | None, as_json: bool
) -> None:
    """Look at a cluster: GPU Operator, device plugin, KEDA, Prometheus, Karpenter, DRA, storage...

    Changes nothing. Exits 1 where something is missing that some fleets need.
    """

    async def work(kube: Kube) -> Findings:
        return await examine(kube, namespace)

    found = with_cluster(Reach(kubeconfig=kubeconfig, context=context), work)
    click.echo(json.dumps(_json(found), indent=2) if as_json else _text(found))
    if found.of("missing"):
        raise click.exceptions.Exit(1)


def _json(found: Findings) -> dict[str, object]:
    return {
        "cluster": msgspec.to_builtins(found.info),
        "findings": [msgspec.to_builtins(one) for one in found.findings],
    }


def _text(found: Findings) -> str:
    rows = [(one.state, one.title, one.found) for one in found.findings]
    parts = [table(("STATE", "WHAT", "FOUND"), rows)]
    for one in found.of("missing", "warning", "unknown"):
        lines = [f"{one.title} ({one.state})"]
        lines.extend(f"  {text}" for text in (one.cost, one.todo) if text)
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
