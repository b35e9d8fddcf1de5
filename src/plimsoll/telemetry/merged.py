"""One text of metrics from those of several processes. Pure.

What is read was written by our own code: one sample a line, no timestamps, the labels of a series
in the same order everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from plimsoll.telemetry.exposition import Described

_COUNTED = frozenset({"counter", "histogram", "summary"})
_LINES = 2000  # of one part: about a millisecond of work
_JOINED: Mapping[str, Callable[[float, float], float]] = {"max": max, "min": min}


@dataclass(slots=True)
class _Family:
    """One family: its head and its samples, in the order in which they came."""

    head: list[str]
    kind: str = ""
    samples: dict[str, float] = field(default_factory=dict)


class Merged:
    """Numbers of several processes as those of one.

    Counters and histograms are added up; gauges too, unless `families` says otherwise of theirs.
    Families that it does not know are added up.
    """

    def __init__(self, families: Iterable[Described]) -> None:
        self._across = {each.name: each.across for each in families if each.kind == "gauge"}
        self._families: dict[str, _Family] = {}

    def add(self, text: bytes, *, gone: bool = False) -> None:
        """Add a process's text.

        gone  of a process that has ended: what it counted stays, what it measured does not

        Raises ValueError for a text that is not one of ours.
        """
        for _ in self.adding(text, gone=gone):
            pass

    def adding(self, text: bytes, *, gone: bool = False) -> Iterator[None]:
        """Add a text in parts of a millisecond of work, as `add` does."""
        family = _Family([])
        join: Callable[[float, float], float] | None = None
        for number, line in enumerate(text.decode().split("\n")):
            if number % _LINES == _LINES - 1:
                yield
            if line.startswith("#"):
                family = self._described(line)
                join = _JOINED.get(self._across.get(_name(line), "sum"))
            elif line and not (gone and family.kind not in _COUNTED):
                series, _, said = line.rpartition(" ")
                value, before = float(said), family.samples.get(series)
                if before is not None:
                    value = before + value if join is None else join(before, value)
                family.samples[series] = value

    def _described(self, line: str) -> _Family:
        family = self._families.setdefault(_name(line), _Family([]))
        if line not in family.head:
            family.head.append(line)
        if line.startswith("# TYPE "):
            family.kind = line.rpartition(" ")[2]
        return family

    def parts(self) -> Iterator[bytes]:
        """The text, in parts of some milliseconds of work at most."""
        lines: list[str] = []
        for family in self._families.values():
            lines += (f"{line}\n" for line in family.head)
            for series, value in family.samples.items():
                lines.append(f"{series} {value!r}\n")
                if len(lines) >= _LINES:
                    yield "".join(lines).encode()
                    lines.clear()
        yield "".join(lines).encode()

    def text(self) -> bytes:
        """The whole text."""
        return b"".join(self.parts())


def _name(line: str) -> str:
    """Of the family that a line with `# HELP` or `# TYPE` is about, as its description has it.

    A counter's name in the text has `_total`, with both ways to write a head.
    """
    return line.split(" ", 3)[2].removesuffix("_total")
