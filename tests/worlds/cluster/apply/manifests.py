"""Small sets of manifests for tests of what talks to a cluster, and a way to talk to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from plimsoll.worlds.cluster.changes import Scope
from plimsoll.worlds.cluster.client import Kube, Patience
from plimsoll.worlds.cluster.reference import Key, key_of
from tests.worlds.cluster.api import Api

IMPATIENT = Patience(timeout=5, attempts=3, pause=0.005, longest=0.2, idle=1.0)
LLM = "llm"
SCOPE = Scope(fleet="shop", namespace=LLM)
Scene = Callable[[Kube], Awaitable[None]]


def talk(api: Api, scene: Scene, patience: Patience = IMPATIENT) -> None:
    """Play a scene against the server."""

    async def play() -> None:
        async with await Kube.connect(url=api.url, patience=patience) as kube:
            await scene(kube)

    asyncio.run(play())


def labels(fleet: str = "shop") -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "plimsoll", "plimsoll.dev/fleet": fleet}


def made(
    api_version: str, kind: str, name: str, namespace: str | None = LLM, **rest: Any
) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "labels": labels()}
    if namespace:
        meta["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


def deployment(name: str, *, image: str = "engine:1", gpus: int = 1, **spec: Any) -> dict[str, Any]:
    selector = {"plimsoll.dev/model": name}
    container = {
        "name": "engine",
        "image": image,
        "ports": [{"containerPort": 8000, "name": "http"}],
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}, "requests": {"cpu": "4"}},
    }
    template = {"metadata": {"labels": selector}, "spec": {"containers": [container]}}
    return made(
        "apps/v1",
        "Deployment",
        name,
        spec={"selector": {"matchLabels": selector}, "template": template, **spec},
    )


def scaled_object(name: str) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return made("keda.sh/v1alpha1", "ScaledObject", name, spec={"scaleTargetRef": target})


def model(name: str, *, scaled: bool = True, **options: Any) -> list[dict[str, Any]]:
    """What one model is made of; `scaled`: KEDA owns its replicas."""
    ports = [{"name": "http", "port": 8000}]
    parts = [
        made("v1", "ConfigMap", name, data={"config": name}),
        made("v1", "Service", name, spec={"selector": {"m": name}, "ports": ports}),
        deployment(name, **options),
    ]
    return [*parts, scaled_object(name)] if scaled else parts


def shared() -> list[dict[str, Any]]:
    """What a fleet has beside its models."""
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "100Gi"}}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LLM, "labels": labels()}},
        made("v1", "ServiceAccount", "gateway"),
        made("v1", "PersistentVolumeClaim", "weights", spec=claim),
    ]


def chat_key(name: str = "chat") -> Key:
    return key_of(deployment(name))
