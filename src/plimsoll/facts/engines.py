"""The engine catalogue: version, program, port and metric names of every engine we speak to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from plimsoll.errors import InputError
from plimsoll.facts.nearest import nearest_hint
from plimsoll.facts.table import yaml_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """One engine at one version.

    name          the word used in the fleet file
    version       what these facts were read from
    program       the engine's own program name
    port          where it listens when nothing is said
    health        path that answers 200 when requests may be sent
    metrics_path  path of its Prometheus text
    metrics       `running`, `waiting`, `prompt_tokens`, `generated_tokens`, `kv_usage` -> the
                  engine's metric name; a key is absent where the engine has no such metric
    source        where it is written
    date          when it was read
    """

    name: str
    version: str
    program: str
    port: int
    health: str
    metrics_path: str
    metrics: Mapping[str, str]
    source: str
    date: dt.date


@cache
def engines() -> Mapping[str, EngineFacts]:
    """Every engine of the catalogue, by name."""
    return {row.name: row for row in yaml_rows("engines.yaml", EngineFacts)}


def engine(name: str) -> EngineFacts:
    """The facts of one engine. Raises InputError for a name that is not in the catalogue."""
    try:
        return engines()[name]
    except KeyError:
        raise InputError(
            f"no facts about an engine `{name}`",
            hint=nearest_hint(name, engines()),
            code="facts.unknown-engine",
        ) from None
