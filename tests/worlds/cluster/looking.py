"""Pods and other objects of a rendered fleet, as the rules look at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.worlds.cluster.admission import containers, pod_templates

Manifests = list[dict[str, Any]]
Object = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pods:
    """One pod template, and whose it is."""

    owner: str
    kind: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Object
    selector: Object

    @property
    def containers(self) -> Iterator[tuple[str, Object]]:
        return ((f"{self.owner}.{path}", found) for path, found in containers(self.spec))


def name_of(manifest: Object) -> str:
    """`Kind/namespace/name`, for messages."""
    meta = manifest["metadata"]
    return f"{manifest['kind']}/{meta.get('namespace', '')}/{meta['name']}"


def pods(manifests: Manifests) -> list[Pods]:
    """Every pod template."""
    return [
        Pods(
            owner=f"{name_of(manifest)}:{path}",
            kind=manifest["kind"],
            namespace=manifest["metadata"]["namespace"],
            labels=template.get("metadata", {}).get("labels", {}),
            annotations=template.get("metadata", {}).get("annotations", {}),
            spec=template["spec"],
            selector=manifest["spec"].get("selector", {}),
        )
        for manifest in manifests
        for path, template in pod_templates(manifest)
    ]


def of_kind(manifests: Manifests, *kinds: str) -> Manifests:
    """The manifests of some kinds."""
    return [found for found in manifests if found["kind"] in kinds]
