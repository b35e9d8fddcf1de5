"""`plimsoll plan`: what a fleet would run on this machine, and why. Changes nothing."""

from __future__ import annotations

import dataclasses
import json

import click

from plimsoll.cli.files import read_fleet
from plimsoll.cli.ledger import ledger_text
from plimsoll.cli.prepare import plan_on_this_machine, this_machine
from plimsoll.cli.tables import table
from plimsoll.fleet import Fleet
from plimsoll.plan import Machine, Placement, Plan
from plimsoll.units import parse_size, size


@click.command("plan")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--memory", metavar="SIZE", help="Plan for a machine with so much free memory")
@click.option("--cores", type=click.IntRange(1), help="Plan for a machine with so many cores")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON")
def plan_command(
    files: tuple[str, ...], *, memory: str | None, cores: int | None, as_json: bool
) -> None:
    """Show what a fleet would run on this machine, and why.

    Reads the models that are on this machine; `plimsoll models pull FILE` fetches the others.
    Exits 3 when the fleet does not fit.
    """
    loaded = read_fleet(files)
    here = this_machine()
    machine = Machine(
        memory=parse_size(memory) if memory else here.memory, cores=cores or here.cores
    )
    plan = plan_on_this_machine(loaded, machine)
    click.echo(_plan_json(plan, machine) if as_json else _plan_text(loaded.fleet, plan, machine))


def _plan_json(plan: Plan, machine: Machine) -> str:
    placements = [
        dataclasses.asdict(place)
        | {"ledger": {"total": place.ledger.total, **dataclasses.asdict(place.ledger)}}
        for place in plan.placements
    ]
    body = {
        "machine": dataclasses.asdict(machine),
        "budget": plan.budget,
        "placements": placements,
    }
    return json.dumps(body, indent=2)


def _plan_text(fleet: Fleet, plan: Plan, machine: Machine) -> str:
    scaling = {model.name: model.scaling for model in fleet.models}
    rows = [
        (
            place.model,
            place.engine,
            f"{scaling[place.model].min} to {scaling[place.model].max}",
            f"{place.context:,}",
            str(place.parallel),
            str(place.threads),
            size(place.ledger.total),
        )
        for place in plan.placements
    ]
    head = ("MODEL", "ENGINE", "REPLICAS", "CONTEXT", "SLOTS", "THREADS", "MEMORY EACH")
    least = sum(scaling[p.model].min * p.ledger.total for p in plan.placements)
    most = sum(scaling[p.model].max * p.ledger.total for p in plan.placements)
    parts = [table(head, rows)]
    parts.extend(_placement_text(place) for place in plan.placements)
    parts.append(
        f"{size(least)} at the minimum and {size(most)} at the maximum, "
        f"of {size(machine.memory)} free on {machine.cores} cores"
    )
    return "\n\n".join(parts)


def _placement_text(place: Placement) -> str:
    lines = [f"{place.model}"]
    lines.extend(f"  {reason}" for reason in place.why)
    lines.append(ledger_text(place.ledger))
    return "\n".join(lines)
