"""Prices of models behind others' APIs, and which of them a model of one's own compares with."""

from __future__ import annotations

import datetime as dt
import math
from functools import cache

import msgspec

from plimsoll.facts.model_names import spelling
from plimsoll.facts.table import sparse_csv_rows


class ApiPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider takes for one model.

    provider           `openai`, `together`
    model              the provider's name of it
    input              US dollars per million prompt tokens
    cached_input       US dollars per million prompt tokens that it still had; None where it has
                       no such price, or none is known
    output             US dollars per million generated tokens
    comparable         the open model that it serves; empty for models whose weights and size are
                       not published, which compare with nothing here
    total_parameters   of that open model, rounded as its name or card says; None where not known
    active_parameters  used for one token, likewise
    source             where it is written
    date               of the price
    """

    provider: str
    model: str
    input: float
    cached_input: float | None = None
    output: float
    comparable: str = ""
    total_parameters: float | None = None
    active_parameters: float | None = None
    source: str
    date: dt.date


@cache
def api_prices() -> tuple[ApiPrice, ...]:
    """Every price of the table, by provider."""
    return sparse_csv_rows("api_prices.csv", ApiPrice)


def comparable(
    model_name: str, active_parameters: float, total_parameters: float = 0.0
) -> tuple[ApiPrice, ...]:
    """Prices of the same open model; where there are none, of those nearest in size.

    model_name         `meta-llama/Llama-3.1-8B-Instruct`; publisher, tuning and format are ignored
    active_parameters  used for one token, in numbers, not billions
    total_parameters   of the whole model, likewise; 0: as many as are active

    Nearest is the smallest product of the ratios of active and of all parameters. Cheapest output
    first. Empty where no model of that name is priced and `active_parameters` is not positive.
    """
    wanted = _shape(model_name)
    same = [row for row in api_prices() if row.comparable and _shape(row.comparable) == wanted]
    if not same and active_parameters > 0:
        same = _nearest(active_parameters, total_parameters or active_parameters)
    return tuple(sorted(same, key=lambda row: row.output))


def _nearest(active: float, total: float) -> list[ApiPrice]:
    distances = [
        (
            abs(math.log(row.active_parameters / active))
            + abs(math.log(row.total_parameters / total)),
            row,
        )
        for row in api_prices()
        if row.active_parameters and row.total_parameters
    ]
    least = min(distance for distance, _ in distances)
    return [row for distance, row in distances if distance <= least + 1e-9]


@cache
def _shape(name: str) -> str:
    """A name without publisher, tuning and format."""
    return spelling(name).keys[3]
