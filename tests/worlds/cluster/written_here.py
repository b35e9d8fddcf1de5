"""Definitions of kinds whose CRDs are not in ../shared/crds: the fields that we write, no others.

Names and enums from kubernetes/autoscaler vertical-pod-autoscaler/deploy/vpa-v1-crd-gen.yaml
@55c37cd5.
"""

from __future__ import annotations

from typing import Any


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties}
    return found | ({"required": list(required)} if required else {})


_TEXT = {"type": "string"}
_VERTICAL_POD_AUTOSCALER = _object(
    ("spec",),
    apiVersion=_TEXT,
    kind=_TEXT,
    metadata={"type": "object"},
    spec=_object(
        ("targetRef",),
        targetRef=_object(("kind", "name"), apiVersion=_TEXT, kind=_TEXT, name=_TEXT),
        updatePolicy=_object(
            updateMode={
                "type": "string",
                "enum": ["Off", "Initial", "Recreate", "InPlaceOrRecreate", "InPlace", "Auto"],
            }
        ),
    ),
)
WRITTEN_HERE: tuple[dict[str, Any], ...] = (
    {
        "spec": {
            "group": "autoscaling.k8s.io",
            "scope": "Namespaced",
            "names": {"kind": "VerticalPodAutoscaler", "plural": "verticalpodautoscalers"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _VERTICAL_POD_AUTOSCALER},
                }
            ],
        }
    },
)
