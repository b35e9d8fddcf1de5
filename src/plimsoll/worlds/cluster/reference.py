"""Which object: its kind, its place, its name, and the path under which the API serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind that the API serves.

    api_version  `apps/v1`, `v1`
    kind         `Deployment`
    plural       `deployments`
    namespaced   whether its objects live in namespaces
    verbs        what can be done with it: `get`, `list`, `patch`, ...
    subresources what hangs below an object: `status`, `scale`
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """`apps` of `apps/v1`; empty for the core."""
        return group_of(self.api_version)

    @property
    def full_name(self) -> str:
        """`deployments.apps`, as `kubectl` takes it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Path of a list, an object or a subresource; `namespace` None: over all of them."""
        parts = [api_path(self.api_version)]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [self.plural, name, subresource]
        return "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Key:
    """One object.

    namespace  empty where its kind has none
    """

    api_version: str
    kind: str
    namespace: str = ""
    name: str

    def __str__(self) -> str:
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind} {self.name}{place}"

    @property
    def group_kind(self) -> tuple[str, str]:
        """Group and kind: what stays the same when the version of an API changes."""
        return group_of(self.api_version), self.kind


def key_of(manifest: Mapping[str, Any], namespace: str = "") -> Key:
    """The key of an object; `namespace` is where its manifest names none. Raises KeyError."""
    meta = manifest["metadata"]
    return Key(
        api_version=manifest["apiVersion"],
        kind=manifest["kind"],
        namespace=meta.get("namespace") or namespace,
        name=meta["name"],
    )


def group_of(api_version: str) -> str:
    """`apps` of `apps/v1`; empty for the core."""
    return api_version.rpartition("/")[0]


def api_path(api_version: str) -> str:
    """Path of an API: `/api/v1`, `/apis/apps/v1`."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
