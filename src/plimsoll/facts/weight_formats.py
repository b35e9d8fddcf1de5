"""Number formats of weights: bits per element with scales, and which engine runs them where."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache
from typing import Literal

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.devices import Device
from plimsoll.facts.nearest import nearest_hint
from plimsoll.facts.table import sparse_csv_rows

How = Literal["native", "kernel"]


class WeightFormat(msgspec.Struct, frozen=True, kw_only=True):
    """One number format of the weights of linear layers.

    name      `bf16`, `fp8`, `awq`
    bits      bits per element, scales and zero points included
    compute   element type of the matrix product where the hardware has one for it; elsewhere the
              weights are widened to 16 bits first
    kept      parts that stay at 16 bits by convention: `embeddings`, `head`, `norms`, `router`,
              `attention`
    recovery  measured score divided by that of 16-bit weights; None where no figure is at hand
    measured  the model and the tests of `recovery`; empty where there is none
    aliases   other spellings
    source    where it is written
    date      when it was read
    """

    name: str
    bits: float
    compute: str
    kept: tuple[str, ...] = ()
    recovery: float | None = None
    measured: str = ""
    aliases: tuple[str, ...] = ()
    source: str
    date: dt.date

    @property
    def bytes(self) -> float:
        """Bytes per element, scales and zero points included."""
        return self.bits / 8


class FormatSupport(msgspec.Struct, frozen=True, kw_only=True):
    """What one engine runs on one generation of hardware; what is not named, it does not run.

    generation  `ampere`, `hopper`, `cdna3`
    engine      `vllm`, `sglang`, `trtllm`
    native      formats whose products the matrix units compute as they are
    kernels     formats that kernels widen to 16 bits first, such as Marlin's
    source      where it is written
    date        when it was read
    """

    generation: str
    engine: str
    native: tuple[str, ...]
    kernels: tuple[str, ...] = ()
    source: str
    date: dt.date


@cache
def weight_formats() -> Mapping[str, WeightFormat]:
    """Every format of the table, by name. Those of GGUF files are in `facts/formats.py`."""
    rows = sparse_csv_rows("weight_formats.csv", WeightFormat, lists=("aliases", "kept"))
    return {row.name: row for row in rows}


@cache
def format_support() -> tuple[FormatSupport, ...]:
    """Every pair of generation and engine that is known."""
    return sparse_csv_rows("weight_format_support.csv", FormatSupport, lists=("native", "kernels"))


def weight_format(name: str) -> WeightFormat:
    """The format of that name or alias; case, `-` and `_` do not matter; `none` is `bf16`.

    Raises InputError for one that is not in the table.
    """
    try:
        return _by_spelling()[_plain(name)]
    except KeyError:
        raise InputError(
            f"no facts about a weight format `{name}`",
            hint=nearest_hint(name, weight_formats()),
            code="facts.unknown-weight-format",
        ) from None


def supported(where: Device | str, engine: str) -> Mapping[str, How]:
    """The formats that an engine runs on a device, or on a generation of hardware, and how.

    A format that is not in the answer does not run there. Raises InputError for a pair of
    generation and engine of which nothing is known.
    """
    generation = where if isinstance(where, str) else where.generation
    for row in format_support():
        if (row.generation, row.engine) == (generation, engine):
            native: dict[str, How] = dict.fromkeys(row.native, "native")
            return native | dict.fromkeys(row.kernels, "kernel")
    pairs = [f"{row.generation} {row.engine}" for row in format_support()]
    raise InputError(
        f"no facts about the weight formats of `{engine}` on `{generation}`",
        hint=nearest_hint(f"{generation} {engine}", pairs),
        code="facts.unknown-format-support",
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


@cache
def _by_spelling() -> Mapping[str, WeightFormat]:
    return {
        _plain(spelling): row
        for row in weight_formats().values()
        for spelling in (row.name, *row.aliases)
    }
