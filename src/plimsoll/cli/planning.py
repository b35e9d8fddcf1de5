"""From fleet files to the plan of a whole fleet, with progress where it takes long."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from plimsoll.cli.files import LoadedFleet
from plimsoll.cli.networks import networks_of
from plimsoll.plan.search import FleetPlan, Ground, grounds_of, plan_fleet, rented_grounds

CLOUDS = ("aws", "gcp", "azure")

# What `plan` and `explain` both take.
cloud_option = click.option(
    "--cloud", "clouds", multiple=True, type=click.Choice(CLOUDS),
    help="Look at what this cloud rents instead of the fleet's pools (may be repeated)",
)  # fmt: skip
accelerator_option = click.option(
    "--accelerator", "accelerators", multiple=True, metavar="NAME",
    help="Look only at this accelerator (may be repeated)",
)  # fmt: skip
plot_option = click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Draw cost against latency: .png, .svg, .pdf or .html",
)  # fmt: skip


def plan_of(
    loaded: LoadedFleet,
    *,
    clouds: Sequence[str] = (),
    accelerators: Sequence[str] = (),
    spot: bool = False,
) -> tuple[FleetPlan, tuple[Ground, ...]]:
    """The plan, and the grounds that it looked at.

    clouds        look at what these rent, instead of the fleet's pools
    accelerators  look only at these; without pools that have them, at what clouds rent

    Raises InputError and DoesNotFit.
    """
    networks = networks_of(loaded)
    grounds = grounds_of(loaded.fleet)
    if clouds or accelerators or not grounds:
        grounds = rented_grounds(
            providers=clouds, accelerators=accelerators, capacity="spot" if spot else "onDemand"
        )
    total, told = len(networks), 0

    def say(model: str) -> None:
        nonlocal told
        told += 1
        if sys.stderr.isatty() and total > 1:
            click.echo(f"\r\033[Kplanning {model} ({told} of {total})", err=True, nl=False)

    try:
        return plan_fleet(loaded.fleet, networks, grounds, told=say), grounds
    finally:
        if sys.stderr.isatty() and total > 1:
            click.echo("\r\033[K", err=True, nl=False)
