"""`plimsoll apply`: make a cluster what the fleet file says."""

from __future__ import annotations

import json
import sys

import click

from plimsoll.cli.cluster import Permissions, wanted_in, with_cluster
from plimsoll.cli.cluster_options import Reach, cluster_options
from plimsoll.cli.diff import compared
from plimsoll.cli.files import read_fleet
from plimsoll.cli.rendering import image_option
from plimsoll.errors import InputError
from plimsoll.worlds.cluster.apply import Applied, Step, apply_all, plan_changes
from plimsoll.worlds.cluster.changes import Changes
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.diff import text


@click.command("apply")
@click.argument("files", nargs=-1, metavar="FILE...", required=True)
@cluster_options
@image_option
@click.option("--yes", is_flag=True, help="Do not ask")
@click.option("--create-namespace", is_flag=True, help="Make the fleet's own namespace too")
@click.option("--adopt", is_flag=True, help="Take over objects that somebody made by hand")
@click.option(
    "--force-conflicts", is_flag=True, help="Take over fields that another manager has set"
)
@click.option(
    "--delete-volumes", is_flag=True,
    help="Also delete volumes and namespaces that are no longer in the file",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON")
def apply_command(
    files: tuple[str, ...],
    *,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    image: str,
    yes: bool,
    create_namespace: bool,
    adopt: bool,
    force_conflicts: bool,
    delete_volumes: bool,
    as_json: bool,
) -> None:
    """Send a fleet to a cluster; remove what an earlier apply made and the file no longer has.

    Everything is checked against the cluster before anything is changed. Interrupted anywhere, it
    can be run again. Exits 1 when something keeps it from being applied.
    """
    loaded = read_fleet(files)
    may = Permissions(
        create_namespace=create_namespace,
        adopt=adopt,
        force=force_conflicts,
        prune_data=delete_volumes,
    )

    async def work(kube: Kube) -> tuple[Changes, Applied | None]:
        wanted = await wanted_in(kube, loaded, image=image, namespace=namespace, may=may)
        manifests = wanted.rendered.manifests
        changes = await plan_changes(kube, manifests, wanted.scope)
        changes.allow()
        if not as_json:
            click.echo(text(compared(changes, wanted)))
        if changes.empty or not agreed(changes, yes=yes):
            return changes, None
        return changes, await apply_all(kube, manifests, wanted.scope, show_step, changes=changes)

    changes, done = with_cluster(Reach(kubeconfig=kubeconfig, context=context), work)
    click.echo(json.dumps(done_json(done), indent=2) if as_json else done_text(changes, done))


def agreed(changes: Changes, *, yes: bool) -> bool:
    """Whether to go on; asks a person. Raises InputError where there is none to ask."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError(
            "nobody is here to say whether to go on",
            hint="look with `plimsoll diff`, then apply with `--yes`",
            code="apply.ask",
        )
    removed = len(changes.of("delete"))
    question = f"Apply, and remove {removed} objects?" if removed else "Apply?"
    return click.confirm(question, err=True)


def show_step(step: Step) -> None:
    """Progress on a terminal."""
    if sys.stderr.isatty():
        click.echo(
            f"\r\033[K{step.done}/{step.total} {step.change.verdict} {step.change.key}",
            err=True,
            nl=step.done == step.total,
        )


def done_text(changes: Changes, done: Applied | None) -> str:
    """What was done, to read."""
    if done is None:
        return "nothing to do" if changes.empty else "nothing was changed"
    written = f"{len(done.created)} made, {len(done.updated)} changed, {len(done.deleted)} removed"
    kept = [f"kept {key}: {why}" for key, why in done.kept]
    return "\n".join([f"{written}, {len(done.unchanged)} as they were", *kept])


def done_json(done: Applied | None) -> dict[str, object]:
    """What was done, for programs."""
    if done is None:
        return {"applied": False}
    return {
        "applied": True,
        "created": [str(key) for key in done.created],
        "updated": [str(key) for key in done.updated],
        "deleted": [str(key) for key in done.deleted],
        "unchanged": len(done.unchanged),
        "kept": [{"object": str(key), "why": why} for key, why in done.kept],
    }
