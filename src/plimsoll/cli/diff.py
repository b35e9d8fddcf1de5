"""`plimsoll diff`: what an apply would change, in fields, GPUs and dollars per hour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from plimsoll.cli.cluster import Permissions, Wanted, wanted_in, with_cluster
from plimsoll.cli.cluster_options import Reach, cluster_options
from plimsoll.cli.cluster_plan import ClusterPlan
from plimsoll.cli.files import read_fleet
from plimsoll.cli.rendering import image_option
from plimsoll.worlds.cluster.changes import Changes
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.diff import Difference, Price, as_data, difference, text
from plimsoll.worlds.cluster.objects.names import MODEL, label_value
from plimsoll.worlds.cluster.planning import plan_changes


@click.command("diff")
@click.argument("files", nargs=-1, metavar="FILE...", required=True)
@cluster_options
@image_option
@click.option("--full", is_flag=True, help="Also show what is new in full, and what stays")
@click.option("--create-namespace", is_flag=True, help="As `apply --create-namespace` would")
@click.option("--json", "as_json", is_flag=True, help="Print the difference as JSON")
def diff_command(
    files: tuple[str, ...],
    *,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    image: str,
    full: bool,
    create_namespace: bool,
    as_json: bool,
) -> None:
    """Show what `plimsoll apply` would change; the API server is asked, nothing is changed.

    Exits 0 when nothing would change, 1 when something would.
    """
    loaded = read_fleet(files)
    may = Permissions(create_namespace=create_namespace)

    async def work(kube: Kube) -> Difference:
        wanted = await wanted_in(kube, loaded, image=image, namespace=namespace, may=may)
        changes = await plan_changes(kube, wanted.rendered.manifests, wanted.scope)
        return compared(changes, wanted)

    found = with_cluster(Reach(kubeconfig=kubeconfig, context=context), work)
    click.echo(json.dumps(as_data(found), indent=2) if as_json else text(found, full=full))
    if not found.changes.empty:
        raise click.exceptions.Exit(1)


def compared(changes: Changes, wanted: Wanted) -> Difference:
    """The difference with its totals."""
    return difference(changes, wanted.scope.replicas, price_of(wanted.planned))


def price_of(planned: ClusterPlan) -> Price | None:
    """Dollars per hour of one replica of a workload; None where no model has a price."""
    if planned.accelerated is None:
        return None
    dollars = {
        label_value(choice.model): choice.chosen.dollars / choice.chosen.replicas
        for choice in planned.accelerated.choices
        if choice.chosen.dollars is not None
    }
    if not dollars:
        return None

    def price(manifest: Mapping[str, Any]) -> float:
        labels = manifest["metadata"].get("labels") or {}
        return dollars.get(labels.get(MODEL, ""), 0.0)

    return price
