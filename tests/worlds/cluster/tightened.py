"""What Kubernetes' OpenAPI says in words only: enumerations, ranges and the shapes of names.

Each entry adds keywords to one field of one definition; a field that does not exist is an error.
From the API reference and the validation of k8s.io/kubernetes (pkg/apis/*/validation), from
memory of public documentation.
"""

from __future__ import annotations

from typing import Any

LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
QUALIFIED = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
PORT_NAME = r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$"
KEY = r"^[-._a-zA-Z0-9]{1,253}$"


def _one(*words: str) -> dict[str, Any]:
    return {"enum": list(words)}


def _items(*words: str) -> dict[str, Any]:
    return {"items": {"type": "string", "enum": list(words)}}


def _from(least: int, most: int | None = None) -> dict[str, Any]:
    return {"minimum": least} | ({} if most is None else {"maximum": most})


def _like(pattern: str) -> dict[str, Any]:
    return {"pattern": pattern}


_PORT = _from(1, 65535)
_PROTOCOL = _one("TCP", "UDP", "SCTP")
_EFFECT = _one("NoSchedule", "PreferNoSchedule", "NoExecute")
_PULL = _one("Always", "Never", "IfNotPresent")
_MODES = _items("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_HOST_PATHS = (
    "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice",
)  # fmt: skip
_SCOPES = (
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass",
    "CrossNamespacePodAffinity",
)  # fmt: skip
_CONTAINER = {
    "name": _like(LABEL),
    "image": {"minLength": 1},
    "imagePullPolicy": _PULL,
    "terminationMessagePolicy": _one("File", "FallbackToLogsOnError"),
    "restartPolicy": _one("Always", "Never", "OnFailure"),
}

