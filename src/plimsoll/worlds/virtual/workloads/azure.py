"""Azure's traces of LLM inference (2023 and 2024): a time and two lengths a row.

Source of the shape: Azure/AzurePublicDataset, CC-BY 4.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.lines import table
from plimsoll.worlds.virtual.workloads.order import Order
from plimsoll.worlds.virtual.workloads.types import Arrival

COLUMNS = frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"})
_MOST_TOKENS = 10**9  # of one request; more is a slip


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureTrace:
    """The requests of one file, read as they are asked for.

    path        CSV file, plain or compressed
    model       that they ask, as the trace does not say
    allow_gaps  whether long holes are taken as they are
    """

    path: Path
    model: str = "default"
    allow_gaps: bool = False

    @property
    def seconds(self) -> float | None:
        """Not known before the end."""
        return None

    def __iter__(self) -> Iterator[Arrival]:
        """See Workload. A length of 0 counts as 1."""
        with closing(table(self.path, COLUMNS)) as rows:
            yield from self._arrivals(rows)

    def _arrivals(self, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Arrival]:
        path, model = self.path, self.model
        take = Order(path, allow_gaps=self.allow_gaps).take
        _, header = next(rows)
        when, prompt, output = map(header.index, ("TIMESTAMP", "ContextTokens", "GeneratedTokens"))
        start: datetime | None = None
        for line, row in rows:
            try:
                stamp = datetime.fromisoformat(row[when])
                if start is None:
                    start = stamp
                at = (stamp - start).total_seconds()
                prompt_tokens, output_tokens = int(row[prompt]), int(row[output])
            except (ValueError, TypeError) as error:
                raise _unreadable(row, header, f"{path}:{line}", start) from error
            if not (0 <= prompt_tokens < _MOST_TOKENS and 0 <= output_tokens < _MOST_TOKENS):
                raise _unreadable(row, header, f"{path}:{line}", start)
            take(at, line)
            yield Arrival(
                at=at,
                prompt_tokens=prompt_tokens or 1,
                output_tokens=output_tokens or 1,
                model=model,
            )
        if start is None:
            raise InputError(
                "a header and no requests",
                where=f"{path}:2",
                hint="see whether the file is whole",
                code="trace.empty",
            )


def _unreadable(
    row: list[str], header: list[str], where: str, start: datetime | None
) -> InputError:
    """The first cell of a row that is not what its column holds."""
    for name, cell in zip(header, row, strict=True):
        if name == "TIMESTAMP":
            message = _time_fault(cell, start)
            hint = "write it like `2024-05-10 00:00:00.009930`"
        else:
            fine = _is_length(cell)
            message = None if fine else f"`{name}` must be a whole number from 0, not `{cell[:40]}`"
            hint = "leave the row out, or mend it"
        if message:
            return InputError(message, where=where, hint=hint, code="trace.value")
    raise AssertionError("unreachable")


def _time_fault(cell: str, start: datetime | None) -> str | None:
    try:
        stamp = datetime.fromisoformat(cell)
    except ValueError:
        return f"`TIMESTAMP` must be a time, not `{cell[:40]}`"
    if start is not None and (stamp.tzinfo is None) != (start.tzinfo is None):
        return f"`TIMESTAMP` {cell} and the first one do not both have a time zone"
    return None


def _is_length(cell: str) -> bool:
    try:
        return 0 <= int(cell) < _MOST_TOKENS
    except ValueError:
        return False
