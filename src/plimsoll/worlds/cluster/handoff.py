"""`replicas` given over to a scaler without ever falling back to one.

Dropping `spec.replicas` from what we apply would reset it to Kubernetes' default, because nobody
would own it any more. So another manager of ours owns the present value first; the scaler's first
change takes it from there.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.loads import SCALED_KINDS
from plimsoll.worlds.cluster.objects.site import MANAGER, Manifest
from plimsoll.worlds.cluster.ownership import HANDOFF_MANAGER, owns
from plimsoll.worlds.cluster.reference import Key


def leaves_replicas(manifest: Mapping[str, Any]) -> bool:
    """Whether somebody else than the manifest says how many replicas there are."""
    return manifest["kind"] in SCALED_KINDS and "replicas" not in (manifest.get("spec") or {})


def hands_off(manifest: Mapping[str, Any], live: Mapping[str, Any] | None) -> bool:
    """Whether we own `replicas` now and shall not any more."""
    ours = live is not None and owns(live, MANAGER, "spec", "replicas")
    return ours and leaves_replicas(manifest)


def with_replicas(manifest: Manifest, replicas: int) -> Manifest:
    """The manifest with `spec.replicas`."""
    return {**manifest, "spec": {**(manifest.get("spec") or {}), "replicas": replicas}}


async def hand_off(kube: Kube, key: Key, replicas: int) -> None:
    """Let another manager of ours own `replicas`, at the value that it has."""
    meta = {"name": key.name, "namespace": key.namespace}
    part = {
        "apiVersion": key.api_version,
        "kind": key.kind,
        "metadata": meta,
        "spec": {"replicas": replicas},
    }
    await kube.apply(part, manager=HANDOFF_MANAGER)
