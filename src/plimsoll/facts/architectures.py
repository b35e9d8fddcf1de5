"""The model architectures that llama.cpp loads, and how their sliding windows lie."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from plimsoll.errors import FormatError
from plimsoll.facts.nearest import nearest_hint
from plimsoll.facts.table import csv_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture that llama.cpp loads.

    name            the word in GGUF's `general.architecture`
    sliding_period  one layer of so many sees the whole context, the others slide; 0 is none
    whole_layer     which one: `last` or `first` of each period; `file`: only the model file
                    tells; `all`: every layer, whatever window the file speaks of
    window          tokens, where the file does not say it; 0 is none
    source          where it is written
    date            when it was read
    """

    name: str
    sliding_period: int
    whole_layer: Literal["all", "last", "first", "file"]
    window: int
    source: str
    date: dt.date

    def slides(self, layer: int, period: int) -> bool:
        """Whether layer number `layer` (from 0) slides, one of `period` layers being whole.

        A period of 1 lets every layer see all; of 0, none.
        """
        if period == 0:
            return True
        return layer % period != (0 if self.whole_layer == "first" else period - 1)


@cache
def architectures() -> Mapping[str, Architecture]:
    """Every architecture that llama.cpp loads, by name."""
    return {row.name: row for row in csv_rows("architectures.csv", Architecture)}


def architecture(name: str, *, where: str | None = None) -> Architecture:
    """One architecture. Raises FormatError, with the nearest names, for one that is not known."""
    try:
        return architectures()[name]
    except KeyError:
        raise FormatError(
            f"the architecture `{name[:60]}` is not one that llama.cpp loads",
            where=where,
            hint=nearest_hint(name, architectures()),
            code="model.unknown-architecture",
        ) from None
