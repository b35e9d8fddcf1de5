"""Bytes, seconds, counts and money: parsed from what people write, printed as they read it.

Sizes follow Kubernetes (`Ki Mi Gi Ti` are powers of 1024, `k M G T` powers of 1000);
durations are written out (`500ms`, `60s`, `5m`, `2h`, `7d`, and sums such as `1h30m`).
"""

from __future__ import annotations

import re
from decimal import Decimal

from plimsoll.errors import UnitError

KIB = 1024
MIB = 1024**2
GIB = 1024**3

SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
COUNT_PATTERN = r"^[0-9]+(\.[0-9]+)?(k|M|G)?$"

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_SIZE_FACTOR = {
    "": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4, "Pi": 1024**5,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
}  # fmt: skip
_DURATION_FACTOR = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_LONGEST = 40  # characters; a longer quantity is a mistake, and Decimal would grow with it


def parse_size(text: str) -> int:
    """Bytes of `8Gi`, `500M`, `1.5Gi` or `4096`.

    Raises UnitError when it is not a size, or not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise UnitError(f"`{text[:_LONGEST]}` is not a size", hint="write it like `8Gi` or `500Mi`")
    value = Decimal(match[1]) * _SIZE_FACTOR[match[2] or ""]
    if value != value.to_integral_value():
        raise UnitError(f"`{text}` is not a whole number of bytes", hint="use a smaller unit")
    return int(value)


def parse_duration(text: str) -> float:
    """Seconds of `500ms`, `60s`, `5m`, `1h30m`. Raises UnitError."""
    if len(text) > _LONGEST or not _DURATION.fullmatch(text):
        raise UnitError(
            f"`{text[:_LONGEST]}` is not a duration", hint="write it like `500ms`, `60s` or `5m`"
        )
    parts = _DURATION_PART.findall(text)
    return float(sum(Decimal(number) * _DURATION_FACTOR[unit] for number, unit in parts))


def parse_count(text: str) -> int:
    """A count of `200k`, `1.5M` or `600`. Raises UnitError."""
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or (match[2] or "") not in ("", "k", "M", "G"):
        raise UnitError(f"`{text[:_LONGEST]}` is not a count", hint="write it like `600` or `200k`")
    value = Decimal(match[1]) * _SIZE_FACTOR[match[2] or ""]
    if value != value.to_integral_value():
        raise UnitError(f"`{text}` is not a whole number", hint="use a smaller unit")
    return int(value)


def size(amount: int) -> str:
    """Bytes for a reader: `512 B`, `3.4 MiB`, `1.27 GiB`."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    if amount < KIB:
        return f"{sign}{amount} B"
    for unit, factor in (("KiB", KIB), ("MiB", MIB), ("GiB", GIB)):
        if amount < factor * 1024 or unit == "GiB":
            value = amount / factor
            return f"{sign}{value:.2f} {unit}" if value < 10 else f"{sign}{value:.1f} {unit}"
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Seconds for a reader: `35 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def money(usd: float) -> str:
    """US dollars for a reader: `$0.0042`, `$3.20`, `$12,400`."""
    if usd != 0 and abs(usd) < 0.1:
        return f"${usd:.4f}"
    return f"${usd:,.2f}" if abs(usd) < 1000 else f"${usd:,.0f}"
