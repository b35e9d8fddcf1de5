"""Whatever is in the file: a Fleet or a FleetError, never a traceback; 10,500 documents."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from plimsoll.errors import FleetError
from plimsoll.fleet import Document, Fleet, crd, json_schema, load_fleet, to_document
from plimsoll.fleet.nodes import parse, plain
from tests.fleet import structural
from tests.fleet.documents import JUNK, document

SCHEMA = Draft202012Validator(json_schema())
ROOT = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
STRUCTURAL = Draft202012Validator(structural.to_json_schema(ROOT))
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.yaml"))
TEXTS = [file.read_text(encoding="utf-8") for file in EXAMPLES]
SMALL = min(TEXTS, key=len)
SEEDS = st.integers(min_value=0, max_value=2**48)


def many(examples: int) -> Any:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def accepted(text: str | bytes) -> Fleet | None:
    """The fleet of a document, or None after a FleetError with a usable place."""
    try:
        return load_fleet([Document(file="f.yaml", text=text)])
    except FleetError as error:
        found = error.diagnostics
    assert found
    assert all(one.line >= 1 and one.column >= 1 and one.message for one in found)
    return None


def check(text: str | bytes) -> bool:
    """Hold every promise about one document; says whether it was accepted."""
    fleet = accepted(text)
    if fleet is None:
        return False
    nodes, _ = parse(Document(file="f.yaml", text=text))
    for node in nodes:
        assert not list(SCHEMA.iter_errors(plain(node)))
        assert not list(STRUCTURAL.iter_errors(plain(node)))
    again = to_document(fleet)
    assert not list(SCHEMA.iter_errors(again))
    assert load_fleet([Document(file="again.yaml", text=json.dumps(again))]) == fleet
    return True


@cache
def right_documents() -> list[Any]:
    """Documents that are accepted: the examples that stand alone, and made ones."""
    found = [yaml.safe_load(text) for text in TEXTS if accepted(text)]
    return found + [made for made in map(document, range(600)) if accepted(json.dumps(made))]


# The counts below show that both sides are reached; they are far under what is measured.
counts = {"made": 0, "made accepted": 0, "mutated": 0, "mutated accepted": 0}


@pytest.mark.slow
@many(5500)
@given(SEEDS)
def test_made_documents(seed: int) -> None:
    made = document(seed)
    rng = Random(seed)
    if rng.random() < 0.5:
        text = json.dumps(made, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 2, "\t"]))
    else:
        writable = json.loads(json.dumps(made).replace("\\ud800", "?"))
        text = yaml.dump(writable, Dumper=DUMPER, allow_unicode=True, sort_keys=False)
    counts["made"] += 1
    counts["made accepted"] += check(text)


@pytest.mark.slow
@many(2500)
@given(SEEDS)
def test_right_documents_with_a_value_changed(seed: int) -> None:
    rng = Random(seed)
    changed = copy.deepcopy(rng.choice(right_documents()))
    for _ in range(rng.choice([1, 1, 2])):
        change(changed, rng)
    counts["mutated"] += 1
    counts["mutated accepted"] += check(json.dumps(changed))


@pytest.mark.slow
@many(2000)
@given(SEEDS)
def test_examples_with_their_text_damaged(seed: int) -> None:
    rng = Random(seed)
    text = rng.choice([SMALL, SMALL, *TEXTS])
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice([0, 1, 1, 5, 40]))
        text = text[:at] + rng.choice(SPLINTERS) + text[to:]
    check(text)


@pytest.mark.slow
@many(300)
@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    assert not check(data)


@pytest.mark.slow
@many(200)
@given(st.text(max_size=200))
def test_text(text: str) -> None:
    assert not check(text)


@pytest.mark.slow
def test_both_sides_were_reached_often() -> None:
    if counts["made"] < 5000 or counts["mutated"] < 2000:
        pytest.skip("the tests above did not run")
    assert counts["made accepted"] > 500, counts
    assert counts["mutated accepted"] > 80, counts


SPLINTERS = (
    "", "", " ", "\n", "\t", ":", ": ", "- ", "[", "]", "{", "}", "'", '"', "#", "&a ", "*a", "!x ",
    "<<: ", "---\n", "...\n", "|\n", ">-\n", "%", "@", "`", "\x00", "\ufeff", "\u2028", "~", "no",
    "spec:\n", "1", "? ", "\\", "\r", "💥", "&a [*a]",
)  # fmt: skip


class DUMPER(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes no aliases, so that a shared list stays two lists."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def change(value: Any, rng: Random) -> None:
    """Change one place somewhere inside a document."""
    while True:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not places:
            return
        at = rng.choice(places)
        if isinstance(value[at], dict | list) and value[at] and rng.random() < 0.85:
            value = value[at]
            continue
        choice = rng.random()
        if choice < 0.4:
            del value[at]
        elif choice < 0.7:
            value[at] = rng.choice(JUNK)
        elif isinstance(value, dict):
            value[rng.choice(["name", "nmae", "x", at + "s"])] = value.pop(at)
        else:
            value.append(value[at])
        return
