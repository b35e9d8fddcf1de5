"""`PLIMSOLL_REGENERATE=1 pytest tests/fleet/test_reference.py` writes the page anew."""

from __future__ import annotations

import os
from pathlib import Path

from plimsoll.fleet import reference
from plimsoll.fleet.shapes import Record, RecordShape, fields_of, summary
from plimsoll.fleet.types import Spec
from tests.fleet.records import every_record

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "fleet.md"


def test_the_page_says_what_the_types_say() -> None:
    if os.environ.get("PLIMSOLL_REGENERATE"):
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(reference(), encoding="utf-8")
        return
    assert PAGE.read_text(encoding="utf-8") == reference(), "regenerate it, see above"


def test_every_field_of_every_record_is_described() -> None:
    bare = [
        f"{r.__name__}.{f.name}" for r in every_record() for f in fields_of(r) if not f.description
    ]
    assert bare == []


def test_every_record_says_what_it_is() -> None:
    assert [r.__name__ for r in every_record() if not summary(r)] == []


def test_a_docstring_describes_no_field_that_is_not_there() -> None:
    for record in every_record():
        names = {field.name for field in fields_of(record)}
        lines = (record.__doc__ or "").partition("\n\n")[2].splitlines()
        entries = {
            line.split()[0] for line in lines if line.startswith("    ") and line[4:5].strip()
        }
        assert entries <= names, record.__name__


def test_records_are_found_below_lists_too() -> None:
    names = {record.__name__ for record in every_record()}
    assert {"Spec", "Model", "Schedule", "MigSlice", "Prices", "Budget", "Tls"} <= names
    assert isinstance(fields_of(Spec)[-1].shape, RecordShape)
    assert Record is type(Spec) or isinstance(Spec, type)
