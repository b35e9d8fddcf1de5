from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.fleet import Document, Fleet, load_fleet, to_document
from plimsoll.fleet.shapes import fields_of
from plimsoll.fleet.types import Spec

EXAMPLES = Path(__file__).parents[2] / "examples"
ALONE = [
    "demo.yaml",
    "gateway.yaml",
    "production.yaml",
    *sorted(f"plans/{path.name}" for path in (EXAMPLES / "plans").glob("*.yaml")),
]
SKETCH = Path(__file__).parents[3] / "shared" / "design" / "fleet-example.yaml"


def load(*names: str) -> Fleet:
    return load_fleet([Document(file=name, text=(EXAMPLES / name).read_bytes()) for name in names])


@pytest.mark.parametrize("name", ALONE)
def test_an_example_is_accepted_and_written_back(name: str) -> None:
    fleet = load(name)
    again = to_document(fleet)
    assert load_fleet([Document(file="again", text=repr_yaml(again))]) == fleet


def test_the_demo_serves_chat_and_embeddings_from_the_shipped_model() -> None:
    fleet = load("demo.yaml")
    assert [(m.name, m.task, m.engine, m.source.text) for m in fleet.models] == [
        ("demo", "chat", "llamacpp", "builtin:demo"),
        ("demo-embedding", "embedding", "llamacpp", "builtin:demo"),
    ]


def test_the_production_example_uses_every_section_and_nearly_every_part_of_a_model() -> None:
    document = to_document(load("production.yaml"))
    assert set(document["spec"]) == {field.name for field in fields_of(Spec)}
    written = {name for model in document["spec"]["models"] for name in model}
    assert len(written) >= 24


def test_two_teams_add_up_to_one_fleet() -> None:
    fleet = load("two-teams/platform.yaml", "two-teams/product.yaml")
    assert (fleet.name, fleet.namespace) == ("platform", "platform")
    assert fleet.models[0].namespace == "search"
    assert fleet.pools[0].name == "l4"
    assert fleet.gateway.queue.requests == 500


def test_the_order_of_the_files_changes_no_section() -> None:
    one = load("two-teams/platform.yaml", "two-teams/product.yaml")
    other = load("two-teams/product.yaml", "two-teams/platform.yaml")
    assert one.tenants == other.tenants
    assert one.gateway == other.gateway
    assert [m.name for m in one.models] == [m.name for m in other.models]


@pytest.mark.skipif(not SKETCH.exists(), reason="the sketch lies beside the project, not in it")
def test_the_sketch_this_format_began_with_is_accepted_but_for_its_provider_models() -> None:
    text = SKETCH.read_text(encoding="utf-8").replace(
        "models: [gpt-5-mini]", "models: [{name: gpt-5-mini}]"
    )
    fleet = load_fleet([Document(file="sketch", text=text)])
    assert fleet.model("llama-70b").scaling.max == 10


def repr_yaml(document: object) -> str:
    import yaml

    return yaml.safe_dump(document)
