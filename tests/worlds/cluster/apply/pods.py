"""Pods as a kubelet and a scheduler leave them, for tests."""

from __future__ import annotations

from typing import Any

from tests.worlds.cluster.apply.manifests import LLM, labels

CREATED, SCHEDULED, STARTED, READY = (
    "2026-11-21T10:00:00Z", "2026-11-21T10:00:05Z", "2026-11-21T10:01:00Z", "2026-11-21T10:02:00Z",
)  # fmt: skip


def model_labels(model: str, component: str = "engine") -> dict[str, str]:
    return {
        **labels(),
        "app.kubernetes.io/component": component,
        **({"plimsoll.dev/model": model} if component == "engine" else {}),
    }


def pod(
    name: str,
    *,
    model: str = "chat",
    component: str = "engine",
    node: str = "node-1",
    status: dict[str, Any] | None = None,
    more_labels: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": LLM,
            "creationTimestamp": CREATED,
            "labels": {**model_labels(model, component), **(more_labels or {})},
        },
        "spec": {
            "containers": [{"name": "engine", "image": "engine:1"}],
            **({"nodeName": node} if node else {}),
            **spec,
        },
        "status": status or {"phase": "Pending"},
    }


def container(state: dict[str, Any], *, name: str = "engine", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "engine:1", "restartCount": 0, "state": state, **more}


def running(*, name: str = "engine", **more: Any) -> dict[str, Any]:
    return container({"running": {"startedAt": STARTED}}, name=name, **more)


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return container({"waiting": {"reason": reason, "message": message}}, **more)


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    said = {"exitCode": code, "reason": reason, "finishedAt": STARTED}
    return {"terminated": {**said, **({"message": message} if message else {})}}


def condition(kind: str, status: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "lastTransitionTime": READY, **more}


PLACED = condition("PodScheduled", "True")


def ready_pod(name: str, **options: Any) -> dict[str, Any]:
    status = {
        "phase": "Running",
        "podIP": "10.0.0.7",
        "conditions": [PLACED, condition("Ready", "True")],
        "containerStatuses": [running(ready=True)],
    }
    return pod(name, status=status, **options)


def unplaced_pod(name: str, message: str, **options: Any) -> dict[str, Any]:
    said = condition("PodScheduled", "False", reason="Unschedulable", message=message)
    return pod(name, node="", status={"phase": "Pending", "conditions": [said]}, **options)


def pod_with(name: str, *containers: dict[str, Any], **options: Any) -> dict[str, Any]:
    """A pod on a node, with these container statuses."""
    inits = options.pop("inits", [])
    status = {
        "phase": options.pop("phase", "Pending"),
        "conditions": [PLACED, condition("Ready", "False")],
        "containerStatuses": list(containers),
        "initContainerStatuses": inits,
    }
    return pod(name, status=status, **options)
