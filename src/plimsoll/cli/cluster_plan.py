"""From fleet files to the plan of a whole fleet in a cluster: accelerators and processors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from plimsoll.cli.files import LoadedFleet
from plimsoll.cli.networks import on_accelerators, runs_here
from plimsoll.cli.planning import plan_of
from plimsoll.cli.prepare import open_cache
from plimsoll.errors import InputError, PlimsollError, SourceError
from plimsoll.facts.catalogue import network
from plimsoll.facts.gguf_mixes import estimated_shape, gguf_mixes, mix_of
from plimsoll.facts.shape import ModelShape
from plimsoll.fleet import Model
from plimsoll.plan import Plan
from plimsoll.plan.placements import placements
from plimsoll.plan.processors import plan_on_processors
from plimsoll.plan.search import FleetPlan, unplanned
from plimsoll.worlds.local.sources import Patience, locate, remote_shape
from plimsoll.worlds.local.weights import read_shape

PATIENCE = Patience(tries=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """The plan of a fleet in a cluster.

    plan         a placement for every model, in the fleet's order
    accelerated  the plan of those on accelerators, with prices; None where there are none
    notes        what was assumed
    """

    plan: Plan
    accelerated: FleetPlan | None
    notes: tuple[str, ...]


def plan_for_cluster(loaded: LoadedFleet) -> ClusterPlan:
    """Plan every model of a fleet for a cluster.

    Raises InputError and DoesNotFit; SourceError where neither the source nor the catalogue tells
    what a model is.
    """
    fleet = loaded.fleet
    accelerated = plan_of(loaded)[0] if on_accelerators(fleet) else None
    notes: list[str] = []
    shapes = {
        model.name: _shape(index, model, loaded.base, notes)
        for index, model in enumerate(fleet.models)
        if runs_here(model)
    }
    placed = plan_on_processors(fleet, shapes)
    if accelerated is not None:
        placed |= {p.model: p for p in placements(fleet.models, accelerated).placements}
        planned_here = {unplanned(name) for name in shapes}
        notes.extend(note for note in accelerated.notes if note not in planned_here)
    return ClusterPlan(
        plan=Plan(placements=tuple(placed[model.name] for model in fleet.models)),
        accelerated=accelerated,
        notes=tuple(notes),
    )


def _shape(index: int, model: Model, base: Path, notes: list[str]) -> ModelShape:
    """From the disk, the source's header, or the catalogue. Raises SourceError, InputError."""
    try:
        return read_shape(
            locate(str(model.source), cache=open_cache(), base=base, sha256=model.sha256).path
        )
    except (SourceError, InputError) as missing:
        if model.source.scheme in ("builtin", "file"):
            raise
        try:
            return remote_shape(str(model.source), patience=PATIENCE)
        except PlimsollError:
            return _estimated(index, model, notes, missing)


def _estimated(index: int, model: Model, notes: list[str], missing: PlimsollError) -> ModelShape:
    name = model.base_model or re.sub(
        r"[-_.]gguf$", "", model.source.repository, flags=re.IGNORECASE
    )
    mix = mix_of(model.source.path) if model.quantization == "auto" else model.quantization
    try:
        found = network(name)
    except InputError as unknown:
        raise InputError(
            f"{missing.message}, and the catalogue does not know it: {unknown.message}",
            where=f"spec.models[{index}].source",
            hint="fetch it with `plimsoll models pull`, or name one of the same shape in "
            "`baseModel`",
            code=unknown.code,
        ) from unknown
    if mix not in gguf_mixes():
        raise InputError(
            f"`{mix}` is no format of GGUF files",
            where=f"spec.models[{index}].quantization",
            hint="leave it out: a GGUF file is in a format already",
            code="plan.format",
        )
    notes.append(f"{model.name}: sized as {found.name} in {mix}: its source could not be read")
    return estimated_shape(found, mix)
