"""Element types of weight files: how many bytes a tensor takes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from plimsoll.facts.table import csv_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class GgmlType:
    """One tensor type of GGUF files.

    name            in lower case: `q4_0`
    id              its number in the file
    block_elements  elements stored together
    block_bytes     bytes of one such block
    repacked        whether llama.cpp keeps its matrices in another order (seen in its log on
                    x86-64 with AVX2), so that a matrix whose rows are looked up exists twice
    source          where it is written
    date            when it was read
    """

    name: str
    id: int
    block_elements: int
    block_bytes: int
    repacked: bool
    source: str
    date: dt.date

    def row_bytes(self, elements: int) -> int:
        """Bytes of a row of `elements`, which is a multiple of the block."""
        return elements // self.block_elements * self.block_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsDtype:
    """One element type of safetensors files.

    name    as the header writes it: `BF16`
    bits    of one element
    source  where it is written
    date    when it was read
    """

    name: str
    bits: int
    source: str
    date: dt.date


@cache
def ggml_types() -> Mapping[int, GgmlType]:
    """Every GGUF tensor type, by its number."""
    return {row.id: row for row in csv_rows("ggml_types.csv", GgmlType)}


@cache
def ggml_types_by_name() -> Mapping[str, GgmlType]:
    """Every GGUF tensor type, by its name."""
    return {row.name: row for row in ggml_types().values()}


@cache
def safetensors_dtypes() -> Mapping[str, SafetensorsDtype]:
    """Every safetensors element type, by its name."""
    return {row.name: row for row in csv_rows("safetensors_dtypes.csv", SafetensorsDtype)}
