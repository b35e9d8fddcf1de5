"""`plimsoll delete`: remove from a cluster what was applied of a fleet."""

from __future__ import annotations

import json

import click

from plimsoll.cli.apply import agreed, done_json, done_text, show_step
from plimsoll.cli.cluster import with_cluster
from plimsoll.cli.cluster_options import Reach, cluster_options
from plimsoll.cli.files import read_fleet
from plimsoll.worlds.cluster.apply import Applied, apply_all, plan_changes
from plimsoll.worlds.cluster.changes import Changes, Scope
from plimsoll.worlds.cluster.client import Kube


@click.command("delete")
@click.argument("files", nargs=-1, metavar="FILE...", required=True)
@cluster_options
@click.option("--yes", is_flag=True, help="Do not ask")
@click.option(
    "--delete-volumes", is_flag=True, help="Also delete volumes with weights, and namespaces"
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON")
def delete_command(
    files: tuple[str, ...],
    *,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    yes: bool,
    delete_volumes: bool,
    as_json: bool,
) -> None:
    """Remove what `plimsoll apply` made of a fleet, and nothing of anybody else's."""
    fleet = read_fleet(files).fleet

    async def work(kube: Kube) -> tuple[Changes, Applied | None]:
        scope = Scope(
            fleet=fleet.name,
            namespace=fleet.namespace or namespace or kube.namespace,
            prune_data=delete_volumes,
        )
        changes = await plan_changes(kube, (), scope)
        if changes.empty or not agreed(changes, yes=yes):
            return changes, None
        return changes, await apply_all(kube, (), scope, show_step, changes=changes)

    changes, done = with_cluster(Reach(kubeconfig=kubeconfig, context=context), work)
    click.echo(json.dumps(done_json(done), indent=2) if as_json else done_text(changes, done))
