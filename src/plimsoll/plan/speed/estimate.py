"""One predicted number with its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One predicted number.

    value         what is expected
    low, high     the interval that holds the measured value nine times of ten
    why           what it is made of, largest first, for a reader
    extrapolates  why the interval is wider than where the model was fitted; empty inside
    """

    value: float
    low: float
    high: float
    why: tuple[str, ...] = ()
    extrapolates: tuple[str, ...] = ()
