"""Prometheus text -> sample values by metric name. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from plimsoll.errors import FormatError

# name, optional {labels} (a quoted value may hold braces), value, optional timestamp
_SAMPLE = re.compile(
    r'([A-Za-z_:][A-Za-z0-9_:]*)(\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+(\S+)(?:[ \t]+\S+)?'
)
# one label of a selector such as `metric{kind="waiting"}`
_SELECTOR = re.compile(r'([A-Za-z_:][A-Za-z0-9_:]*)\{([A-Za-z_][A-Za-z0-9_]*="[^"\\]*")\}')

_LONGEST = 64 * 1024  # bytes of a line
_MOST = 256  # lines that are kept: five metrics of fifty ranks


class Excerpt:
    """The lines of some metrics out of a Prometheus text that comes in pieces.

    Reading every sample of an engine takes some ten milliseconds; looking for a few names a
    fiftieth of that. What comes first beside comments is kept, too, so that a text which is no
    metrics at all is still known as such.

    metrics  names, or selectors with one label
    """

    def __init__(self, metrics: Iterable[str]) -> None:
        names = {metric.partition("{")[0] for metric in metrics}
        self._names = tuple(b"\n" + name.encode() for name in sorted(names))
        self._rest = b"\n"  # the end of the line before, and what came of the next
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Read a piece. Raises FormatError for endless lines and for too many that are wanted."""
        block = self._rest + data
        end = block.rfind(b"\n")
        self._rest = block[end:]
        if len(self._rest) > _LONGEST:
            raise _unreadable("a line without end")
        self._read(block, end)

    def text(self) -> str:
        """The kept lines, once the text is whole. Raises FormatError as `feed` does."""
        self._read(self._rest + b"\n", len(self._rest))
        self._rest = b"\n"
        return b"\n".join(self._lines).decode(errors="replace")

    def _read(self, block: bytes, end: int) -> None:
        if not self._lines:
            self._lines = _first_line(block, end)
        for name in self._names:
            at = block.find(name, 0, end)
            while at >= 0:
                stop = block.find(b"\n", at + 1)
                if block[at + len(name) : at + len(name) + 1] in (b"{", b" ", b"\t"):
                    self._lines.append(block[at + 1 : stop])
                at = block.find(name, stop, end)
        if len(self._lines) > _MOST:
            raise _unreadable(f"more than {_MOST} lines of metrics that are wanted")


def _first_line(block: bytes, end: int) -> list[bytes]:
    """The first line that says something, under a name that nobody asks for."""
    at = 0
    while at < end:
        stop = block.find(b"\n", at + 1)
        line = block[at + 1 : stop].strip()
        if line and not line.startswith(b"#"):
            return [b"first_" + line]
        at = stop
    return []


def _unreadable(why: str) -> FormatError:
    return FormatError(
        f"the engine's metrics cannot be read: {why}",
        hint="is this the engine that the fleet file names?",
        code="engine.metrics",
    )


def totals(text: str) -> Mapping[str, float]:
    """The sum over all label sets of every metric in a Prometheus text.

    Lines that are comments or that do not parse are passed over: an engine may expose metrics
    that we never read. Source: prometheus.io, exposition formats, text format 0.0.4.
    """
    sums: dict[str, float] = {}
    for name, _labels, value in _samples(text):
        sums[name] = sums.get(name, 0.0) + value
    return sums


def values(text: str, metric: str) -> tuple[float, ...]:
    """The finite values of a metric, or of a selector with one label: `metric{kind="waiting"}`."""
    selector = _SELECTOR.fullmatch(metric)
    name, label = (selector[1], selector[2]) if selector else (metric, "")
    return tuple(
        value for found, labels, value in _samples(text) if found == name and label in labels
    )


def _samples(text: str) -> Iterator[tuple[str, str, float]]:
    """Name, labels as written, and value of every sample that is finite."""
    for line in text.splitlines():
        found = _SAMPLE.fullmatch(line.strip())
        if found is None:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        if math.isfinite(value):
            yield found[1], found[2] or "", value


def count(sums: Mapping[str, float], metric: str) -> int:
    """A metric that must be there, as a whole number. Raises FormatError without it."""
    try:
        return round(sums[metric])
    except KeyError:
        raise FormatError(
            f"the engine's metrics do not say `{metric}`",
            hint="is this the engine, and the version, that the fleet file names?",
            code="engine.metric-missing",
        ) from None
