from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
import yaml

from plimsoll.errors import Diagnostic, FleetError
from plimsoll.fleet import (
    Document,
    Fleet,
    Model,
    Scaling,
    load_fleet,
    nodes,
    parse_source,
    to_document,
)

HEADER = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\nmetadata: {name: test}\nspec:\n"
MODEL = HEADER + "  models:\n    - name: chat\n      source: builtin:demo\n"


def load(*texts: str | bytes) -> Fleet:
    return load_fleet([Document(file=f"{n}.yaml", text=text) for n, text in enumerate(texts)])


def problems(*texts: str | bytes) -> tuple[Diagnostic, ...]:
    with pytest.raises(FleetError) as caught:
        load(*texts)
    return caught.value.diagnostics


def model(extra: str = "") -> Model:
    return load(MODEL + "".join(f"      {line}\n" for line in extra.splitlines())).models[0]


def test_what_is_not_written_has_the_default_of_its_type() -> None:
    assert model() == Model(name="chat", source=parse_source("builtin:demo"))
    assert load(HEADER + "  {}\n") == Fleet(name="test")


def test_quantities_are_read_into_bytes_seconds_and_counts() -> None:
    found = model("context: 8k\nscaling: {cooldown: 1h30m}\nstorage: {size: 1.5Gi}\n")
    assert found.context == 8000
    assert found.scaling.cooldown == 5400.0
    assert found.storage.size == 3 * 2**29


@pytest.mark.parametrize(
    ("written", "bounds"),
    [("{}", (1, 1)), ("{min: 0}", (0, 1)), ("{min: 3}", (3, 3)), ("{max: 4}", (1, 4))],
)
def test_the_most_replicas_are_the_larger_of_one_and_the_fewest(
    written: str, bounds: tuple[int, int]
) -> None:
    scaling = model(f"scaling: {written}").scaling
    assert (scaling.min, scaling.max) == bounds
    assert Scaling(min=bounds[0], max=bounds[1]).max == bounds[1]


def test_auto_is_none_in_code() -> None:
    assert model("context: auto\nconcurrency: auto").context is None


def test_a_number_with_exponent_is_a_number() -> None:
    assert model("context: 1e3\nconcurrency: 4.0").context == 1000


@pytest.mark.parametrize("text", ["2026-11-20", "1.2.3", "v1", "0x", "1e", "12:34:56:78x", "1_a"])
def test_what_is_text_to_every_reader_needs_no_quotes(text: str) -> None:
    assert model(f"labels: {{a: {text}}}").labels["a"] == text


def test_quoted_text_is_text_whatever_it_looks_like() -> None:
    found = model('labels: {a: "no", b: "010", "1": "null"}').labels
    assert dict(found) == {"a": "no", "b": "010", "1": "null"}


def test_anchors_and_merges_mean_what_kubectl_takes_them_for() -> None:
    text = (
        HEADER
        + "  models:\n"
        + "    - &first\n      name: a\n      source: builtin:demo\n"
        + "      scaling: &s {min: 2, max: 3}\n"
        + "    - <<: *first\n      name: b\n"
        + "    - {<<: [*first], name: c, scaling: *s}\n"
    )
    assert [(m.name, m.scaling.min) for m in load(text).models] == [("a", 2), ("b", 2), ("c", 2)]


def test_json_is_read_like_yaml() -> None:
    document = yaml.safe_load(MODEL)
    document["spec"]["models"][0]["labels"] = {"face": "\U0001f600"}
    assert load(json.dumps(document, indent="\t")) == load(json.dumps(document, ensure_ascii=False))


def test_a_byte_order_mark_is_skipped() -> None:
    assert load(b"\xef\xbb\xbf" + MODEL.encode()) == load(MODEL)


def test_documents_of_one_file_and_of_several_add_up() -> None:
    pools = MODEL.replace("test", "other").replace("models", "pools")
    pools = pools.replace("source: builtin:demo", "accelerator: none")
    assert load(MODEL + "---\n---\n" + pools) == load(MODEL, pools)
    assert load(MODEL, pools).pools[0].name == "chat"


