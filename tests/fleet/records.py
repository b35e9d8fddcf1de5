"""Every record of the fleet file, found by walking from the top."""

from __future__ import annotations

from plimsoll.fleet.shapes import ListShape, Record, RecordShape, fields_of
from plimsoll.fleet.types import Spec


def every_record(top: Record = Spec) -> list[Record]:
    found: list[Record] = [top]
    for record in found:
        for field in fields_of(record):
            shape = field.shape.item if isinstance(field.shape, ListShape) else field.shape
            if isinstance(shape, RecordShape) and shape.record not in found:
                found.append(shape.record)
    return found
