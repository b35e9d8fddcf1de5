"""What an engine's process takes beside weights and KV cache: measured constants."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from plimsoll.facts.table import yaml_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConstant:
    """One number of one engine.

    engine  its name in the catalogue
    name    what the ledger calls it
    value   in `unit`
    unit    in words
    source  where it is written, or how it was measured
    date    when
    """

    engine: str
    name: str
    value: int
    unit: str
    source: str
    date: dt.date


@cache
def memory_constants(engine: str) -> Mapping[str, MemoryConstant]:
    """Every constant of one engine, by name; empty for an engine without any."""
    rows = yaml_rows("engine_memory.yaml", MemoryConstant)
    return {row.name: row for row in rows if row.engine == engine}
