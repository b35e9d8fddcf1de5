"""From fleet files to a plan on this machine: fetch the weights, read them, plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plimsoll.cli.files import LoadedFleet
from plimsoll.cli.ledger import ledger_text
from plimsoll.facts.shape import ModelShape
from plimsoll.fleet import Fleet
from plimsoll.plan import Machine, Plan
from plimsoll.plan.fit import LedgerDoesNotFit
from plimsoll.plan.local import plan_local
from plimsoll.worlds.local.sources import Artifact, Cache, Progress, default_root, fetch, locate
from plimsoll.worlds.local.weights import read_shape

MEMORY_SHARE = 0.9  # of what is free now; the rest is for everybody else on the machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A fleet that can start: its plan, and where each model's weights are."""

    fleet: Fleet
    title: str
    plan: Plan
    weights: Mapping[str, Path]


def prepare(
    loaded: LoadedFleet,
    *,
    cache: Cache,
    progress: Progress,
    machine: Machine | None = None,
) -> Prepared:
    """Fetch every model of a fleet (each source once), read its shape, and plan.

    Raises SourceError, FormatError, DoesNotFit; nothing has been started then.
    """
    artifacts = fetch_all(loaded, cache=cache, progress=progress)
    shapes = {name: read_shape(artifact.path) for name, artifact in artifacts.items()}
    weights = {name: artifact.path for name, artifact in artifacts.items()}
    plan = _planned(loaded.fleet, shapes, machine or this_machine())
    return Prepared(fleet=loaded.fleet, title=loaded.title, plan=plan, weights=weights)


def open_cache() -> Cache:
    """The cache of models on this machine."""
    return Cache(default_root(os.environ))


def plan_on_this_machine(loaded: LoadedFleet, machine: Machine) -> Plan:
    """The plan of a fleet whose models are on this machine already; fetches nothing.

    Raises SourceError for a model that is not here, FormatError, DoesNotFit.
    """
    cache = open_cache()
    shapes = {
        model.name: read_shape(
            locate(str(model.source), cache=cache, base=loaded.base, sha256=model.sha256).path
        )
        for model in loaded.fleet.models
    }
    return _planned(loaded.fleet, shapes, machine)


def _planned(fleet: Fleet, shapes: Mapping[str, ModelShape], machine: Machine) -> Plan:
    try:
        return plan_local(fleet, shapes, machine)
    except LedgerDoesNotFit as error:
        error.details = ledger_text(error.ledger)
        raise


def fetch_all(loaded: LoadedFleet, *, cache: Cache, progress: Progress) -> dict[str, Artifact]:
    """The artifact of every model, by its name; a source that several name is fetched once.

    Raises SourceError; what was fetched before it stays in the cache.
    """
    fetched: dict[tuple[str, str | None], Artifact] = {}
    by_model: dict[str, Artifact] = {}
    for model in loaded.fleet.models:
        key = (str(model.source), model.sha256)
        if key not in fetched:
            fetched[key] = fetch(
                str(model.source),
                cache=cache,
                base=loaded.base,
                sha256=model.sha256,
                progress=progress,
                cancelled=_never,
            )
        by_model[model.name] = fetched[key]
    return by_model


def _never() -> bool:
    """Ctrl-C interrupts the fetching itself; nobody else cancels it here."""
    return False


def this_machine() -> Machine:
    """Free memory (a share of it) and the processors that this process may use."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return Machine(memory=int(_free_memory() * MEMORY_SHARE), cores=cores)


def _free_memory() -> int:
    """Bytes that new processes may use, within the control group's limit where there is one."""
    free = _meminfo_available()
    limit, used = _cgroup_number("memory.max"), _cgroup_number("memory.current")
    if limit is not None and used is not None:
        free = min(free, max(0, limit - used))
    return free


def _meminfo_available() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cgroup_number(name: str) -> int | None:
    try:
        text = Path("/sys/fs/cgroup", name).read_text().strip()
    except OSError:
        return None  # no control groups here, or not version 2
    return int(text) if text.isdigit() else None
