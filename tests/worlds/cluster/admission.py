"""What an API server checks beyond schemas: names, labels, and what fields say to each other.

Written from k8s.io/kubernetes pkg/apis/*/validation, from memory of public documentation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from tests.worlds.cluster.tightened import KEY, LABEL, LABEL_VALUE, QUALIFIED, SUBDOMAIN

Object = Mapping[str, Any]
CLUSTER_WIDE = {
    "Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "StorageClass",
    "PriorityClass", "RuntimeClass", "CustomResourceDefinition", "DeviceClass", "IngressClass",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "CSIDriver", "APIService",
    "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ResourceSlice",
    "VolumeAttributesClass",
}  # fmt: skip
_RBAC = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
_DNS_1035 = r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"
_SUFFIX = {"StatefulSet": 52, "CronJob": 52, "Job": 63, "Deployment": 63, "DaemonSet": 63}
_UNITS = {
    "": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6),
    "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "Ki": Decimal(2**10),
    "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def quantity(text: str | float) -> Decimal:
    """The number that a quantity such as `500m` or `8Gi` stands for. Raises ValueError."""
    match = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text))
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no quantity")
    return Decimal(match[1]) * _UNITS[match[2]]


def problems(manifest: Object, subject: str, *, builtin: bool, namespaced: bool) -> list[str]:
    """What is refused in a manifest although its schema allows it.

    builtin     whether it is a kind of Kubernetes itself
    namespaced  whether its kind lives in namespaces
    """
    found = [f"{subject}.metadata{problem}" for problem in _metadata(manifest, namespaced)]
    check = _KINDS.get(manifest["kind"]) if builtin else None
    try:
        if check is not None:
            found += [f"{subject}{problem}" for problem in check(manifest)]
        own = _own_volumes(manifest)
        for path, template in pod_templates(manifest):
            found += [f"{subject}.{path}.spec{problem}" for problem in _pod(template["spec"], own)]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        found.append(f"{subject}: {error!r} (its schema is not kept)")
    return found


def _metadata(manifest: Object, namespaced: bool) -> Iterator[str]:
    metadata, kind = manifest.get("metadata", {}), manifest["kind"]
    name = str(metadata.get("name", ""))
    shape = {"Namespace": LABEL, "Service": _DNS_1035}.get(kind, SUBDOMAIN)
    if kind in _RBAC:
        shape = r"^[^/%]+$"
    longest = _SUFFIX.get(kind, 253)
    if not re.search(shape, name) or len(name) > longest:
        yield f".name: {name!r} is no name for a {kind}"
    if not namespaced and "namespace" in metadata:
        yield f".namespace: a {kind} has none"
    if "namespace" in metadata and not re.search(LABEL, str(metadata["namespace"])):
        yield f".namespace: {metadata['namespace']!r}"
    yield from _labels(metadata.get("labels", {}), ".labels")
    for key in metadata.get("annotations", {}):
        if not re.search(QUALIFIED, key.lower()):
            yield f".annotations: {key!r} is no key"
    if sum(len(k) + len(str(v)) for k, v in metadata.get("annotations", {}).items()) > 2**18:
        yield ".annotations: more than 256 KiB"


def _labels(labels: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in labels.items():
        if not re.search(QUALIFIED, str(key)):
            yield f"{path}: {key!r} is no key"
        if not isinstance(value, str) or not re.search(LABEL_VALUE, value):
            yield f"{path}.{key}: {value!r} is no label's value"


def pod_templates(manifest: Object) -> Iterator[tuple[str, Any]]:
    """Every pod template of a manifest that follows Kubernetes' own schema, with its path."""
    spec, kind = manifest.get("spec", {}), manifest.get("kind")
    if kind in {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"}:
        yield "spec.template", spec["template"]
    elif kind == "Pod":
        yield "", manifest
    elif kind == "CronJob":
        yield "spec.jobTemplate.spec.template", spec["jobTemplate"]["spec"]["template"]
    elif kind == "LeaderWorkerSet":
        group = spec.get("leaderWorkerTemplate", {})
        for name in ("leaderTemplate", "workerTemplate"):
            if name in group:
                yield f"spec.leaderWorkerTemplate.{name}", group[name]
    elif kind in {"RayService", "RayCluster"}:
        cluster = spec.get("rayClusterConfig", {}) if kind == "RayService" else spec
        for number, group in enumerate(
            [cluster.get("headGroupSpec", {}), *cluster.get("workerGroupSpecs", ())]
        ):
            if "template" in group:
                yield f"spec.rayClusterConfig.group[{number}].template", group["template"]


def containers(spec: Object) -> Iterator[tuple[str, Any]]:
    """Every container of a pod with its path, those that start first included."""
    for word in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(word, ())):
            yield f"{word}[{number}]", container


def _twice(names: list[Any]) -> list[Any]:
    return [name for name, count in Counter(names).items() if count > 1]