TIGHTENED: dict[str, dict[str, dict[str, Any]]] = {
    "core.v1.Container": _CONTAINER,
    "core.v1.ContainerPort": {
        "containerPort": _PORT,
        "hostPort": _PORT,
        "name": _like(PORT_NAME),
        "protocol": _PROTOCOL,
    },
    "core.v1.EnvVar": {"name": _like(r"^[ -<>-~]+$")},
    "core.v1.VolumeMount": {
        "mountPath": {"minLength": 1, **_like(r"^[^:]+$")},
        "mountPropagation": _one("None", "HostToContainer", "Bidirectional"),
        "subPath": _like(r"^[^/]"),
    },
    "core.v1.Volume": {"name": _like(LABEL)},
    "core.v1.HostPathVolumeSource": {
        "path": _like(r"^/"),
        "type": _one("", *_HOST_PATHS),
    },
    "core.v1.EmptyDirVolumeSource": {"medium": _one("", "Memory", "HugePages")},
    "core.v1.ImageVolumeSource": {"pullPolicy": _PULL},
    "core.v1.KeyToPath": {"key": _like(KEY), "mode": _from(0, 0o777), "path": {"minLength": 1}},
    "core.v1.ConfigMapVolumeSource": {"defaultMode": _from(0, 0o777)},
    "core.v1.SecretVolumeSource": {"defaultMode": _from(0, 0o777)},
    "core.v1.PodSpec": {
        "restartPolicy": _one("Always", "OnFailure", "Never"),
        "dnsPolicy": _one("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
        "preemptionPolicy": _one("Never", "PreemptLowerPriority"),
        "terminationGracePeriodSeconds": _from(0),
        "activeDeadlineSeconds": _from(1),
        "containers": {"minItems": 1},
        "hostname": _like(LABEL),
        "serviceAccountName": _like(SUBDOMAIN),
    },
    "core.v1.PodSecurityContext": {
        "fsGroup": _from(0),
        "runAsGroup": _from(0),
        "runAsUser": _from(0),
        "fsGroupChangePolicy": _one("OnRootMismatch", "Always"),
        "supplementalGroupsPolicy": _one("Merge", "Strict"),
    },
    "core.v1.SecurityContext": {
        "runAsGroup": _from(0),
        "runAsUser": _from(0),
        "procMount": _one("Default", "Unmasked"),
    },
    "core.v1.SeccompProfile": {"type": _one("Unconfined", "RuntimeDefault", "Localhost")},
    "core.v1.PodSchedulingGate": {"name": _like(QUALIFIED)},
    "core.v1.Probe": {
        "initialDelaySeconds": _from(0),
        "periodSeconds": _from(1),
        "timeoutSeconds": _from(1),
        "failureThreshold": _from(1),
        "successThreshold": _from(1),
        "terminationGracePeriodSeconds": _from(1),
    },
    "core.v1.HTTPGetAction": {"scheme": _one("HTTP", "HTTPS"), "path": _like(r"^/")},
    "core.v1.SleepAction": {"seconds": _from(1)},
    "core.v1.Toleration": {
        "operator": _one("Exists", "Equal", "Lt", "Gt"),
        "effect": _EFFECT,
        "key": _like(QUALIFIED),
        "value": _like(LABEL_VALUE),
    },
    "core.v1.NodeSelectorRequirement": {
        "operator": _one("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"),
        "key": _like(QUALIFIED),
    },
    "core.v1.PreferredSchedulingTerm": {"weight": _from(1, 100)},
    "core.v1.WeightedPodAffinityTerm": {"weight": _from(1, 100)},
    "core.v1.PodAffinityTerm": {"topologyKey": {"minLength": 1, **_like(QUALIFIED)}},
    "core.v1.TopologySpreadConstraint": {
        "maxSkew": _from(1),
        "minDomains": _from(1),
        "topologyKey": _like(QUALIFIED),
        "whenUnsatisfiable": _one("DoNotSchedule", "ScheduleAnyway"),
        "nodeAffinityPolicy": _one("Honor", "Ignore"),
        "nodeTaintsPolicy": _one("Honor", "Ignore"),
    },
    "core.v1.ServiceSpec": {
        "type": _one("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
        "sessionAffinity": _one("ClientIP", "None"),
        "externalTrafficPolicy": _one("Cluster", "Local"),
        "internalTrafficPolicy": _one("Cluster", "Local"),
        "ipFamilyPolicy": _one("SingleStack", "PreferDualStack", "RequireDualStack"),
        "trafficDistribution": _one("PreferClose", "PreferSameZone", "PreferSameNode"),
    },
    "core.v1.ServicePort": {
        "port": _PORT,
        "nodePort": _PORT,
        "name": _like(LABEL),
        "protocol": _PROTOCOL,
        "appProtocol": _like(QUALIFIED),
    },
    "core.v1.PersistentVolumeClaimSpec": {
        "accessModes": {"minItems": 1, **_MODES},
        "volumeMode": _one("Filesystem", "Block"),
        "storageClassName": _like(SUBDOMAIN),
    },
    "core.v1.PersistentVolumeSpec": {
        "accessModes": {"minItems": 1, **_MODES},
        "persistentVolumeReclaimPolicy": _one("Retain", "Delete", "Recycle"),
    },
    "core.v1.LimitRangeItem": {"type": _one("Container", "Pod", "PersistentVolumeClaim")},
    "core.v1.ResourceQuotaSpec": {
        "scopes": _items(*_SCOPES),
    },
    "apps.v1.DeploymentSpec": {
        "replicas": _from(0),
        "minReadySeconds": _from(0),
        "progressDeadlineSeconds": _from(1),
        "revisionHistoryLimit": _from(0),
    },
    "apps.v1.DeploymentStrategy": {"type": _one("Recreate", "RollingUpdate")},
    "apps.v1.StatefulSetSpec": {
        "replicas": _from(0),
        "podManagementPolicy": _one("OrderedReady", "Parallel"),
        "serviceName": _like(LABEL),
    },
    "apps.v1.StatefulSetUpdateStrategy": {"type": _one("OnDelete", "RollingUpdate")},
    "apps.v1.DaemonSetUpdateStrategy": {"type": _one("OnDelete", "RollingUpdate")},
    "batch.v1.JobSpec": {"backoffLimit": _from(0), "ttlSecondsAfterFinished": _from(0)},
    "batch.v1.CronJobSpec": {"concurrencyPolicy": _one("Allow", "Forbid", "Replace")},
    "autoscaling.v2.HorizontalPodAutoscalerSpec": {
        "minReplicas": _from(0),
        "maxReplicas": _from(1),
    },
    "autoscaling.v2.MetricSpec": {
        "type": _one("ContainerResource", "External", "Object", "Pods", "Resource")
    },
    "autoscaling.v2.MetricTarget": {"type": _one("Utilization", "Value", "AverageValue")},
    "autoscaling.v2.HPAScalingRules": {
        "selectPolicy": _one("Max", "Min", "Disabled"),
        "stabilizationWindowSeconds": _from(0, 3600),
    },
    "autoscaling.v2.HPAScalingPolicy": {
        "type": _one("Pods", "Percent"),
        "value": _from(1),
        "periodSeconds": _from(1, 1800),
    },
    "policy.v1.PodDisruptionBudgetSpec": {
        "unhealthyPodEvictionPolicy": _one("IfHealthyBudget", "AlwaysAllow")
    },
    "networking.v1.NetworkPolicySpec": {"policyTypes": _items("Ingress", "Egress")},
    "networking.v1.NetworkPolicyPort": {"protocol": _PROTOCOL},
    "networking.v1.HTTPIngressPath": {
        "pathType": _one("Exact", "Prefix", "ImplementationSpecific"),
        "path": _like(r"^/"),
    },
    "rbac.v1.PolicyRule": {"verbs": {"minItems": 1}},
    "rbac.v1.Subject": {"kind": _one("User", "Group", "ServiceAccount")},
    "rbac.v1.RoleRef": {
        "kind": _one("Role", "ClusterRole"),
        "apiGroup": _one("rbac.authorization.k8s.io"),
    },
}
_LATER = {"resource.v1.ExactDeviceRequest": {"allocationMode": _one("ExactCount", "All")}}  # 1.34


def tighten(definitions: dict[str, dict[str, Any]]) -> None:
    """Add the table to freshly loaded definitions. Raises KeyError for a field that is not."""
    for name, fields in TIGHTENED.items():
        for field, words in fields.items():
            definitions[f"io.k8s.api.{name}"]["properties"][field].update(words)
    for name, fields in _LATER.items():
        for field, words in fields.items():
            if f"io.k8s.api.{name}" in definitions:
                definitions[f"io.k8s.api.{name}"]["properties"][field].update(words)
