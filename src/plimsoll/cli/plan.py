"""`plimsoll plan`: what a fleet would run, where, and at what price. Changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from plimsoll.cli.demand import on_demand
from plimsoll.cli.files import read_fleet
from plimsoll.cli.fleet_plan_json import plan_json
from plimsoll.cli.fleet_plan_text import plan_text
from plimsoll.cli.networks import on_accelerators
from plimsoll.cli.planning import accelerator_option, cloud_option, plan_of, plot_option
from plimsoll.errors import InputError


@click.command("plan")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--here", is_flag=True, help="Plan for this machine, whatever pools there are")
@click.option("--memory", metavar="SIZE", help="Plan for a machine with so much free memory")
@click.option("--cores", type=click.IntRange(1), help="Plan for a machine with so many cores")
@cloud_option
@accelerator_option
@click.option("--spot", is_flag=True, help="Take spot prices of what clouds rent")
@plot_option
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON")
def plan_command(
    files: tuple[str, ...],
    *,
    here: bool,
    memory: str | None,
    cores: int | None,
    clouds: tuple[str, ...],
    accelerators: tuple[str, ...],
    spot: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Show what a fleet would run, where, at what price, and what limits it.

    A fleet with accelerator pools, or with models that need accelerators, is planned for those;
    without pools, for what clouds rent. Other fleets are planned for this machine. Exits 3 when
    something does not fit.
    """
    loaded = read_fleet(files)
    elsewhere = clouds or accelerators or plot
    if here or memory or cores or not (elsewhere or on_accelerators(loaded.fleet)):
        if elsewhere or spot:
            raise InputError(
                "this machine's plan has no clouds, no prices and no plot",
                hint="leave out `--here`, `--memory` and `--cores`",
                code="plan.options",
            )
        show = on_demand("local_plan").local_json if as_json else on_demand("local_plan").local_text
        click.echo(show(loaded, memory=memory, cores=cores))
        return
    plan, _ = plan_of(loaded, clouds=clouds, accelerators=accelerators, spot=spot)
    if plot:
        on_demand("plot").save_plot(plan.choices, plot)
    click.echo(json.dumps(plan_json(plan), indent=2) if as_json else plan_text(plan))
