from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml

from plimsoll.fleet import crd
from plimsoll.fleet.header import SERVER_FIELDS
from tests.fleet import structural

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
ROOT = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
# The API server's limits for estimated cost, per rule and per definition.
RULE_LIMIT, TOTAL_LIMIT = 10_000_000, 100_000_000
BIGGEST_LIST_IN_A_RULE = 16  # scaling.schedules, walked by `all`


def test_an_api_server_accepts_the_definition() -> None:
    assert structural.problems(crd()) == []


BREAKERS: dict[str, dict[str, Any]] = {
    "no type": {"description": "x"},
    "keywords": {"type": "string", "$ref": "#/x"},
    "exclude each other": {
        "type": "object",
        "properties": {},
        "additionalProperties": {"type": "string"},
    },
    "anyOf is not used": {"type": "string", "anyOf": [{"type": "string"}]},
    "int-or-string": {"x-kubernetes-int-or-string": True, "type": "string"},
    "is not valid": {"type": "integer", "default": "x"},
    "unknown fields": {"type": "object", "default": {"a": 1}},
    "must be required": {
        "type": "array",
        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    },
    "a set holds scalars": {
        "type": "array",
        "items": {"type": "object"},
        "x-kubernetes-list-type": "set",
    },
}


@pytest.mark.parametrize("problem", BREAKERS)
def test_the_check_itself_finds(problem: str) -> None:
    broken = copy.deepcopy(crd())
    root = broken["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    root["properties"]["spec"]["properties"]["extra"] = BREAKERS[problem]
    assert any(problem in one for one in structural.problems(broken))


def test_metadata_restricts_nothing_but_the_name() -> None:
    assert set(ROOT["properties"]["metadata"]["properties"]) == {"name"}


def test_status_is_a_subresource_that_keeps_what_it_is_given() -> None:
    assert crd()["spec"]["versions"][0]["subresources"] == {"status": {}}
    status = {"ready": 1, "conditions": [], "memory": {"any": {"thing": [1]}}}
    assert structural.pruned(ROOT, {"status": status}) == {"status": status}


def test_every_list_and_table_is_bounded() -> None:
    for path, node, _ in structural.walk(ROOT["properties"]["spec"]):
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path
        if node.get("type") == "string":
            assert "maxLength" in node or "enum" in node, path


def test_rules_stay_below_the_cost_that_an_api_server_allows() -> None:
    total = 0
    environment = celpy.Environment()
    for path, node, count in structural.walk(ROOT):
        for rule in node.get("x-kubernetes-validations", ()):
            tree = environment.compile(rule["rule"])
            operations = sum(1 for _ in tree.iter_subtrees())
            walked = BIGGEST_LIST_IN_A_RULE if ".all(" in rule["rule"] else 1
            cost = operations * walked * count
            assert cost < RULE_LIMIT, (path, rule["rule"], cost)
            assert ".matches(" not in rule["rule"], "its cost grows with the text"
            total += cost
    assert 0 < total < TOTAL_LIMIT


def test_the_definition_fits_into_an_object_and_into_kubectl_s_annotation() -> None:
    assert len(json.dumps(crd())) < 262_144 < 2**20


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_api_server_accepts_the_examples_and_prunes_nothing(file: Path) -> None:
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert structural.errors(ROOT, found) == []
    kept = structural.pruned(ROOT, found)
    assert kept["spec"] == found["spec"]
    filled = structural.defaulted(ROOT, found)
    assert structural.errors(ROOT, filled) == []
    assert filled != found


def test_server_fields_are_those_of_object_metadata() -> None:
    assert {"uid", "managedFields", "resourceVersion", "annotations"} <= set(SERVER_FIELDS)
