"""Objects that an API server accepts, small: what the tests of the harness break."""

from __future__ import annotations

import copy
from typing import Any

_POD: dict[str, Any] = {
    "containers": [
        {
            "name": "engine",
            "image": "example.com/engine:1.0",
            "ports": [{"name": "http", "containerPort": 8000}],
            "env": [{"name": "HOME", "value": "/home"}],
            "resources": {
                "requests": {"cpu": "1", "memory": "8Gi", "nvidia.com/gpu": "1"},
                "limits": {"memory": "8Gi", "nvidia.com/gpu": "1"},
            },
            "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}},
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        }
    ],
    "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
}
_TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": _POD}


def _made(api: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": "a", "namespace": "n"},
        "spec": spec,
    }


_SAMPLES = {
    "Deployment": _made(
        "apps/v1",
        "Deployment",
        {"selector": {"matchLabels": {"app": "a"}}, "template": _TEMPLATE},
    ),
    "NetworkPolicy": _made(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        {
            "podSelector": {"matchLabels": {"app": "a"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": 8000, "protocol": "TCP"}]}],
        },
    ),
    "HorizontalPodAutoscaler": _made(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 70},
                    },
                }
            ],
        },
    ),
    "ScaledObject": _made(
        "keda.sh/v1alpha1",
        "ScaledObject",
        {
            "scaleTargetRef": {"name": "a"},
            "minReplicaCount": 1,
            "maxReplicaCount": 3,
            "triggers": [{"type": "prometheus", "metadata": {"query": "up", "threshold": "1"}}],
        },
    ),
    "LeaderWorkerSet": _made(
        "leaderworkerset.x-k8s.io/v1",
        "LeaderWorkerSet",
        {"replicas": 1, "leaderWorkerTemplate": {"size": 2, "workerTemplate": _TEMPLATE}},
    ),
    "NodePool": {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "a"},
        "spec": {
            "template": {
                "spec": {
                    "nodeClassRef": {
                        "group": "karpenter.k8s.aws",
                        "kind": "EC2NodeClass",
                        "name": "a",
                    },
                    "requirements": [
                        {
                            "key": "karpenter.sh/capacity-type",
                            "operator": "In",
                            "values": ["spot"],
                        }
                    ],
                }
            },
            "disruption": {"consolidateAfter": "10m", "budgets": [{"nodes": "1"}]},
        },
    },
    "EC2NodeClass": {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": "a"},
        "spec": {
            "role": "nodes",
            "amiSelectorTerms": [{"alias": "al2023@latest"}],
            "subnetSelectorTerms": [{"tags": {"cluster": "c"}}],
            "securityGroupSelectorTerms": [{"tags": {"cluster": "c"}}],
        },
    },
    "HTTPRoute": _made(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        {
            "parentRefs": [{"name": "gateway"}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                    "backendRefs": [{"name": "a", "port": 80}],
                    "timeouts": {"request": "10m", "backendRequest": "10m"},
                }
            ],
        },
    ),
    "InferencePool": _made(
        "inference.networking.k8s.io/v1",
        "InferencePool",
        {
            "selector": {"matchLabels": {"app": "a"}},
            "targetPorts": [{"number": 8000}],
            "endpointPickerRef": {"name": "picker", "port": {"number": 9002}},
        },
    ),
    "PodMonitor": _made(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        {
            "selector": {"matchLabels": {"app": "a"}},
            "podMetricsEndpoints": [{"port": "http", "path": "/metrics"}],
        },
    ),
    "RayService": _made(
        "ray.io/v1",
        "RayService",
        {"rayClusterConfig": {"headGroupSpec": {"rayStartParams": {}, "template": _TEMPLATE}}},
    ),
    "Fleet": _made(
        "plimsoll.dev/v1alpha1",
        "Fleet",
        {"models": [{"name": "m", "source": "builtin:demo"}]},
    ),
}


def sample(kind: str) -> dict[str, Any]:
    """A fresh copy of the sample of a kind. Raises KeyError."""
    return copy.deepcopy(_SAMPLES[kind])


KINDS = tuple(_SAMPLES)