def _own_volumes(manifest: Object) -> list[str]:
    """Names of the claims that every pod of a set gets for its own, which are volumes too."""
    spec = manifest.get("spec", {})
    templates = [
        *spec.get("volumeClaimTemplates", ()),
        *spec.get("leaderWorkerTemplate", {}).get("volumeClaimTemplates", ()),
    ]
    return [template["metadata"]["name"] for template in templates]


def _pod(spec: Object, own: list[str]) -> Iterator[str]:
    found = list(containers(spec))
    volumes = [*own, *(volume["name"] for volume in spec.get("volumes", ()))]
    for name in _twice([container["name"] for _, container in found]) + _twice(volumes):
        yield f": {name!r} is there twice"
    claims = {claim["name"] for claim in spec.get("resourceClaims", ())}
    grace = spec.get("terminationGracePeriodSeconds", 30)
    for path, container in found:
        known = {*volumes, *claims}
        yield from (f".{path}{problem}" for problem in _container(container, known, grace))
        for claim in container.get("resources", {}).get("claims", ()):
            if claim["name"] not in claims:
                yield f".{path}.resources.claims: {claim['name']!r} is no claim of the pod"
    for volume in spec.get("volumes", ()):
        if len(volume) != 2:
            yield f".volumes: {volume['name']!r} needs exactly one source"
    yield from _labels(spec.get("nodeSelector", {}), ".nodeSelector")
    for toleration in spec.get("tolerations", ()):
        if toleration.get("operator") == "Exists" and toleration.get("value"):
            yield ".tolerations: `Exists` takes no value"
        if "key" not in toleration and toleration.get("operator") != "Exists":
            yield ".tolerations: an empty key needs `Exists`"
    yield from _node_affinity(spec)


def _node_affinity(spec: Object) -> Iterator[str]:
    node = spec.get("affinity", {}).get("nodeAffinity", {})
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = [*required.get("nodeSelectorTerms", ())]
    terms += [
        one["preference"] for one in node.get("preferredDuringSchedulingIgnoredDuringExecution", ())
    ]
    for term in terms:
        for rule in term.get("matchExpressions", ()):
            values, operator = rule.get("values", []), rule["operator"]
            if operator in {"Gt", "Lt"} and not (len(values) == 1 and values[0].isdigit()):
                yield f".affinity: {operator} takes one integer, not {values}"
            if (operator in {"In", "NotIn"}) != bool(values) and operator not in {"Gt", "Lt"}:
                yield f".affinity: {operator} with {values}"


def _container(container: Object, volumes: set[str], grace: float) -> Iterator[str]:
    yield from _mounts(container, volumes)
    yield from _environment(container)
    yield from _resources(container.get("resources", {}))
    ports = container.get("ports", ())
    names = [port["name"] for port in ports if "name" in port]
    for name in _twice(names):
        yield f".ports: {name!r} is there twice"
    for name in names:
        if not re.search("[a-z]", name) or "--" in name:
            yield f".ports: {name!r} is no service name"
    for word in ("startupProbe", "livenessProbe", "readinessProbe"):
        if word in container:
            yield from (f".{word}{p}" for p in _probe(container[word], ports, word))
    yield from _lifecycle(container.get("lifecycle", {}), grace)
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is False and security.get("privileged"):
        yield ".securityContext: privileged, yet no privilege escalation"


def _mounts(container: Object, volumes: set[str]) -> Iterator[str]:
    mounts = container.get("volumeMounts", ())
    for mount in mounts:
        if mount["name"] not in volumes:
            yield f".volumeMounts: there is no volume {mount['name']!r}"
    for path in _twice([mount["mountPath"] for mount in mounts]):
        yield f".volumeMounts: {path!r} is there twice"


def _environment(container: Object) -> Iterator[str]:
    variables = container.get("env", ())
    for variable in variables:
        if "value" in variable and "valueFrom" in variable:
            yield f".env: {variable['name']} has `value` and `valueFrom`"
    for name in _twice([variable["name"] for variable in variables]):
        yield f".env: {name!r} is there twice"


def _lifecycle(lifecycle: Object, grace: float) -> Iterator[str]:
    for word, handler in lifecycle.items():
        if len([name for name in _HANDLERS if name in handler]) != 1 and word != "stopSignal":
            yield f".lifecycle.{word}: needs exactly one handler"
        if word == "preStop" and handler.get("sleep", {}).get("seconds", 0) > grace:
            yield ".lifecycle.preStop: sleeps longer than the grace period"


def _probe(probe: Object, ports: Any, word: str) -> Iterator[str]:
    handlers = [name for name in _HANDLERS if name in probe]
    if len(handlers) != 1:
        yield ": needs exactly one handler"
        return
    if word != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield ".successThreshold: must be 1"
    port = probe[handlers[0]].get("port")
    if isinstance(port, str) and port not in {found.get("name") for found in ports}:
        yield f": there is no port {port!r}"


