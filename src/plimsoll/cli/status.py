"""`plimsoll status`: the fleets that are up on this machine."""

from __future__ import annotations

import click
import msgspec

from plimsoll.cli.folders import state_folder
from plimsoll.cli.running import RunningFleet, RunningModel, running_fleets
from plimsoll.cli.tables import table
from plimsoll.units import duration


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def status_command(*, as_json: bool) -> None:
    """Show the fleets that are up on this machine: replicas, demand and why.

    Exits 1 when none is up.
    """
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
