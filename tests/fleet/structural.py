"""What an API server checks of a CustomResourceDefinition, and what it does with an object.

Written from the rules of apiextensions.k8s.io/v1: structural schemas, list and map types,
defaulting, pruning, metadata, names.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import re2
from jsonschema import Draft202012Validator

Schema = dict[str, Any]

VALIDATIONS = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
    "pattern", "minItems", "maxItems", "minProperties", "maxProperties", "enum", "format",
    "required", "multipleOf", "allOf", "anyOf", "oneOf", "not",
}  # fmt: skip
STRUCTURE = {
    "type", "description", "title", "default", "nullable", "properties", "items",
    "additionalProperties", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
    "x-kubernetes-validations", "x-kubernetes-embedded-resource",
}  # fmt: skip
TYPES = {"object", "array", "string", "integer", "number", "boolean"}
SCALARS = TYPES - {"object", "array"}
INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


def walk(schema: Schema, path: str = "", count: int = 1) -> Iterator[tuple[str, Schema, int]]:
    """Every schema node with its path and how often it can occur in one object."""
    yield path, schema, count
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}", count)
    if isinstance(schema.get("items"), dict):
        yield from walk(schema["items"], f"{path}[]", count * schema.get("maxItems", 10**9))
    if isinstance(schema.get("additionalProperties"), dict):
        inner = schema["additionalProperties"]
        yield from walk(inner, f"{path}{{}}", count * schema.get("maxProperties", 10**9))


def problems(definition: Schema) -> list[str]:
    """What an API server would refuse in a CustomResourceDefinition."""
    found = list(_names(definition))
    for version in definition["spec"]["versions"]:
        root = version["schema"]["openAPIV3Schema"]
        found += _root(root)
        for path, node, _ in walk(root):
            found += [f"{path}: {problem}" for problem in _node(path, node)]
        for column in version["additionalPrinterColumns"]:
            if column["type"] not in {"integer", "number", "string", "boolean", "date"}:
                found.append(f"column {column['name']}: type")
            if not column["jsonPath"].startswith("."):
                found.append(f"column {column['name']}: path")
    return found


def _names(definition: Schema) -> Iterator[str]:
    spec, names = definition["spec"], definition["spec"]["names"]
    if definition["metadata"]["name"] != f"{names['plural']}.{spec['group']}":
        yield "metadata.name must be plural.group"
    if "." not in spec["group"]:
        yield "group must be a domain"
    for name in (names["plural"], names["singular"], *names["shortNames"], *names["categories"]):
        if not DNS_LABEL.fullmatch(name):
            yield f"{name} is no DNS label"
    if names["kind"] == names["listKind"] or not DNS_LABEL.fullmatch(names["kind"].lower()):
        yield "kind and listKind must differ and be DNS labels"
    if len({names["plural"], names["singular"], *names["shortNames"]}) < 2 + len(
        names["shortNames"]
    ):
        yield "names must differ"
    versions = spec["versions"]
    if sum(version["storage"] for version in versions) != 1:
        yield "exactly one version is stored"
    for version in versions:
        if not re.fullmatch(r"v[0-9]+((alpha|beta)[0-9]+)?", version["name"]):
            yield f"version {version['name']}"
    if spec["scope"] not in {"Namespaced", "Cluster"}:
        yield "scope"


def _root(root: Schema) -> Iterator[str]:
    if root.get("type") != "object" or "x-kubernetes-list-type" in root:
        yield "the root must be an object"
    properties = root["properties"]
    if properties["apiVersion"] != {"type": "string"} or properties["kind"] != {"type": "string"}:
        yield "apiVersion and kind must be bare strings"
    metadata = properties["metadata"]
    if set(metadata) - {"type", "properties"} or set(metadata.get("properties", {})) - {
        "name",
        "generateName",
    }:
        yield "metadata may restrict name and generateName only"


def _node(path: str, node: Schema) -> Iterator[str]:
    unknown = set(node) - STRUCTURE - VALIDATIONS
    if unknown:
        yield f"keywords {sorted(unknown)}"
    yield from _type(node)
    if "properties" in node and "additionalProperties" in node:
        yield "properties and additionalProperties exclude each other"
    if node.get("additionalProperties") in (True, False):
        yield "additionalProperties must be a schema"
    if set(node.get("required", ())) - set(node.get("properties", {})):
        yield "required names no property"
    if "pattern" in node:
        re2.compile(node["pattern"])  # the API server's regular expressions
    yield from _collection(node)
    if "default" in node:
        yield from _default(path, node)
    for rule in node.get("x-kubernetes-validations", ()):
        if not rule["rule"].strip() or "\n" in rule["message"] or len(rule["message"]) > 2048:
            yield f"rule {rule}"


def _type(node: Schema) -> Iterator[str]:
    if node.get("x-kubernetes-int-or-string"):
        if "type" in node or node.get("anyOf") != INT_OR_STRING:
            yield "int-or-string has no type, and the usual anyOf"
        return
    if node.get("type") not in TYPES:
        yield "no type"
    for word in ("allOf", "anyOf", "oneOf", "not"):
        if word in node:
            yield f"{word} is not used here"


def _collection(node: Schema) -> Iterator[str]:
    kind = node.get("type")
    if kind == "array" and not isinstance(node.get("items"), dict):
        yield "an array needs items"
    if kind != "array" and {"items", "x-kubernetes-list-type"} & set(node):
        yield "items and list types are for arrays"
    if kind != "object" and {"properties", "additionalProperties", "required"} & set(node):
        yield "properties are for objects"
    listed = node.get("x-kubernetes-list-type")
    if listed not in {None, "atomic", "set", "map"}:
        yield f"list type {listed}"
    if listed == "set" and node["items"].get("type") not in SCALARS:
        yield "a set holds scalars"
    keys = node.get("x-kubernetes-list-map-keys", [])
    if (listed == "map") != bool(keys) or len(set(keys)) != len(keys):
        yield "list type map and its keys go together"
    for key in keys:
        field = node["items"].get("properties", {}).get(key, {})
        if field.get("type") not in SCALARS:
            yield f"key {key} is no scalar"
        if key not in node["items"].get("required", ()) and "default" not in field:
            yield f"key {key} must be required or have a default"


def _default(path: str, node: Schema) -> Iterator[str]:
    if path.startswith(".metadata") or path in {"", ".apiVersion", ".kind"}:
        yield "no default is allowed here"
    if errors(node, node["default"]):
        yield f"default {node['default']!r} is not valid"
    if pruned(node, node["default"]) != node["default"]:
        yield "the default has unknown fields"


def to_json_schema(node: Schema) -> Schema:
    """The same schema in draft 2020-12."""
    found = {
        key: value
        for key, value in node.items()
        if key in VALIDATIONS | {"type"} and key not in {"format", "exclusiveMinimum"}
    }
    if node.get("exclusiveMinimum"):
        found["exclusiveMinimum"] = found.pop("minimum")
    if "properties" in node:
        found["properties"] = {k: to_json_schema(v) for k, v in node["properties"].items()}
    for word in ("items", "additionalProperties"):
        if word in node:
            found[word] = to_json_schema(node[word])
    return found


def errors(node: Schema, value: Any) -> list[str]:
    """What an API server would refuse in a value, CEL rules aside."""
    checker = Draft202012Validator(to_json_schema(node))
    found = [f"{e.json_path}: {e.message}" for e in checker.iter_errors(value)]
    return found + list(_twice(node, value, ""))


def _twice(node: Schema, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            child = node.get("properties", {}).get(name)
            if child is not None:
                yield from _twice(child, inner, f"{path}.{name}")
    if not isinstance(value, list) or "items" not in node:
        return
    keys = node.get("x-kubernetes-list-map-keys", [])
    kind = node.get("x-kubernetes-list-type")
    seen = [
        tuple(v.get(k) for k in keys) if kind == "map" and isinstance(v, dict) else v for v in value
    ]
    if kind in {"map", "set"} and any(seen.count(one) > 1 for one in seen):
        yield f"{path}: an entry is there twice"
    for inner in value:
        yield from _twice(node["items"], inner, f"{path}[]")


def pruned(node: Schema, value: Any) -> Any:
    """The value without fields that the schema does not know."""
    if isinstance(value, list) and "items" in node:
        return [pruned(node["items"], inner) for inner in value]
    if not isinstance(value, dict) or node.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(node.get("additionalProperties"), dict):
        return {k: pruned(node["additionalProperties"], v) for k, v in value.items()}
    known = node.get("properties", {})
    return {k: pruned(known[k], v) for k, v in value.items() if k in known}


def defaulted(node: Schema, value: Any) -> Any:
    """The value with the schema's defaults filled in."""
    if isinstance(value, list) and "items" in node:
        return [defaulted(node["items"], inner) for inner in value]
    if not isinstance(value, dict):
        return value
    found = dict(value)
    for name, inner in node.get("properties", {}).items():
        if name in found:
            found[name] = defaulted(inner, found[name])
        elif "default" in inner:
            found[name] = copy.deepcopy(inner["default"])
    return found
