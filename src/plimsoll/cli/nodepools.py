"""`plimsoll nodepools`: the cloud's own commands that make a fleet's nodes. Runs none of them."""

from __future__ import annotations

import json

import click

from plimsoll.cli.files import read_fleet
from plimsoll.cli.planning import CLOUDS
from plimsoll.cli.rendering import site_of
from plimsoll.worlds.cluster.info import ASSUMED
from plimsoll.worlds.cluster.node_commands import Group, Script, node_script


@click.command("nodepools")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--cloud", required=True, type=click.Choice(CLOUDS), help="Whose commands, and whose pools"
)
@click.option("--json", "as_json", is_flag=True, help="Print the commands of each pool as JSON")
def nodepools_command(files: tuple[str, ...], *, cloud: str, as_json: bool) -> None:
    """Print the commands that make the nodes of a fleet's pools: `aws`, `gcloud` or `az`.

    The script makes what is missing and may be run again. What the fleet file does not say (an
    IAM role, subnets) it asks for in variables of the environment. Pools without a `cloud` get the
    cheapest machine type that fits them.
    """
    site, notes = site_of(read_fleet(files), info=ASSUMED)
    script = node_script(site, cloud)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    click.echo(json.dumps(_as_json(script), indent=2) if as_json else script.text, nl=as_json)


def _as_json(script: Script) -> dict[str, object]:
    return {
        "cloud": script.cloud,
        "pools": [
            {
                "name": part.pool,
                "groups": [_group(group) for group in part.groups],
                "commands": part.commands,
            }
            for part in script.parts
        ],
        "skipped": dict(script.skipped),
        "script": script.text,
    }


def _group(group: Group) -> dict[str, object]:
    return {
        "name": group.name,
        "spot": group.spot,
        "min": group.fewest,
        "max": group.most,
        "machines": [row.type for row in group.machines],
    }
