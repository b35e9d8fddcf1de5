"""Metrics as Prometheus' text, written in parts so that a thousand models block nobody. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

_ROWS = 50  # models in one part: some 1,000 lines, less than a millisecond
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One metric family.

    name    as Prometheus shows it; counters without the `_total` that the text adds
    kind    counter | gauge | histogram
    labels  its label names
    help    what it counts, with its unit
    across  how a gauge's values of several workers become the gateway's; all else is added up
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    across: Literal["sum", "max", "min"] = "sum"


class Source(Protocol):
    """Something that shows families of its own."""

    def parts(self) -> Iterator[bytes]:
        """Its text in parts of some milliseconds of work at most."""
        ...


def escaped(value: str) -> str:
    """A label's value as it stands between quotes.

    Source: prometheus.io, exposition formats, text format 0.0.4.
    """
    return value.translate(_ESCAPES) if '"' in value or "\\" in value or "\n" in value else value


def family(
    of: Described, rows: Sequence[R], samples: Callable[[R], Iterable[str]]
) -> Iterator[bytes]:
    """A family in parts: its head, then the lines of some rows at a time.

    samples  a row -> its lines, each with its end
    """
    name = f"{of.name}_total" if of.kind == "counter" else of.name
    text = of.help.translate(_HELP_ESCAPES)
    yield f"# HELP {name} {text}\n# TYPE {name} {of.kind}\n".encode()
    for start in range(0, len(rows), _ROWS):
        lines = (line for row in rows[start : start + _ROWS] for line in samples(row))
        yield "".join(lines).encode()
