"""A trace's kind is seen from its columns."""

from __future__ import annotations

from pathlib import Path

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads import azure, mooncake, servegen_lengths, servegen_rates
from plimsoll.worlds.virtual.workloads.lines import KINDS, first_line
from plimsoll.worlds.virtual.workloads.servegen import ServeGen
from plimsoll.worlds.virtual.workloads.types import Workload


def read_workload(
    path: Path,
    *,
    lengths: Path | None = None,
    model: str | None = None,
    seed: int = 0,
    allow_gaps: bool = False,
) -> Workload:
    """The workload of a trace's file.

    path        CSV or JSON lines, plain or compressed with gzip
    lengths     ServeGen's quantiles of lengths, for its rates
    model       of ServeGen: whose rates; of the others, which know no models: who is asked
    seed        of what is drawn, for rates
    allow_gaps  whether long holes are taken as they are

    Raises InputError for what the first line shows, and for rates and their lengths, which are
    read at once, for all of it; other traces are read, and refused, as one iterates.
    """
    if path.is_dir():
        raise InputError(
            "is a folder", where=str(path), hint="give a file of it", code="trace.unreadable"
        )
    head = first_line(path)
    columns = frozenset(cell.strip().strip('"') for cell in head.split(","))
    if head.startswith("{"):
        return mooncake.MooncakeTrace(path=path, model=model or "default", allow_gaps=allow_gaps)
    nearest = max(
        (azure.COLUMNS, servegen_rates.COLUMNS, servegen_lengths.COLUMNS),
        key=lambda known: (len(columns & known), -len(known)),
    )
    if not columns & nearest:
        raise InputError(
            f"unknown columns: {head[:120]}",
            where=f"{path}:1",
            hint=KINDS,
            code="trace.unknown-columns",
        )
    if nearest is azure.COLUMNS:
        return azure.AzureTrace(path=path, model=model or "default", allow_gaps=allow_gaps)
    if nearest is servegen_lengths.COLUMNS:
        raise InputError(
            "quantiles of lengths, without rates",
            where=f"{path}:1",
            hint="give the file of rates as the trace and this one as its lengths",
            code="trace.unknown",
        )
    if lengths is None:
        servegen_rates.read_rates(path, model, allow_gaps=allow_gaps)
        raise InputError(
            "rates say when requests come and not how long they are",
            where=f"{path}:1",
            hint="give ServeGen's quantiles of lengths with it",
            code="trace.lengths",
        )
    rates = servegen_rates.read_rates(path, model, allow_gaps=allow_gaps)
    return ServeGen(rates=rates, lengths=servegen_lengths.Lengths(lengths, rates.model), seed=seed)
