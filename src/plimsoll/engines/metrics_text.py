"""Prometheus text -> sample values by metric name. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from plimsoll.errors import FormatError

# name, optional {labels} (a quoted value may hold braces), value, optional timestamp
_SAMPLE = re.compile(
    r'([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+(\S+)(?:[ \t]+\S+)?'
)


def totals(text: str) -> Mapping[str, float]:
    """The sum over all label sets of every metric in a Prometheus text.

    Lines that are comments or that do not parse are passed over: an engine may expose metrics
    that we never read. Source: prometheus.io, exposition formats, text format 0.0.4.
    """
    sums: dict[str, float] = {}
    for line in text.splitlines():
        found = _SAMPLE.fullmatch(line.strip())
        if found is None:
            continue
        try:
            value = float(found[2])
        except ValueError:
            continue
        if math.isfinite(value):
            sums[found[1]] = sums.get(found[1], 0.0) + value
    return sums


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
