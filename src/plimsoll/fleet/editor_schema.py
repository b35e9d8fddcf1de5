"""The fleet file as JSON Schema (draft 2020-12), made from the types."""

from __future__ import annotations

from typing import Any

from plimsoll.fleet.encode import encode
from plimsoll.fleet.header import SERVER_FIELDS, Metadata
from plimsoll.fleet.kinds import Kind, Schema
from plimsoll.fleet.shapes import (
    Field,
    ListShape,
    Record,
    RecordShape,
    Shape,
    TableShape,
    fields_of,
    summary,
)
from plimsoll.fleet.types import API_VERSION, GROUP, KIND, VERSION, Spec


def json_schema() -> dict[str, Any]:
    """JSON Schema of one Fleet document: every file that load_fleet accepts is valid under it.

    Rules between fields and references between parts are left to load_fleet.
    """
    definitions: dict[str, Schema] = {}
    metadata = _record(Metadata, definitions)
    metadata["properties"] |= dict.fromkeys(SERVER_FIELDS, True)
    spec = _reference(Spec, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{GROUP}/schemas/fleet-{VERSION}.json",
        "title": "Plimsoll fleet",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": KIND},
            "metadata": metadata,
            "spec": spec,
            "status": True,
        },
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def _reference(record: Record, definitions: dict[str, Schema]) -> Schema:
    name = record.__name__
    if name not in definitions:
        definitions[name] = {}  # holds the place while its own fields are read
        definitions[name] = _record(record, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _record(record: Record, definitions: dict[str, Schema]) -> Schema:
    fields = fields_of(record)
    found: Schema = {
        "type": "object",
        "description": summary(record),
        "properties": {field.name: _field(field, definitions) for field in fields},
        "additionalProperties": False,
    }
    required = [field.name for field in fields if field.required]
    return found | ({"required": required} if required else {})


def _field(field: Field, definitions: dict[str, Schema]) -> Schema:
    found = _shape(field.shape, definitions) | {"description": field.description}
    default = written_default(field)
    return found if default is None else found | {"default": default}


def _shape(shape: Shape, definitions: dict[str, Schema]) -> Schema:
    if isinstance(shape, RecordShape):
        return _reference(shape.record, definitions)
    if isinstance(shape, ListShape):
        found: Schema = {"type": "array", "items": _shape(shape.item, definitions)}
        found["maxItems"] = shape.bounds.most
        if shape.bounds.least:
            found["minItems"] = shape.bounds.least
        if shape.bounds.distinct and isinstance(shape.item, Kind):
            found["uniqueItems"] = True
        return found
    if isinstance(shape, TableShape):
        return {
            "type": "object",
            "propertyNames": shape.key.schema(),
            "additionalProperties": shape.value.schema(),
            "maxProperties": shape.bounds.most,
        }
    return shape.schema()


def written_default(field: Field) -> Any:
    """The default as one would write it; None where there is none, or it is no scalar."""
    if field.required or field.derived is not None or not isinstance(field.shape, Kind):
        return None
    if field.default is None:
        # only a kind that knows `auto` has a default of None that can be written
        return "auto" if _knows_auto(field.shape) else None
    return encode(field.shape, field.default)


def _knows_auto(kind: Kind) -> bool:
    return kind.label().startswith("`auto` or")
