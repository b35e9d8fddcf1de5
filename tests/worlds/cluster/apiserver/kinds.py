"""The kinds that the mocked API server serves, and the rules of theirs that it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    api_version: str
    kind: str
    plural: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def slot(self) -> tuple[str, str]:
        """Under which its objects are kept, whatever the version."""
        return (self.group, self.plural)


def _kinds(table: str) -> list[Kind]:
    found = []
    for line in table.strip().splitlines():
        api_version, kind, plural, scope, *subresources = line.split()
        found.append(
            Kind(
                api_version=api_version, kind=kind, plural=plural, namespaced=scope == "ns",
                subresources=tuple(subresources),
            )
        )  # fmt: skip
    return found


BUILT_IN = _kinds("""
v1 Namespace namespaces all status
v1 Node nodes all status
v1 PersistentVolume persistentvolumes all status
v1 Pod pods ns status log
v1 Service services ns status
v1 ConfigMap configmaps ns
v1 Secret secrets ns
v1 ServiceAccount serviceaccounts ns
v1 PersistentVolumeClaim persistentvolumeclaims ns status
v1 ResourceQuota resourcequotas ns status
v1 LimitRange limitranges ns
v1 Event events ns
apps/v1 Deployment deployments ns status scale
apps/v1 StatefulSet statefulsets ns status scale
apps/v1 ReplicaSet replicasets ns status scale
apps/v1 DaemonSet daemonsets ns status
batch/v1 Job jobs ns status
batch/v1 CronJob cronjobs ns status
autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers ns status
policy/v1 PodDisruptionBudget poddisruptionbudgets ns status
networking.k8s.io/v1 NetworkPolicy networkpolicies ns
networking.k8s.io/v1 Ingress ingresses ns status
rbac.authorization.k8s.io/v1 Role roles ns
rbac.authorization.k8s.io/v1 RoleBinding rolebindings ns
rbac.authorization.k8s.io/v1 ClusterRole clusterroles all
rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings all
coordination.k8s.io/v1 Lease leases ns
discovery.k8s.io/v1 EndpointSlice endpointslices ns
events.k8s.io/v1 Event events ns
storage.k8s.io/v1 StorageClass storageclasses all
scheduling.k8s.io/v1 PriorityClass priorityclasses all
apiextensions.k8s.io/v1 CustomResourceDefinition customresourcedefinitions all status
apiregistration.k8s.io/v1 APIService apiservices all status
authorization.k8s.io/v1 SelfSubjectAccessReview selfsubjectaccessreviews all
admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy validatingadmissionpolicies all
admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration validatingwebhookconfigurations all
resource.k8s.io/v1 DeviceClass deviceclasses all
resource.k8s.io/v1 ResourceSlice resourceslices all
resource.k8s.io/v1 ResourceClaim resourceclaims ns status
resource.k8s.io/v1 ResourceClaimTemplate resourceclaimtemplates ns
""")

# Installed on top of Kubernetes; taken away by `api.uninstall("keda.sh/v1alpha1")`.
INSTALLED = _kinds("""
plimsoll.dev/v1alpha1 Fleet fleets ns status
keda.sh/v1alpha1 ScaledObject scaledobjects ns status
keda.sh/v1alpha1 TriggerAuthentication triggerauthentications ns status
leaderworkerset.x-k8s.io/v1 LeaderWorkerSet leaderworkersets ns status scale
monitoring.coreos.com/v1 PodMonitor podmonitors ns
monitoring.coreos.com/v1 ServiceMonitor servicemonitors ns
monitoring.coreos.com/v1 PrometheusRule prometheusrules ns
karpenter.sh/v1 NodePool nodepools all status
karpenter.k8s.aws/v1 EC2NodeClass ec2nodeclasses all status
nvidia.com/v1 ClusterPolicy clusterpolicies all status
ray.io/v1 RayService rayservices ns status
gateway.networking.k8s.io/v1 HTTPRoute httproutes ns status
gateway.networking.k8s.io/v1 Gateway gateways ns status
inference.networking.k8s.io/v1 InferencePool inferencepools ns status
serving.kserve.io/v1beta1 InferenceService inferenceservices ns status
autoscaling.k8s.io/v1 VerticalPodAutoscaler verticalpodautoscalers ns status
""")

REPLICATED = {"Deployment", "StatefulSet", "ReplicaSet", "LeaderWorkerSet"}


def defaults(manifest: dict[str, Any]) -> None:
    """What the API server fills in, as far as anything of ours depends on it."""
    kind, spec = manifest["kind"], manifest.get("spec")
    if kind in REPLICATED and isinstance(spec, dict):
        spec.setdefault("replicas", 1)
    if kind == "Service" and isinstance(spec, dict):
        spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports") or []:
            port.setdefault("protocol", "TCP")
    if kind in {"Deployment", "StatefulSet", "DaemonSet"} and isinstance(spec, dict):
        _pod_defaults((spec.get("template") or {}).get("spec"))
    if kind == "Pod":
        _pod_defaults(spec)
        manifest.setdefault("status", {"phase": "Pending"})
    if kind == "Namespace":
        manifest.setdefault("status", {"phase": "Active"})


def _pod_defaults(spec: dict[str, Any] | None) -> None:
    for container in (spec or {}).get("containers") or []:
        for port in container.get("ports") or []:
            port.setdefault("protocol", "TCP")


def broken_rules(old: dict[str, Any] | None, new: dict[str, Any]) -> list[tuple[str, str]]:
    """Fields that break a rule of their kind, with the API server's words."""
    found = []
    if len(new["metadata"]["name"]) > (63 if new["kind"] in {"Service", "Namespace"} else 253):
        found.append(("metadata.name", "Invalid value: must be no more than 63 characters"))
    if old is None:
        return found
    kind, before, after = new["kind"], old.get("spec") or {}, new.get("spec") or {}
    if kind in {"Deployment", "DaemonSet", "ReplicaSet", "Job"}:
        fixed = ("selector", "template") if kind == "Job" else ("selector",)
        found += [
            (f"spec.{name}", "Invalid value: field is immutable")
            for name in fixed
            if before.get(name) != after.get(name)
        ]
    if kind == "StatefulSet":
        free = {
            "replicas", "ordinals", "template", "updateStrategy", "minReadySeconds",
            "persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit",
        }  # fmt: skip
        if _without(before, free) != _without(after, free):
            text = "Forbidden: updates to statefulset spec for fields other than 'replicas', "
            found.append(("spec", f"{text}'template' and 'updateStrategy' are forbidden"))
    if kind == "PersistentVolumeClaim" and _without(before, {"resources", "volumeName"}) != (
        _without(after, {"resources", "volumeName"})
    ):
        text = "Forbidden: spec is immutable after creation except resources.requests"
        found.append(("spec", f"{text} and volumeAttributesClassName for bound claims"))
    if kind in {"RoleBinding", "ClusterRoleBinding"} and old.get("roleRef") != new.get("roleRef"):
        found.append(("roleRef", "Invalid value: cannot change roleRef"))
    if (
        kind in {"ConfigMap", "Secret"}
        and old.get("immutable")
        and old.get("data") != new.get("data")
    ):
        found.append(("data", "Forbidden: field is immutable when `immutable` is set"))
    return found


def _without(spec: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in names}