def test_models_of_another_namespace_keep_it() -> None:
    first = MODEL.replace("{name: test}", "{name: test, namespace: one}")
    other = MODEL.replace("{name: test}", "{name: test, namespace: two}").replace("chat", "other")
    assert [m.namespace for m in load(first, other).models] == [None, "two"]


def test_fields_that_an_api_server_writes_are_passed_over() -> None:
    server = {"uid": "1", "managedFields": [{"x": 1}], "annotations": {"a": "line\nline"}}
    document: dict[str, Any] = yaml.safe_load(MODEL) | {"status": {"any": "thing"}}
    document["metadata"] |= server
    assert load(json.dumps(document)) == load(MODEL)


def test_every_problem_is_told_at_once_in_the_order_of_the_file() -> None:
    found = problems(MODEL + "      engine: x\n      contxt: 1\n      scaling: {min: 2, max: 1}\n")
    assert [one.code for one in found] == ["fleet.choice", "fleet.unknown-field", "fleet.conflict"]
    assert [one.line for one in found] == sorted(one.line for one in found)


def test_a_problem_has_the_place_of_its_value_and_its_path() -> None:
    (found,) = problems(MODEL + "      scaling:\n        cooldown: 300\n")
    assert (found.line, found.column) == (9, 19)
    assert found.path == "spec.models[0].scaling.cooldown"


def test_columns_count_characters_not_bytes() -> None:
    (found,) = problems(MODEL + "      labels: {a: 'ééé', b: 1}\n")
    assert found.column == 29


def test_a_file_of_nothing_but_problems_is_given_up() -> None:
    text = MODEL + "".join(f"      x{n}: 1\n" for n in range(5000))
    found = problems(text)
    assert len(found) == 1001
    assert found[-1].code in {"fleet.too-many", "fleet.unknown-field"}
    assert any(one.code == "fleet.too-many" for one in found)


def test_no_file_at_all_is_a_fleet_error() -> None:
    with pytest.raises(FleetError):
        load_fleet([])


def test_documents_before_a_syntax_error_are_read_for_problems() -> None:
    found = problems(MODEL + "      contxt: 1\n---\na: [\n")
    assert [one.code for one in found] == ["fleet.unknown-field", "fleet.syntax"]


@pytest.mark.parametrize(
    "written",
    [
        "credentials: hunter2",
        "source: https://me:hunter2@host/x",
        "engineOptions: {image: 'https://me:hunter2@host/x y'}",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(written: str) -> None:
    text = MODEL.replace("      source: builtin:demo\n", "") + f"      {written}\n"
    assert all("hunter2" not in str(one) for one in problems(text))


def test_a_key_that_stands_in_the_file_is_not_repeated() -> None:
    text = HEADER + "  tenants:\n    - {name: a, keys: [{name: k, sha256: sk-hunter2}]}\n"
    assert all("hunter2" not in str(one) for one in problems(text))


def test_a_fleet_can_be_hashed_copied_and_sent_to_another_process() -> None:
    fleet = load(MODEL + "      labels: {team: a}\n")
    assert pickle.loads(pickle.dumps(fleet)) == fleet
    assert hash(fleet) == hash(load(MODEL + "      labels: {team: a}\n"))


def test_a_fleet_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        model().name = "other"  # type: ignore[misc]


def test_the_document_of_a_fleet_leaves_defaults_out() -> None:
    written = to_document(load(MODEL + "      engine: auto\n      scaling: {min: 1}\n"))
    assert written["spec"] == {"models": [{"name": "chat", "source": "builtin:demo"}]}


def test_the_slow_reader_of_yaml_sees_the_same_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    text = MODEL + "      labels: {a: 'é', b: \"\\t\"}\n      aliases: [x, y]\n"
    fast = nodes.parse(Document(file="f", text=text))
    monkeypatch.setattr(nodes, "_LOADER", yaml.SafeLoader)
    assert nodes.parse(Document(file="f", text=text)) == fast


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 100_000,
        "{a: " * 100_000,
        "? " * 100_000,
        "!x " * 100_000,
        "&a " * 9999,
    ],
)
@pytest.mark.parametrize("loader", [nodes._LOADER, yaml.SafeLoader])
def test_deep_nesting_ends_in_a_diagnostic(
    text: str, loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "_LOADER", loader)
    assert problems(text)
