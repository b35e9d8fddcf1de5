"""Strict validation of any manifest: Kubernetes 1.33-1.37, the CRDs in ../shared/crds, our own.

The schemas of Kubernetes are those of the package kubernetes-validate. A kind of somebody's CRD
skips the test where ../shared/crds is not there; a kind that nobody knows is a problem.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.fleet import crd
from tests.worlds.cluster import admission
from tests.worlds.cluster.cel import broken_rules
from tests.worlds.cluster.structure import defaulted, refusals
from tests.worlds.cluster.tightened import tighten
from tests.worlds.cluster.written_here import WRITTEN_HERE

CRDS = Path(__file__).parents[4] / "shared" / "crds"
VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_TEMPLATE = "io.k8s.api.core.v1.PodTemplateSpec"
Schema = Mapping[str, Any]


class _Loader(yaml.CSafeLoader):
    """Reads `- =` as the text that it is; YAML 1.1 has a special meaning for it."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


def problems(manifest: dict[str, Any], *, kubernetes: str = "1.34") -> list[str]:
    """What an API server of that version would refuse in a manifest; empty when nothing.

    Unknown fields, types, enums, patterns, formats, what is missing, names, labels, scope, and the
    CEL rules of CRDs. No null may be left in a manifest. Paths begin with `Kind/name`.
    """
    api, kind, metadata = (manifest.get(word) for word in ("apiVersion", "kind", "metadata"))
    if not isinstance(api, str) or not isinstance(kind, str) or not isinstance(metadata, dict):
        return [f"{kind}: `apiVersion`, `kind` and `metadata` must be there"]
    subject = f"{kind}/{metadata.get('name')}"
    builtin = _kinds(kubernetes).get((api, kind))
    found = [*(f"{subject}{path}: null" for path in _nulls(manifest))]
    if builtin is not None:
        found += refusals(builtin, manifest, subject, _definitions(kubernetes), crd=False)
        namespaced = kind not in admission.CLUSTER_WIDE
        if re.search(r"v\d+(alpha|beta)\d+$", api):
            found.append(f"{subject}: {api} is not served unless it is turned on")
    else:
        definition = custom(api, kind)
        if definition is None:
            return [*found, f"{subject}: Kubernetes {kubernetes} has no {api} {kind}"]
        found += _custom(definition, manifest, subject, kubernetes)
        namespaced = definition["spec"]["scope"] == "Namespaced"
    found += admission.problems(
        manifest, subject, builtin=builtin is not None, namespaced=namespaced
    )
    return list(dict.fromkeys(found))


def _nulls(value: Any, path: str = "") -> Iterator[str]:
    if value is None:
        yield path
    pairs = value.items() if isinstance(value, dict) else ()
    for name, inner in [*pairs, *(enumerate(value) if isinstance(value, list) else ())]:
        yield from _nulls(inner, f"{path}.{name}")


def _custom(
    definition: Schema, manifest: dict[str, Any], subject: str, kubernetes: str
) -> Iterator[str]:
    version = version_of(definition, manifest["apiVersion"])
    if version is None or not version["served"]:
        yield f"{subject}: {manifest['apiVersion']} is not served"
        return
    if version.get("deprecated"):
        yield f"{subject}: {manifest['apiVersion']} is deprecated"
    root, definitions = version["schema"]["openAPIV3Schema"], _definitions(kubernetes)
    named = {"properties": {"name": root.get("properties", {}).get("metadata", {})}}
    body = {name: inner for name, inner in manifest.items() if name != "metadata"}
    without = {**root, "required": [r for r in root.get("required", ()) if r != "metadata"]}
    yield from refusals(without, body, subject, {}, crd=True)
    metadata = manifest.get("metadata", {})
    yield from refusals(definitions[_META], metadata, f"{subject}.metadata", definitions, crd=False)
    limits = named["properties"]["name"].get("properties", {}).get("name")
    if limits:
        yield from refusals(limits, metadata.get("name"), f"{subject}.metadata.name", {}, crd=True)
    yield from broken_rules(root, defaulted(root, manifest), subject)
    # A CRD with a pod in it copies the pod's schema, often an old one, or none at all.
    for path, template in admission.pod_templates(manifest):
        where = f"{subject}.{path}"
        yield from refusals(definitions[_TEMPLATE], template, where, definitions, crd=False)


def version_of(definition: Schema, api: str) -> Schema | None:
    """The version of a definition that an apiVersion names."""
    wanted = api.rpartition("/")[2]
    return next((v for v in definition["spec"]["versions"] if v["name"] == wanted), None)


@functools.cache
def _definitions(kubernetes: str) -> Mapping[str, Schema]:
    """The OpenAPI definitions of a version of Kubernetes. Raises FileNotFoundError."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema"
    text = folder / f"v{kubernetes}.0-local-strict" / "_definitions.json"
    found: dict[str, dict[str, Any]] = json.loads(text.read_text(encoding="utf-8"))["$defs"]
    tighten(found)
    return found


@functools.cache
def _kinds(kubernetes: str) -> dict[tuple[str, str], Schema]:
    """Schemas by apiVersion and kind."""
    found: dict[tuple[str, str], Schema] = {}
    for schema in _definitions(kubernetes).values():
        for name in schema.get("x-kubernetes-group-version-kind", ()):
            api = "/".join(part for part in (name["group"], name["version"]) if part)
            if "metadata" in schema.get("properties", {}):
                found[api, name["kind"]] = schema
    return found


def builtin_kinds(kubernetes: str = "1.34") -> list[tuple[str, str]]:
    """(apiVersion, kind) of everything that Kubernetes itself has."""
    return sorted(_kinds(kubernetes))


@functools.cache
def custom(api: str, kind: str) -> Schema | None:
    """The CustomResourceDefinition of a kind; None where nobody defines it. May skip the test."""
    group = api.rpartition("/")[0]
    for definition in (crd(), *WRITTEN_HERE):
        if (definition["spec"]["group"], definition["spec"]["names"]["kind"]) == (group, kind):
            return definition
    if group in {known.rpartition("/")[0] for known, _ in _kinds(VERSIONS[0])}:
        return None  # Kubernetes' own, and no version that it has
    if not CRDS.is_dir():
        pytest.skip(f"../shared/crds is not here, and with it the schema of {api} {kind}")
    guesses = sorted(CRDS.glob(f"*/{group}_*.yaml"), key=lambda file: _unlike(file, kind))
    for file in [*guesses, *(CRDS.glob("*/*-crds.yaml") if not guesses else ())]:
        for definition in documents(file):
            names = definition["spec"].get("names", {})
            if definition["spec"].get("group") == group and names.get("kind") == kind:
                return definition
    return None


def _unlike(file: Path, kind: str) -> int:
    plural = file.stem.rpartition("_")[2]
    return abs(len(plural) - len(kind)) + (0 if plural.startswith(kind.lower()[:-1]) else 1000)


@functools.cache
def documents(file: Path) -> list[Schema]:
    text = file.read_text(encoding="utf-8")
    return [
        found
        for found in yaml.load_all(text, Loader=_Loader)
        if found and found["kind"] == "CustomResourceDefinition"
    ]
