"""The fleet file as a Kubernetes CustomResourceDefinition, made from the types.

A structural schema: a type everywhere, no references, bounds on everything that a rule walks over.
Fields say the same words as the JSON Schema; rules between fields are those of rules.py in CEL.
"""

from __future__ import annotations

from typing import Any

from plimsoll.fleet.editor_schema import written_default
from plimsoll.fleet.header import Metadata
from plimsoll.fleet.kinds import Kind, Schema
from plimsoll.fleet.rules import rules_of
from plimsoll.fleet.shapes import (
    Field,
    ListShape,
    Record,
    RecordShape,
    Shape,
    TableShape,
    fields_of,
    file_name,
    summary,
)
from plimsoll.fleet.types import GROUP, KIND, VERSION, Spec

PLURAL = "fleets"
_COLUMNS = (
    ("Models", "integer", ".status.models", "Models of the fleet"),
    ("Ready", "integer", ".status.ready", "Models with a ready replica"),
    ("Status", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is or is not"),
    ("Age", "date", ".metadata.creationTimestamp", "Since when the object exists"),
)


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition `fleets.plimsoll.dev`, ready to apply."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["flt"],
                "categories": ["all"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root()},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": text}
            for name, kind, path, text in _COLUMNS
        ],
    }


def _root() -> Schema:
    metadata = {field.name: field for field in fields_of(Metadata)}
    name = metadata["name"].shape
    assert isinstance(name, Kind)
    return {
        "type": "object",
        "description": "Self-hosted LLM inference: models, pools, providers, tenants and gateway.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name.structural()}},
            "spec": _record(Spec),
            "status": _status(),
        },
    }


def _status() -> Schema:
    condition = {
        "type": "object",
        "required": ["type", "status"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "reason": {"type": "string", "maxLength": 1024},
            "message": {"type": "string", "maxLength": 32768},
        },
    }
    return {
        "type": "object",
        "description": "What is; written by Plimsoll's operator, never by hand.",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "models": {"type": "integer", "format": "int32", "minimum": 0},
            "ready": {"type": "integer", "format": "int32", "minimum": 0},
            "conditions": {
                "type": "array",
                "items": condition,
                "maxItems": 16,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        },
    }


def _record(record: Record) -> Schema:
    fields = fields_of(record)
    found: Schema = {
        "type": "object",
        "description": summary(record),
        "properties": {field.name: _field(field) for field in fields},
    }
    required = [field.name for field in fields if field.required]
    if required:
        found["required"] = required
    rules = [
        {"rule": rule.cel, "message": _message(rule.at, rule.message, rule.hint)}
        for rule in rules_of(record)
        if rule.cel is not None
    ]
    return found | ({"x-kubernetes-validations": rules} if rules else {})


def _message(attribute: str, message: str, hint: str | None) -> str:
    return f"{file_name(attribute)}: {message}" + (f" ({hint})" if hint else "")


def _field(field: Field) -> Schema:
    found = _shape(field.shape) | {"description": field.description}
    default = written_default(field)
    return found if default is None else found | {"default": default}


def _shape(shape: Shape) -> Schema:
    if isinstance(shape, RecordShape):
        return _record(shape.record)
    if isinstance(shape, ListShape):
        return _list(shape)
    if isinstance(shape, TableShape):
        return {
            "type": "object",
            "additionalProperties": shape.value.structural(),
            "maxProperties": shape.bounds.most,
        }
    return shape.structural()


def _list(shape: ListShape) -> Schema:
    bounds = shape.bounds
    found: Schema = {"type": "array", "items": _shape(shape.item), "maxItems": bounds.most}
    if bounds.least:
        found["minItems"] = bounds.least
    if bounds.key is not None:
        return found | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [bounds.key]}
    kind = "set" if bounds.distinct and isinstance(shape.item, Kind) else "atomic"
    return found | {"x-kubernetes-list-type": kind}
