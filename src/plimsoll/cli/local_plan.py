"""The plan of a fleet on this machine, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json

import msgspec

from plimsoll.cli.files import LoadedFleet
from plimsoll.cli.ledger import ledger_text
from plimsoll.cli.prepare import plan_on_this_machine, this_machine
from plimsoll.cli.tables import table
from plimsoll.plan import Machine, Placement
from plimsoll.units import parse_size, size


def _machine(memory: str | None, cores: int | None) -> Machine:
    found = this_machine()
    return Machine(
        memory=parse_size(memory) if memory else found.memory, cores=cores or found.cores
    )


def local_json(loaded: LoadedFleet, *, memory: str | None, cores: int | None) -> str:
    """The plan for programs.

    memory  size of the machine, instead of what is free here
    cores   of the machine, instead of those here

    Raises SourceError for a model that is not on this machine, FormatError, DoesNotFit.
    """
    machine = _machine(memory, cores)
    plan = plan_on_this_machine(loaded, machine)
    placements = [
        msgspec.to_builtins(place)
        | {"ledger": {"total": place.ledger.total, **dataclasses.asdict(place.ledger)}}
        for place in plan.placements
    ]
    body = {
        "machine": dataclasses.asdict(machine),
        "budget": plan.budget,
        "placements": placements,
    }
    return json.dumps(body, indent=2)


def local_text(loaded: LoadedFleet, *, memory: str | None, cores: int | None) -> str:
    """The plan for a person; arguments and errors as of `local_json`."""
    machine = _machine(memory, cores)
    plan = plan_on_this_machine(loaded, machine)
    scaling = {model.name: model.scaling for model in loaded.fleet.models}
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
