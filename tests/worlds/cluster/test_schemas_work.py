"""The harness itself: it accepts what is right, and finds each kind of mistake."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from referencing import Registry, Resource

from plimsoll.fleet import crd
from tests.worlds.cluster import cel, schemas
from tests.worlds.cluster.samples import KINDS, sample
from tests.worlds.cluster.schemas import CRDS, VERSIONS, problems

Change = Callable[[dict[str, Any]], None]
CONTAINER = "spec.template.spec.containers.0"


def at(path: str, value: Any) -> Change:
    """Sets one field; digits are places in lists."""

    def change(manifest: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        node: Any = manifest
        for part in parents:
            node = node[int(part) if part.isdigit() else part.replace("~", ".")]
        node[last.replace("~", ".")] = value

    return change


def without(path: str) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        node: Any = manifest
        for part in parents:
            node = node[int(part) if part.isdigit() else part]
        del node[last]

    return change


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_api_server_accepts_has_no_problem(kind: str, version: str) -> None:
    assert problems(sample(kind), kubernetes=version) == []


MISTAKES: dict[str, tuple[str, Change, str]] = {
    "an unknown field": ("Deployment", at(f"{CONTAINER}.gpu", 1), "unknown field"),
    "an unknown field of metadata": ("ScaledObject", at("metadata.lables", {}), "unknown field"),
    "an unknown field of a CRD": ("ScaledObject", at("spec.minReplicas", 1), "unknown field"),
    "an unknown field of our CRD": ("Fleet", at("spec.modles", []), "unknown field"),
    "a string for a number": ("Deployment", at("spec.replicas", "3"), "no integer"),
    "a boolean for a number": ("Deployment", at("spec.replicas", True), "no integer"),
    "a number for a string": ("Deployment", at(f"{CONTAINER}.env.0.value", 1), "no string"),
    "a null": ("Deployment", at("spec.replicas", None), "null"),
    "an empty container": ("Deployment", at("spec.template.spec.containers", [{}]), "missing"),
    "a wrong enum": ("Deployment", at(f"{CONTAINER}.imagePullPolicy", "Sometimes"), "none of"),
    "a wrong enum of a CRD": (
        "LeaderWorkerSet",
        at("spec.leaderWorkerTemplate.restartPolicy", "Always"),
        "none of",
    ),
    "a name with capitals": ("Deployment", at("metadata.name", "Llama"), "no name"),
    "a name that is too long": ("Deployment", at("metadata.name", "a" * 64), "no name"),
    "a label's value of 64": ("Deployment", at("metadata.labels", {"a": "b" * 64}), "label's"),
    "a label's key": ("Deployment", at("metadata.labels", {"a b": "c"}), "no key"),
    "a version that is gone": (
        "HorizontalPodAutoscaler",
        at("apiVersion", "autoscaling/v2beta2"),
        "has no autoscaling/v2beta2",
    ),
    "a CRD's version that is gone": (
        "LeaderWorkerSet",
        at("apiVersion", "leaderworkerset.x-k8s.io/v1alpha1"),
        "not served",
    ),
    "a kind of nobody": ("Deployment", at("kind", "Deploymint"), "has no apps/v1"),
    "a port": ("Deployment", at(f"{CONTAINER}.ports.0.containerPort", 70000), "above"),
    "a quantity": ("Deployment", at(f"{CONTAINER}.resources.limits.memory", "8 GB"), "quantity"),
    "more requested than allowed": (
        "Deployment",
        at(f"{CONTAINER}.resources.requests.memory", "9Gi"),
        "more memory than its limit",
    ),
    "a GPU requested and not limited": (
        "Deployment",
        at(f"{CONTAINER}.resources.limits", {"memory": "8Gi"}),
        "never overcommitted",
    ),
    "a probe of no port": (
        "Deployment",
        at(f"{CONTAINER}.readinessProbe.httpGet.port", "metrics"),
        "no port 'metrics'",
    ),
    "a mount of no volume": ("Deployment", without("spec.template.spec.volumes"), "no volume"),
    "a selector that selects others": (
        "Deployment",
        at("spec.selector.matchLabels", {"app": "b"}),
        "does not match",
    ),
    "pods of a CRD with an unknown field": (
        "RayService",
        at("spec.rayClusterConfig.headGroupSpec.template.spec.gpus", 1),
        "unknown field",
    ),
    "a pattern": ("NodePool", at("spec.disruption.consolidateAfter", "ten minutes"), "match"),
    "a CEL rule of KEDA": ("ScaledObject", at("spec.minReplicaCount", 9), "maxReplicaCount"),
    "a CEL rule of Karpenter": (
        "NodePool",
        at("spec.template.spec.requirements.0.values", []),
        "must have a value",
    ),
    "a CEL rule of Karpenter for AWS": (
        "EC2NodeClass",
        at("spec.amiSelectorTerms", [{"alias": "al2023@latest"}, {"id": "ami-123"}]),
        "alias",
    ),
    "a CEL rule of the Gateway API": (
        "HTTPRoute",
        at("spec.rules.0.timeouts", {"request": "1s", "backendRequest": "2s"}),
        "backendRequest",
    ),
    "a CEL rule of the InferencePool": (
        "InferencePool",
        at("spec.endpointPickerRef", {"name": "picker"}),
        "port",
    ),
    "a CEL rule of our own": (
        "Fleet",
        at("spec.models.0.scaling", {"min": 3, "max": 1}),
        "min",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_finds(mistake: str) -> None:
    kind, change, words = MISTAKES[mistake]
    broken = sample(kind)
    change(broken)
    assert any(words in problem for problem in problems(broken)), problems(broken)


def test_a_field_that_came_later_is_refused_by_older_versions() -> None:
    claim = {"name": "gpu", "resourceClaimTemplateName": "t"}
    template = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": "t"},
        "spec": {
            "spec": {
                "devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "g"}}]}
            }
        },
    }
    assert claim["resourceClaimTemplateName"] == template["metadata"]["name"]
    assert problems(template, kubernetes="1.34") == []
    assert "has no resource.k8s.io/v1" in problems(template, kubernetes="1.33")[0]


# ---- against somebody else's validator


def _library(kubernetes: str, api: str, kind: str) -> jsonschema.Draft202012Validator:
    folder = (
        files("kubernetes_validate") / "kubernetes-json-schema" / f"v{kubernetes}.0-local-strict"
    )
    definitions = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))
    short = api.replace(".k8s.io", "").replace("/", "-")
    schema = json.loads((folder / f"{kind.lower()}-{short}.json").read_text(encoding="utf-8"))
    registry = Registry().with_resource(definitions["$id"], Resource.from_contents(definitions))
    registry = registry.with_resource(schema["$id"], Resource.from_contents(schema))
    return jsonschema.Draft202012Validator(schema, registry=registry)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for name, inner in pairs:
        yield (*path, name)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, name))


BUILTIN = ("Deployment", "NetworkPolicy", "HorizontalPodAutoscaler")
LIBRARY = {kind: _library("1.34", sample(kind)["apiVersion"], kind) for kind in BUILTIN}
ODD = st.sampled_from([0, -1, 1.5, "", "x", True, [], {}, [{}], {"x": 1}, ["x"], 10**12])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_refuses_whatever_another_library_refuses(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(BUILTIN))
    broken = sample(kind)
    place = data.draw(st.sampled_from(list(places(broken))))
    node: Any = broken
    for part in place[:-1]:
        node = node[part]
    what = data.draw(st.sampled_from(["set", "remove", "add"]))
    if what == "set":
        node[place[-1]] = copy.deepcopy(data.draw(ODD))
    elif what == "remove":
        del node[place[-1]]
    elif isinstance(node, dict):
        node["added"] = copy.deepcopy(data.draw(ODD))
    if [*LIBRARY[kind].iter_errors(broken)]:
        assert problems(broken)


# ---- every rule of every definition


def definitions() -> Iterator[Mapping[str, Any]]:
    yield crd()
    for file in sorted(CRDS.glob("*/*.yaml")):
        yield from schemas.documents(file)


def nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for word in ("items", "additionalProperties"):
        if isinstance(node.get(word), Mapping):
            yield from nodes(node[word])
    for inner in node.get("properties", {}).values():
        yield from nodes(inner)


def filled(node: Mapping[str, Any], text: str) -> Any:
    """A value with every field of a schema, of its type, all text alike."""
    if node.get("enum"):
        return node["enum"][0]
    if node.get("x-kubernetes-int-or-string"):
        return text
    if node.get("type") == "object":
        found = {name: filled(inner, text) for name, inner in node.get("properties", {}).items()}
        others = node.get("additionalProperties")
        return found | ({text: filled(others, text)} if isinstance(others, Mapping) else {})
    if node.get("type") == "array":
        return [filled(node["items"], text)]
    return {"integer": 1, "number": 1.0, "boolean": True}.get(node.get("type", ""), text)


def not_evaluated(node: Mapping[str, Any], rule: Mapping[str, Any], text: str) -> list[str]:
    bare = {**node, "x-kubernetes-validations": [rule]}
    if "metadata" in node.get("properties", {}):  # the root: an API server sees names there
        names = {"type": "object", "properties": {"name": {"type": "string"}}}
        bare["properties"] = {**node["properties"], "metadata": names}
    found = cel.broken_rules_here(bare, filled(bare, text), "")
    return [problem for problem in found if cel.NOT_EVALUATED in problem]


@pytest.mark.skipif(not CRDS.is_dir(), reason="../shared/crds is not here")
def test_the_library_evaluates_every_rule_of_the_definitions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: set[str] = set()
    missed: list[str] = []
    for definition in definitions():
        for version in definition["spec"]["versions"]:
            for node in nodes(version["schema"]["openAPIV3Schema"]):
                for rule in node.get("x-kubernetes-validations", ()):
                    if rule["rule"] not in seen:
                        seen.add(rule["rule"])
                        # Some rules read text as a number, some as a duration.
                        tries = [not_evaluated(node, rule, text) for text in ("1", "1s")]
                        missed += min(tries, key=len)
    changes = sum("oldSelf" in rule for rule in seen)
    with capsys.disabled():
        print(f" [{len(seen)} CEL rules, {changes} about changes, {len(missed)} not evaluated] ")
    assert len(seen) > 200
    assert missed == []
