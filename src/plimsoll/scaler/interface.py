"""KEDA's external scaler as protocol buffers: the messages, and the calls by name.

Described from KEDA 2.21's interface (package externalscaler): names, numbers and types of fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plimsoll.errors import MissingExtra

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as error:
    raise MissingExtra(
        "the scaler needs gRPC and protocol buffers",
        hint="install them with `pip install 'plimsoll[scaler]'`",
    ) from error

PACKAGE = "externalscaler"
SERVICE = f"{PACKAGE}.ExternalScaler"

_FIELD = descriptor_pb2.FieldDescriptorProto
_MESSAGES: Mapping[str, tuple[tuple[str, int, str, bool], ...]] = {
    "ScaledObjectRef": (
        ("name", 1, "string", False),
        ("namespace", 2, "string", False),
        ("scalerMetadata", 3, "ScalerMetadataEntry", True),
    ),
    "IsActiveResponse": (("result", 1, "bool", False),),
    "MetricSpec": (
        ("metricName", 1, "string", False),
        ("targetSize", 2, "int64", False),
        ("targetSizeFloat", 3, "double", False),
    ),
    "GetMetricSpecResponse": (("metricSpecs", 1, "MetricSpec", True),),
    "GetMetricsRequest": (
        ("scaledObjectRef", 1, "ScaledObjectRef", False),
        ("metricName", 2, "string", False),
    ),
    "MetricValue": (
        ("metricName", 1, "string", False),
        ("metricValue", 2, "int64", False),
        ("metricValueFloat", 3, "double", False),
    ),
    "GetMetricsResponse": (("metricValues", 1, "MetricValue", True),),
}
"""Of each message: its fields as name, number, type, and whether it repeats."""

_TYPES = {
    "string": _FIELD.TYPE_STRING,
    "bool": _FIELD.TYPE_BOOL,
    "int64": _FIELD.TYPE_INT64,
    "double": _FIELD.TYPE_DOUBLE,
}
_MAP = "ScalerMetadataEntry"


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="plimsoll/scaler/externalscaler.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add(message, name, field)
    return file


def _add(message: Any, of: str, field: tuple[str, int, str, bool]) -> None:
    name, number, kind, repeats = field
    added = message.field.add(
        name=name,
        number=number,
        label=_FIELD.LABEL_REPEATED if repeats else _FIELD.LABEL_OPTIONAL,
        json_name=name,
    )
    if kind in _TYPES:
        added.type = _TYPES[kind]
        return
    added.type = _FIELD.TYPE_MESSAGE
    added.type_name = f".{PACKAGE}.{kind}"
    if kind == _MAP:
        # On the wire a map is a list of pairs.
        added.type_name = f".{PACKAGE}.{of}.{_MAP}"
        entry = message.nested_type.add(name=_MAP)
        entry.options.map_entry = True
        for key, place in (("key", 1), ("value", 2)):
            _add(entry, _MAP, (key, place, "string", False))


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_described())


def _class(name: str) -> Any:
    descriptor = _pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
    return message_factory.GetMessageClass(descriptor)


ScaledObjectRef: Any = _class("ScaledObjectRef")
IsActiveResponse: Any = _class("IsActiveResponse")
MetricSpec: Any = _class("MetricSpec")
GetMetricSpecResponse: Any = _class("GetMetricSpecResponse")
GetMetricsRequest: Any = _class("GetMetricsRequest")
MetricValue: Any = _class("MetricValue")
GetMetricsResponse: Any = _class("GetMetricsResponse")

CALLS: Mapping[str, tuple[Any, Any, bool]] = {
    "IsActive": (ScaledObjectRef, IsActiveResponse, False),
    "StreamIsActive": (ScaledObjectRef, IsActiveResponse, True),
    "GetMetricSpec": (ScaledObjectRef, GetMetricSpecResponse, False),
    "GetMetrics": (GetMetricsRequest, GetMetricsResponse, False),
    "StreamMetricSpec": (ScaledObjectRef, GetMetricSpecResponse, True),
}
"""Each call: what it takes, what it answers, and whether it answers again and again."""
