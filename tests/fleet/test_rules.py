from __future__ import annotations

import json
from functools import cache
from random import Random
from typing import Any

import celpy
import pytest

from plimsoll.fleet.branches import Branch, BrokenFieldError, View
from plimsoll.fleet.custom_resource import _record as structural_record
from plimsoll.fleet.nodes import parse, plain
from plimsoll.fleet.problems import Problems
from plimsoll.fleet.reading import Reader
from plimsoll.fleet.rules import RULES, Rule
from plimsoll.fleet.shapes import field_named
from plimsoll.fleet.syntax import Mark
from plimsoll.fleet.types import Document
from tests.fleet.documents import record
from tests.fleet.structural import defaulted

MOST_TRIES = 3000


def read(rule: Rule, written: dict[str, Any]) -> tuple[Branch | None, list[str]]:
    problems = Problems()
    nodes, _ = parse(Document(file="f", text=json.dumps(written)))
    branch = Reader("f", problems).record(rule.record, nodes[0], "", Mark(1, 1))
    return branch, [one.code for one in problems.found]


@cache
def program(rule: str) -> Any:
    environment = celpy.Environment()
    return environment.program(environment.compile(rule))


def in_cel(rule: Rule, written: dict[str, Any]) -> bool:
    """What an API server finds; it takes a whole number in a `number` field for a double."""
    fields = structural_record(rule.record)["properties"]
    written = {
        name: float(value) if fields[name].get("type") == "number" else value
        for name, value in written.items()
    }
    return bool(program(rule.cel or "true").evaluate({"self": celpy.json_to_cel(written)}))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.record.__name__}-{rule.at}")
def test_python_and_cel_agree_and_both_answers_occur(rule: Rule) -> None:
    rng = Random(7)
    schema = structural_record(rule.record)
    answers: dict[bool, int] = {True: 0, False: 0}
    for _ in range(MOST_TRIES):
        written = record(rule.record, rng, 0.0, share=0.5, tidy=False)
        branch, codes = read(rule, written)
        if branch is None or any(code != "fleet.conflict" for code in codes):
            continue
        try:
            holds = bool(rule.holds(View(branch)))
        except BrokenFieldError:
            continue
        answers[holds] += 1
        if rule.cel is not None and answers[holds] <= 12:
            assert in_cel(rule, written) is holds, written
            assert in_cel(rule, defaulted(schema, written)) is holds, written
        if min(answers.values()) >= 6:
            break
    assert min(answers.values()) > 0, answers


def test_a_rule_points_at_a_field_of_its_record() -> None:
    for rule in RULES:
        assert field_named(rule.record, rule.at)


def test_a_rule_that_looks_at_a_broken_field_is_silent() -> None:
    nodes, _ = parse(Document(file="f", text="{min: x, max: 1}"))
    problems = Problems()
    rule = next(rule for rule in RULES if rule.record.__name__ == "Scaling")
    Reader("f", problems).record(rule.record, nodes[0], "scaling", Mark(1, 1))
    assert [one.path for one in problems.found] == ["scaling.min"]
    assert plain(nodes[0]) == {"min": "x", "max": 1}
