from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from plimsoll.errors import FleetError
from plimsoll.fleet import Document, json_schema, load_fleet
from plimsoll.fleet.editor_schema import written_default
from plimsoll.fleet.kinds import Kind
from plimsoll.fleet.shapes import fields_of
from tests.fleet.records import every_record

PRODUCTION = yaml.safe_load(
    (Path(__file__).parents[2] / "examples" / "production.yaml").read_text(encoding="utf-8")
)
SCHEMA = Draft202012Validator(json_schema())


def test_it_is_a_schema_of_its_draft() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_every_property_is_described() -> None:
    for name, definition in json_schema()["$defs"].items():
        assert definition["description"], name
        for field, schema in definition["properties"].items():
            assert schema["description"], f"{name}.{field}"


def test_every_default_is_one_that_the_field_accepts() -> None:
    seen = 0
    for record in every_record():
        for field in fields_of(record):
            default = written_default(field)
            if default is None:
                continue
            assert isinstance(field.shape, Kind)
            assert field.shape.read(default) == field.default
            seen += 1
    assert seen > 60


def broken(path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(PRODUCTION)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    here = document
    for step in steps:
        here = here[step]
    if value is None:
        del here[last]
    else:
        here[last] = value
    return document


WRONG: list[tuple[str, Any]] = [
    ("apiVersion", "v1"),
    ("kind", "fleet"),
    ("metadata.name", None),
    ("metadata.name", "Not A Name"),
    ("metadata.nmae", "x"),
    ("extra", 1),
    ("spec", None),
    ("spec.models", {}),
    ("spec.models.0", "text"),
    ("spec.models.0.source", None),
    ("spec.models.0.source", "demo"),
    ("spec.models.0.name", 12),
    ("spec.models.0.name", "a b"),
    ("spec.models.0.contxt", 1),
    ("spec.models.0.engine", "vlm"),
    ("spec.models.0.context", "big"),
    ("spec.models.0.context", -5),
    ("spec.models.0.concurrency", "8"),
    ("spec.models.0.scaling.min", "1"),
    ("spec.models.0.scaling.min", -1),
    ("spec.models.0.scaling.min", 1.5),
    ("spec.models.0.scaling.cooldown", 300),
    ("spec.models.0.scaling.cooldown", "5 minutes"),
    ("spec.models.0.scaling.schedules.0.start", "8 o'clock"),
    ("spec.models.0.traffic.requestsPerSecond", 0),
    ("spec.models.0.objectives.percentile", 100),
    ("spec.models.0.aliases", "one"),
    ("spec.models.0.aliases", ["a", "a"]),
    ("spec.models.0.labels", {"a": 1}),
    ("spec.models.0.labels", {"a b": "x"}),
    ("spec.models.0.storage.size", "500GB"),
    ("spec.models.0.draft.source", 5),
    ("spec.pools.0.sharing", {"timeSlicing": {"replicas": 1}}),
    ("spec.pools.0.nodes.max", 0),
    ("spec.providers.0.baseURL", "api.openai.com"),
    ("spec.providers.0.apiKey", "sk-123"),
    ("spec.providers.0.models.0", "gpt"),
    ("spec.tenants.0.keys.0.sha256", "sk-123"),
    ("spec.tenants.0.residency.allow", []),
    ("spec.gateway.listen.port", 70000),
    ("spec.gateway.store", "postgresql://u:secret@db/x"),
    ("spec.gateway.logs.prompts", "no"),
    ("spec.gateway.tracing.sampling", 2),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=lambda value: str(value)[:40])
def test_the_schema_and_the_decoder_both_refuse(path: str, value: Any) -> None:
    document = broken(path, value)
    assert list(SCHEMA.iter_errors(document))
    with pytest.raises(FleetError):
        load_fleet([Document(file="f", text=yaml.safe_dump(document))])


def test_importing_the_types_loads_no_server_no_validator_and_no_engine() -> None:
    code = "import sys, plimsoll.fleet; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"asyncio", "jsonschema", "xllamacpp", "httpx", "logging", "subprocess"}
