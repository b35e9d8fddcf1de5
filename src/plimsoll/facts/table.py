"""Reads the data files of facts/: typed rows, each with its source and date."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from importlib.resources import files
from typing import TypeVar

import msgspec

Row = TypeVar("Row")


def _text(name: str) -> str:
    return files("plimsoll.facts").joinpath("data", name).read_text(encoding="utf-8")


def yaml_rows(name: str, row: type[Row]) -> tuple[Row, ...]:
    """The rows of `data/<name>`, a YAML list. Raises msgspec.ValidationError on a bad row."""
    return tuple(msgspec.yaml.decode(_text(name), type=list[row], strict=True))  # type: ignore[valid-type]  # `row` is a type only when it runs


def csv_rows(name: str, row: type[Row]) -> tuple[Row, ...]:
    """The rows of `data/<name>`, a CSV with a header. Raises msgspec.ValidationError."""
    cells = list(csv.DictReader(_text(name).splitlines()))
    return tuple(msgspec.convert(cells, type=list[row], strict=False))  # type: ignore[valid-type]  # `row` is a type only when it runs


def sparse_csv_rows(name: str, row: type[Row], *, lists: Iterable[str] = ()) -> tuple[Row, ...]:
    """As `csv_rows`, but an empty cell leaves the field at its default.

    Cells of the columns `lists` are split at `;`. Raises msgspec.ValidationError.
    """
    split = frozenset(lists)
    cells = [
        {key: text.split(";") if key in split else text for key, text in line.items() if text}
        for line in csv.DictReader(_text(name).splitlines())
    ]
    return tuple(msgspec.convert(cells, type=list[row], strict=False))  # type: ignore[valid-type]  # `row` is a type only when it runs


def json_lines(name: str, row: type[Row]) -> tuple[Row, ...]:
    """The rows of `data/<name>`, one JSON object a line. Raises msgspec.ValidationError."""
    return tuple(msgspec.json.Decoder(row).decode_lines(_text(name)))