def _resources(resources: Object) -> Iterator[str]:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for name, wanted in requests.items():
        if name in limits and quantity(wanted) > quantity(limits[name]):
            yield f".resources: requests more {name} than its limit"
    for name in {*limits, *requests}:
        if "/" not in name:
            continue
        amount = limits.get(name)
        if amount is None or quantity(requests.get(name, amount)) != quantity(amount):
            yield f".resources: {name} is never overcommitted: its limit is its request"
        elif quantity(amount) % 1:
            yield f".resources: {name} is counted in whole ones"


def _selects(manifest: Object) -> Iterator[str]:
    spec = manifest["spec"]
    labels = spec["template"].get("metadata", {}).get("labels", {})
    yield from _labels(labels, ".spec.template.metadata.labels")
    wanted = spec.get("selector", {}).get("matchLabels", {})
    if not wanted and not spec.get("selector", {}).get("matchExpressions"):
        yield ".spec.selector: is empty"
    if not wanted.items() <= labels.items():
        yield ".spec.selector: does not match the labels of its own template"
    if spec["template"]["spec"].get("restartPolicy", "Always") != "Always":
        yield ".spec.template.spec.restartPolicy: must be `Always`"


def _service(manifest: Object) -> Iterator[str]:
    spec = manifest["spec"]
    ports = spec.get("ports", [])
    names = [port.get("name", "") for port in ports]
    if len(ports) > 1 and ("" in names or _twice(names)):
        yield ".spec.ports: each of several needs a name of its own"
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield ".spec.ports: at least one"
    yield from _labels(spec.get("selector", {}), ".spec.selector")
    if spec.get("type") == "LoadBalancer" and spec.get("clusterIP") == "None":
        yield ".spec: a load balancer is not headless"


def _autoscaler(manifest: Object) -> Iterator[str]:
    spec = manifest["spec"]
    if spec.get("minReplicas", 1) > spec["maxReplicas"]:
        yield ".spec: `minReplicas` is above `maxReplicas`"
    for metric in spec.get("metrics", ()):
        field = metric["type"][0].lower() + metric["type"][1:]
        if set(metric) != {"type", field}:
            yield f".spec.metrics: {metric['type']} needs `{field}` alone"
    if spec.get("minReplicas") == 0 and not {"Object", "External"} & {
        metric["type"] for metric in spec.get("metrics", ())
    }:
        yield ".spec.minReplicas: 0 needs an object or external metric"


def _budget(manifest: Object) -> Iterator[str]:
    if len({"minAvailable", "maxUnavailable"} & set(manifest["spec"])) != 1:
        yield ".spec: exactly one of `minAvailable` and `maxUnavailable`"


def _rules(manifest: Object) -> Iterator[str]:
    for rule in manifest.get("rules", ()):
        resources, urls = rule.get("resources"), rule.get("nonResourceURLs")
        if bool(resources) == bool(urls) or (resources and "apiGroups" not in rule):
            yield f".rules: {rule} names neither resources nor URLs, or both"
        if manifest["kind"] == "Role" and urls:
            yield ".rules: a Role has no URLs"


def _binding(manifest: Object) -> Iterator[str]:
    for subject in manifest.get("subjects", ()):
        account = subject["kind"] == "ServiceAccount"
        if account != ("namespace" in subject) or account == bool(subject.get("apiGroup")):
            yield f".subjects: {subject}"


def _data(manifest: Object) -> Iterator[str]:
    for key in [*manifest.get("data", {}), *manifest.get("binaryData", {})]:
        if not re.search(KEY, key):
            yield f".data: {key!r} is no key"
    if sum(len(str(value)) for value in manifest.get("data", {}).values()) > 2**20:
        yield ".data: more than 1 MiB"


def _claim(manifest: Object) -> Iterator[str]:
    if "storage" not in manifest["spec"].get("resources", {}).get("requests", {}):
        yield ".spec.resources.requests: `storage` is missing"


def _job(manifest: Object) -> Iterator[str]:
    if manifest["spec"]["template"]["spec"].get("restartPolicy") not in {"Never", "OnFailure"}:
        yield ".spec.template.spec.restartPolicy: must be `Never` or `OnFailure`"


_KINDS: dict[str, Callable[[Object], Iterator[str]]] = {
    "Deployment": _selects,
    "StatefulSet": _selects,
    "DaemonSet": _selects,
    "Job": _job,
    "Service": _service,
    "HorizontalPodAutoscaler": _autoscaler,
    "PodDisruptionBudget": _budget,
    "Role": _rules,
    "ClusterRole": _rules,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "ConfigMap": _data,
    "Secret": _data,
    "PersistentVolumeClaim": _claim,
}
