"""`plimsoll status`: the fleets that are up on this machine, or one in a cluster."""

from __future__ import annotations

import click
import msgspec

from plimsoll.cli.cluster_options import cluster_options
from plimsoll.cli.demand import on_demand
from plimsoll.cli.files import read_fleet
from plimsoll.cli.folders import state_folder
from plimsoll.cli.running import RunningFleet, RunningModel, running_fleets
from plimsoll.cli.tables import table
from plimsoll.units import duration


@click.command("status")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@cluster_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def status_command(
    files: tuple[str, ...],
    *,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    as_json: bool,
) -> None:
    """Show replicas, demand and why: of one fleet in a cluster, or of those up on this machine.

    With a fleet file, the cluster is asked: wanted, ready, loading and in which phase, why not.
    Exits 1 when no fleet is up, or when the one asked about is not well.
    """
    if files:
        there = on_demand("cluster_status")
        status = there.look(read_fleet(files), kubeconfig, context, namespace)
        click.echo(there.status_json(status) if as_json else there.status_text(status))
        if not status.well:
            raise click.exceptions.Exit(1)
        return
    fleets = running_fleets(state_folder() / "run")
    if as_json:
        encoded = msgspec.json.format(msgspec.json.encode({"fleets": fleets}), indent=2)
        click.echo(encoded.decode())
    elif not fleets:
        click.echo("no fleet is up on this machine; start one with `plimsoll up`", err=True)
    else:
        click.echo("\n\n".join(_fleet_text(fleet) for fleet in fleets))
    if not fleets:
        raise click.exceptions.Exit(1)


def _fleet_text(fleet: RunningFleet) -> str:
    lines = [f"{fleet.fleet} is {fleet.state} at {fleet.url} (pid {fleet.pid})"]
    rows = [row for model in fleet.models for row in _model_rows(model)]
    lines.append(table(("MODEL", "REPLICA", "STATE", "FOR", "REQUESTS", "WHY"), rows))
    if fleet.cold_starts:
        last = fleet.cold_starts[-1]
        phases = ", ".join(f"{name} {duration(took)}" for name, took in last.phases.items())
        lines.append(f"last cold start ({last.replica}): {phases}")
    return "\n".join(lines)


def _model_rows(model: RunningModel) -> list[tuple[str, ...]]:
    wanted = f"{model.wanted} wanted, {model.queued} queued"
    rows: list[tuple[str, ...]] = [(model.name, "", wanted, "", str(model.in_flight), model.reason)]
    rows.extend(
        ("", r.name, r.state, duration(r.seconds), str(r.in_flight), r.reason)
        for r in model.replicas
    )
    return rows
