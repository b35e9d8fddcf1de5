"""How engines make their batches, by release."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import cache

from plimsoll.facts.table import yaml_rows

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSizes:
    """Batches to which an engine captures graphs; others are rounded up to them.

    first  the smallest ones
    near   between those after them, until `until`
    far    between those after that
    most   the largest
    """

    first: tuple[int, ...]
    near: int
    until: int
    far: int
    most: int

    def sizes(self, sequences: int) -> tuple[int, ...]:
        """The sizes for so many requests at once, ascending: up to twice as many tokens."""
        largest = min(self.most, 2 * sequences)
        every = (
            *self.first,
            *range(self.near, self.until, self.near),
            *range(self.until, self.most + 1, self.far),
        )
        return tuple(size for size in every if size <= largest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """How one engine makes its batches, from one release on.

    engine          its name in the catalogue
    since           the release
    steps_ahead     batches made before the output of the one that runs is there
    reserve_prompt  whether a request is let in only where its whole prompt fits
    graph_sizes     batches to which graphs are captured
    source          where it is written
    date            when it was read
    """

    engine: str
    since: str
    steps_ahead: int
    reserve_prompt: bool
    graph_sizes: GraphSizes
    source: str
    date: dt.date

    @property
    def name(self) -> str:
        """Engine and release."""
        return f"{self.engine} {self.since}"


@cache
def schedulers() -> tuple[Scheduler, ...]:
    """Every row, each engine's oldest release first."""
    rows = yaml_rows("schedulers.yaml", Scheduler)
    return tuple(sorted(rows, key=lambda row: (row.engine, _order(row.since))))


def scheduler(engine: str, version: str = "") -> Scheduler:
    """How a release makes its batches; the newest known where none is named.

    A release older than all that are known counts as the oldest, an engine without rows as vLLM.
    """
    rows = [row for row in schedulers() if row.engine == engine]
    rows = rows or [row for row in schedulers() if row.engine == "vllm"]
    if not version:
        return rows[-1]
    older = [row for row in rows if _order(row.since) <= _order(version)]
    return older[-1] if older else rows[0]


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBER.findall(version)[:2])
