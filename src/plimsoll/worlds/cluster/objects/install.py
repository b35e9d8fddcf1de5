"""Plimsoll itself in a cluster: its CRD, its operator, and what that operator may do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plimsoll.fleet import crd
from plimsoll.units import MIB
from plimsoll.worlds.cluster.objects.names import COMPONENT
from plimsoll.worlds.cluster.objects.resources import small_resources
from plimsoll.worlds.cluster.objects.rights import operator_rights
from plimsoll.worlds.cluster.objects.roles import service_account
from plimsoll.worlds.cluster.objects.security import OUR_USER, container_security, pod_security
from plimsoll.worlds.cluster.objects.site import MANAGER, Manifest, metadata

NAME = "plimsoll-operator"
NAMESPACE = "plimsoll-system"
METRICS_PORT = 9464
_MEMORY = 512 * MIB  # a plan of some hundred models takes 200 MiB
_ENDING = 30  # seconds: a pass that is under way ends, and the lease is given up
_SELECTOR = {COMPONENT: "operator", "app.kubernetes.io/name": NAME}
_LABELS = {**_SELECTOR, "app.kubernetes.io/managed-by": MANAGER}


def install_objects(image: str) -> Iterator[Manifest]:
    """Everything that `kubectl apply -k deploy/base` sends.

    image  Plimsoll's own, with its version
    """
    yield {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata(
            NAMESPACE, None, {**_LABELS, "pod-security.kubernetes.io/enforce": "restricted"}
        ),
    }
    yield crd()
    yield service_account(metadata(NAME, NAMESPACE, _LABELS))  # its pods ask for the token
    yield from operator_rights(account=NAME, namespace=NAMESPACE, name=NAME)
    yield _network_policy()
    yield _service()
    yield {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(NAME, NAMESPACE, _LABELS),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _SELECTOR}},
    }
    yield _deployment(image)


def _network_policy() -> Manifest:
    """In: only its metrics and health. Out: anything, as its API server may be anywhere."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(NAME, NAMESPACE, _LABELS),
        "spec": {
            "podSelector": {"matchLabels": _SELECTOR},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": METRICS_PORT}]}],
            # To the API server, to gateways' metrics in any namespace, to the headers of models.
            "egress": [{}],
        },
    }


def _service() -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(NAME, NAMESPACE, _LABELS),
        "spec": {
            "selector": _SELECTOR,
            "ports": [
                {
                    "name": "metrics",
                    "port": METRICS_PORT,
                    "targetPort": "metrics",
                    "protocol": "TCP",
                }
            ],
        },
    }


def _deployment(image: str) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(NAME, NAMESPACE, _LABELS),
        "spec": {
            "replicas": 2,  # one acts, one waits for the lease
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": _SELECTOR},
            "template": {
                "metadata": {"labels": dict(sorted(_LABELS.items()))},
                "spec": _pod(image),
            },
        },
    }


def _pod(image: str) -> dict[str, Any]:
    return {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _ENDING,
        "securityContext": pod_security(),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _SELECTOR},
            }
        ],
        "containers": [
            {
                "name": "operator",
                "image": image,
                "args": ["operate", "--image", image, "--metrics-port", str(METRICS_PORT)],
                "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
                "livenessProbe": _probe("/healthz", period=20, failures=3),
                "readinessProbe": _probe("/readyz", period=10, failures=2),
                "resources": small_resources(memory=_MEMORY, disk=256 * MIB, cpu=0.1),
                "securityContext": container_security(OUR_USER),
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 -- in a pod
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "128Mi"}}],
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
