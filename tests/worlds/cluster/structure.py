"""Values against a schema of Kubernetes, strictly: what an API server refuses, unknown fields too.

One walker for both kinds of schema: the OpenAPI definitions of Kubernetes itself (references, a
type or null) and the structural schemas of CustomResourceDefinitions. Written from the rules of
`fieldValidation: Strict` and of apiextensions.k8s.io/v1; test_schemas_work.py holds it against
kubernetes-validate, which is somebody else's.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import re2

Schema = Mapping[str, Any]
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
# The regular expression that the API documents for quantities.
_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_IS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_KNOWN_ONLY = ("properties", "additionalProperties")


def refusals(
    node: Schema, value: Any, path: str, definitions: Mapping[str, Schema], *, crd: bool
) -> Iterator[str]:
    """What is wrong with a value.

    node         its schema
    path         of the value, for messages
    definitions  what references of the schema name
    crd          whether the schema is structural: then an object without `properties` has none
    """
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name == QUANTITY:
            yield from _quantity(value, path)
        else:
            yield from refusals(definitions[name], value, path, definitions, crd=crd)
        return
    if value is None:
        if not node.get("nullable"):
            yield f"{path}: null"
        return
    wrong = _type(node, value)
    if wrong:
        yield f"{path}: {wrong}"
        return
    yield from (f"{path}: {problem}" for problem in _scalar(node, value))
    yield from _combined(node, value, path, definitions, crd)
    if isinstance(value, dict):
        yield from _object(node, value, path, definitions, crd)
    elif isinstance(value, list):
        yield from _list(node, value, path, definitions, crd)


def _quantity(value: Any, path: str) -> Iterator[str]:
    fine = isinstance(value, int | float) and not isinstance(value, bool)
    if not fine and not (isinstance(value, str) and _QUANTITY.fullmatch(value)):
        yield f"{path}: {value!r} is no quantity"


def _type(node: Schema, value: Any) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "" if _IS["integer"](value) or isinstance(value, str) else "neither int nor string"
    wanted = node.get("type")
    names = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if not names or any(_IS[name](value) for name in names if name != "null"):
        return ""
    return f"{value!r} is no {'/'.join(name for name in names if name != 'null')}"


def _scalar(node: Schema, value: Any) -> Iterator[str]:
    if "enum" in node and value not in node["enum"]:
        yield f"{value!r} is none of {node['enum']}"
    if isinstance(value, str):
        yield from _text(node, value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(node, value)


def _text(node: Schema, value: str) -> Iterator[str]:
    if not node.get("minLength", 0) <= len(value) <= node.get("maxLength", len(value)):
        yield f"{value!r} is too short or too long"
    if "pattern" in node and not re2.search(node["pattern"], value):
        yield f"{value!r} does not match {node['pattern']}"
    if not _formatted(node.get("format", ""), value):
        yield f"{value!r} is no {node['format']}"


def _formatted(form: str, value: str) -> bool:
    try:
        if form == "date-time":
            datetime.fromisoformat(value)
        elif form == "byte":
            base64.b64decode(value, validate=True)
        elif form in {"ipv4", "ipv6"}:
            return ipaddress.ip_address(value).version == int(form[-1])
    except ValueError:
        return False
    return True


def _number(node: Schema, value: float) -> Iterator[str]:
    bits = {"int32": 31, "int64": 63}.get(node.get("format", ""))
    if bits and not -(2**bits) <= value < 2**bits:
        yield f"{value} does not fit in {node['format']}"
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and (value < low or (node.get("exclusiveMinimum") and value == low)):
        yield f"{value} is below {low}"
    if high is not None and (value > high or (node.get("exclusiveMaximum") and value == high)):
        yield f"{value} is above {high}"


def _combined(
    node: Schema, value: Any, path: str, definitions: Mapping[str, Schema], crd: bool
) -> Iterator[str]:
    def fits(inner: Schema) -> bool:
        # What combines does not declare fields, so it refuses none for being unknown.
        return not [*refusals({**inner, _OPEN: True}, value, path, definitions, crd=crd)]

    if "not" in node and fits(node["not"]):
        yield f"{path}: what must not be is"
    for word, least, most in (("anyOf", 1, None), ("oneOf", 1, 1), ("allOf", None, None)):
        if word not in node:
            continue
        count = sum(map(fits, node[word]))
        wanted = len(node[word]) if least is None else least
        if count < wanted or (most is not None and count > most):
            yield f"{path}: fits {count} of {word}"


_OPEN = "x-kubernetes-preserve-unknown-fields"


def _object(
    node: Schema, value: dict[str, Any], path: str, definitions: Mapping[str, Schema], crd: bool
) -> Iterator[str]:
    known, others = node.get("properties", {}), node.get("additionalProperties")
    closed = crd or any(word in node for word in _KNOWN_ONLY)
    if not node.get("minProperties", 0) <= len(value) <= node.get("maxProperties", len(value)):
        yield f"{path}: {len(value)} entries"
    for name in node.get("required", ()):
        if name not in value:
            yield f"{path}: `{name}` is missing"
    for name, inner in value.items():
        here = f"{path}.{name}"
        if not isinstance(name, str):
            yield f"{here}: a key must be a string"
        elif name in known:
            yield from refusals(known[name], inner, here, definitions, crd=crd)
        elif isinstance(others, Mapping):
            yield from refusals(others, inner, here, definitions, crd=crd)
        elif closed and not node.get(_OPEN) and others is not True:
            yield f"{here}: unknown field"


def _list(
    node: Schema, value: list[Any], path: str, definitions: Mapping[str, Schema], crd: bool
) -> Iterator[str]:
    if not node.get("minItems", 0) <= len(value) <= node.get("maxItems", len(value)):
        yield f"{path}: {len(value)} entries"
    for number, inner in enumerate(value if "items" in node else ()):
        yield from refusals(node["items"], inner, f"{path}[{number}]", definitions, crd=crd)
    keys = node.get("x-kubernetes-list-map-keys", ())
    kind = node.get("x-kubernetes-list-type")
    if kind == "set" or (kind == "map" and all(isinstance(inner, dict) for inner in value)):
        seen = [tuple(map(inner.get, keys)) if kind == "map" else inner for inner in value]
        for one in {repr(one) for one in seen if seen.count(one) > 1}:
            yield f"{path}: {one} is there twice"


def defaulted(node: Schema, value: Any) -> Any:
    """The value with the defaults of a structural schema filled in, as before CEL rules run."""
    if isinstance(value, list) and "items" in node:
        return [defaulted(node["items"], inner) for inner in value]
    if not isinstance(value, dict):
        return value
    found = dict(value)
    known = node.get("properties", {})
    for name, inner in known.items():
        if name not in found and "default" in inner:
            found[name] = inner["default"]
        if name in found:
            found[name] = defaulted(inner, found[name])
    others = node.get("additionalProperties")
    if isinstance(others, Mapping):
        found |= {k: defaulted(others, v) for k, v in found.items() if k not in known}
    return found
