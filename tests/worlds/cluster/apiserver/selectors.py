"""Label and field selectors, as the API server reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Match = Callable[[dict[str, Any]], bool]
_SET = re.compile(r"^\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*$")


def selector(labels: str, fields: str) -> Match | None:
    """Whether an object is selected; None: every one is."""
    rules = [_label_rule(part) for part in re.split(r",(?![^(]*\))", labels) if part.strip()]
    rules += [_field_rule(part) for part in fields.split(",") if part.strip()]
    if not rules:
        return None
    return lambda found: all(rule(found) for rule in rules)


def _labels(found: dict[str, Any]) -> dict[str, str]:
    return found["metadata"].get("labels") or {}


def _label_rule(text: str) -> Match:
    if match := _SET.match(text):
        key, word, values = match[1], match[2], {v.strip() for v in match[3].split(",")}
        if word == "in":
            return lambda found: _labels(found).get(key) in values
        return lambda found: _labels(found).get(key) not in values
    text = text.strip()
    for sign in ("!=", "==", "="):
        key, found_sign, value = text.partition(sign)
        if found_sign:
            same = sign != "!="
            return lambda found: (_labels(found).get(key.strip()) == value.strip()) is same
    if text.startswith("!"):
        return lambda found: text[1:] not in _labels(found)
    return lambda found: text in _labels(found)


def _field_rule(text: str) -> Match:
    sign = "!=" if "!=" in text else "==" if "==" in text else "="
    path, _, value = text.partition(sign)

    def rule(found: dict[str, Any]) -> bool:
        here: Any = found
        for name in path.strip().split("."):
            here = here.get(name) if isinstance(here, dict) else None
        return (str(here if here is not None else "") == value.strip()) is (sign != "!=")

    return rule
