"""The kinds that are made for a Fleet, and the order in which they are made. Pure.

What others need comes first; whatever has pods comes after all that they need, and what sets
their number comes last. They are removed the other way round.
"""

from __future__ import annotations

from plimsoll.worlds.cluster.changes import rank as kind_rank
from plimsoll.worlds.cluster.reference import Key

SCALABLE = (
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "Deployment"),
    ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
)
"""Workloads with a scale subresource: what is watched beside pods."""

MADE = (
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Service"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("karpenter.k8s.aws/v1", "EC2NodeClass"),
    ("karpenter.sh/v1", "NodePool"),
    ("karpenter.sh/v1alpha1", "NodeOverlay"),
    ("resource.k8s.io/v1", "ResourceClaimTemplate"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "Ingress"),
    ("policy/v1", "PodDisruptionBudget"),
    ("batch/v1", "Job"),
    ("apps/v1", "DaemonSet"),
    *SCALABLE,
    ("ray.io/v1", "RayService"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.networking.k8s.io/v1", "ReferenceGrant"),
    ("inference.networking.k8s.io/v1", "InferencePool"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("keda.sh/v1alpha1", "TriggerAuthentication"),
    ("keda.sh/v1alpha1", "ScaledObject"),
)
"""Every kind that is made for Fleets and goes with them: those the operator may delete."""

VOLUME, NAMESPACE = "PersistentVolumeClaim", "Namespace"
_FIRST_WITH_PODS = "DaemonSet"


def rank(key: Key) -> tuple[int, Key]:
    """What orders objects as they are made."""
    return (kind_rank(key.kind), key)


def runs(key: Key) -> bool:
    """Whether it has pods, or sets the number of some: what goes first when a Fleet goes."""
    return kind_rank(key.kind) >= kind_rank(_FIRST_WITH_PODS)
