"""Validation rules of CustomResourceDefinitions (CEL), evaluated with cel-python.

A rule that cannot be evaluated is a problem of the object, as it is for an API server; so nothing
that the library lacks is passed over. test_schemas_work.py evaluates every rule that there is.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

import celpy
import re2
from celpy import celtypes

Schema = Mapping[str, Any]
NOT_EVALUATED = "rule could not be evaluated"
ERRORS = (celpy.CELEvalError, celpy.CELParseError, TypeError, NotImplementedError)
# Fields whose names are words of CEL are written with underscores around them in rules.
_ESCAPED = {
    "namespace", "in", "true", "false", "null", "as", "break", "const", "continue", "else", "for",
    "function", "if", "import", "let", "loop", "package", "return", "var", "void", "while",
}  # fmt: skip
_NAMES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))


def broken_rules(node: Schema, value: Any, path: str) -> Iterator[str]:
    """The rules that a value with its defaults breaks, here and inside it."""
    if value is None:
        return
    yield from broken_rules_here(node, value, path)
    if isinstance(value, list) and "items" in node:
        for number, inner in enumerate(value):
            yield from broken_rules(node["items"], inner, f"{path}[{number}]")
    elif isinstance(value, dict):
        others = node.get("additionalProperties")
        for name, inner in value.items():
            child = node.get("properties", {}).get(name, others)
            if isinstance(child, Mapping):
                yield from broken_rules(child, inner, f"{path}.{name}")


def broken_rules_here(node: Schema, value: Any, path: str) -> Iterator[str]:
    """The rules of this node alone that a value breaks.

    A rule about a change (`oldSelf`) has no meaning for a new object and is left out.
    """
    for rule in node.get("x-kubernetes-validations", ()):
        text = rule["rule"]
        if re.search(r"\boldSelf\b", text):
            continue
        try:
            holds = bool(_program(text).evaluate({"self": typed(node, value)}))
        except ERRORS as error:
            yield f"{path}: {NOT_EVALUATED}: {text}: {error}"
            continue
        if not holds:
            yield f"{path}: {rule.get('message') or text}"


def typed(node: Schema, value: Any) -> Any:
    """A value in CEL's types, the names of its fields as rules write them."""
    if isinstance(value, dict):
        known, others = node.get("properties", {}), node.get("additionalProperties")
        return celtypes.MapType(
            {
                celtypes.StringType(_field(name) if name in known else name): typed(
                    known.get(name, others if isinstance(others, Mapping) else {}), inner
                )
                for name, inner in value.items()
            }
        )
    if isinstance(value, list):
        return celtypes.ListType([typed(node.get("items", {}), inner) for inner in value])
    if node.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return celtypes.DoubleType(value)
    return celpy.json_to_cel(value)


def _field(name: str) -> str:
    if name in _ESCAPED:
        return f"__{name}__"
    for char, written in _NAMES:
        name = name.replace(char, written)
    return name


def _find(text: str, pattern: str) -> celtypes.StringType:
    found = re2.search(str(pattern), str(text))
    return celtypes.StringType(found.group(0) if found else "")


def _split(text: str, separator: str) -> celtypes.ListType:
    return celtypes.ListType([celtypes.StringType(part) for part in str(text).split(separator)])


def _substring(text: str, start: int, end: int | None = None) -> celtypes.StringType:
    return celtypes.StringType(str(text)[int(start) : None if end is None else int(end)])


def _is_ip(text: str) -> celtypes.BoolType:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return celtypes.BoolType(False)
    return celtypes.BoolType(True)


# Kubernetes' own additions to CEL that the rules in ../shared/crds call.
FUNCTIONS = {"find": _find, "split": _split, "substring": _substring, "isIP": _is_ip}


@functools.cache
def _environment() -> celpy.Environment:
    return celpy.Environment()


@functools.cache
def _program(rule: str) -> Any:
    environment = _environment()
    return environment.program(environment.compile(rule), functions=FUNCTIONS)
