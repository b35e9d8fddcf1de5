"""A Fleet back into the document that says it: whatever is a default is left out."""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.fleet.header import Metadata
from plimsoll.fleet.kinds import Kind
from plimsoll.fleet.shapes import ListShape, RecordShape, Shape, TableShape, fields_of
from plimsoll.fleet.types import API_VERSION, KIND, Fleet, Spec


def to_document(fleet: Fleet) -> dict[str, Any]:
    """One Fleet document as plain dicts and lists; load_fleet reads the same fleet from it."""
    metadata = Metadata(name=fleet.name, namespace=fleet.namespace)
    spec = Spec(
        models=fleet.models,
        pools=fleet.pools,
        providers=fleet.providers,
        tenants=fleet.tenants,
        gateway=fleet.gateway,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": _record(metadata),
        "spec": _record(spec),
    }


def _record(record: msgspec.Struct) -> dict[str, Any]:
    found = {}
    for field in fields_of(type(record)):
        value = getattr(record, field.attribute)
        if field.required or value != field.default:
            found[field.name] = encode(field.shape, value)
    return found


def encode(shape: Shape, value: Any) -> Any:
    """A value of some shape as plain data."""
    if isinstance(shape, RecordShape):
        return _record(value)
    if isinstance(shape, ListShape):
        return [encode(shape.item, item) for item in value]
    if isinstance(shape, TableShape):
        return dict(value)
    assert isinstance(shape, Kind)
    return shape.write(value)
