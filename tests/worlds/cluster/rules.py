"""What every rendered fleet keeps, beyond what an API server asks: pure functions over manifests.

Each takes all manifests of a fleet and says what is wrong; empty when nothing is.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from plimsoll.worlds.cluster.objects.names import FLEET
from tests.worlds.cluster.admission import CLUSTER_WIDE, containers
from tests.worlds.cluster.hardening import (
    a_token_goes_only_to_who_has_rights,
    every_container_has_requests_and_a_memory_limit,
    every_image_is_pinned,
    no_container_gains_rights,
    no_pod_runs_as_root_without_a_reason,
    secrets_are_only_named,
    the_node_s_disk_is_read_only_or_has_a_reason,
)
from tests.worlds.cluster.looking import Manifests, Object, Pods, name_of, of_kind, pods
from tests.worlds.cluster.reach import selects

_SCALED = {"Deployment", "StatefulSet", "LeaderWorkerSet"}


def selectors_do_not_overlap(manifests: Manifests) -> list[str]:
    """A selector of one workload never selects another's pods."""
    found = []
    owned = [pod for pod in pods(manifests) if pod.selector]
    for one, other in itertools.permutations(owned, 2):
        apart = one.namespace != other.namespace or one.owner == other.owner
        if not apart and selects(one.selector, other.labels):
            found.append(f"{one.owner} selects pods of {other.owner}")
    return found


def every_service_finds_pods_that_listen(manifests: Manifests) -> list[str]:
    found = []
    for service in of_kind(manifests, "Service"):
        chosen = [pod for pod in pods(manifests) if behind(service, pod)]
        if not service["spec"].get("selector") or not chosen:
            found.append(f"{name_of(service)}: selects nothing")
            continue
        ports = {
            port.get(word)
            for pod in chosen
            for _, container in pod.containers
            for port in container.get("ports", ())
            for word in ("name", "containerPort")
        }
        found += [
            f"{name_of(service)}: nothing listens on {port['targetPort']}"
            for port in service["spec"]["ports"]
            if port.get("targetPort", port["port"]) not in ports
        ]
    return found


def behind(service: Object, pod: Pods) -> bool:
    """Whether a Service may select a pod of a template, with labels that controllers add."""
    added = ("leaderworkerset.sigs.k8s.io/", "ray.io/", "apps.kubernetes.io/")
    wanted = {
        name: value
        for name, value in service["spec"].get("selector", {}).items()
        if not name.startswith(added)
    }
    here = service["metadata"]["namespace"] == pod.namespace
    return here and wanted.items() <= pod.labels.items()


def references(manifests: Manifests) -> Iterator[tuple[str, str, str, str]]:
    """(who, kind, namespace, name) of every object that another one names."""
    for pod in pods(manifests):
        for kind, name in _references_of(pod.spec):
            yield pod.owner, kind, pod.namespace, name
    for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
        where = binding["metadata"].get("namespace", "")
        yield name_of(binding), binding["roleRef"]["kind"], where, binding["roleRef"]["name"]
        for subject in binding["subjects"]:
            if subject["kind"] == "ServiceAccount":
                yield name_of(binding), "ServiceAccount", subject["namespace"], subject["name"]
    for scaled in of_kind(manifests, "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            if "authenticationRef" in trigger:
                name = trigger["authenticationRef"]["name"]
                where = scaled["metadata"]["namespace"]
                yield name_of(scaled), "TriggerAuthentication", where, name
    for route in of_kind(manifests, "Ingress", "HTTPRoute"):
        for name in _backends(route["spec"]):
            yield name_of(route), "Service", route["metadata"]["namespace"], name


def _references_of(spec: Object) -> Iterator[tuple[str, str]]:
    yield "ServiceAccount", spec.get("serviceAccountName", "default")
    for secret in spec.get("imagePullSecrets", ()):
        yield "Secret", secret["name"]
    for claim in spec.get("resourceClaims", ()):
        yield "ResourceClaimTemplate", claim["resourceClaimTemplateName"]
    for volume in spec.get("volumes", ()):
        yield from _references_of_volume(volume)
    for _, container in containers(spec):
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                yield "Secret", source["secretKeyRef"]["name"]
            if "configMapKeyRef" in source:
                yield "ConfigMap", source["configMapKeyRef"]["name"]


def _references_of_volume(volume: Object) -> Iterator[tuple[str, str]]:
    if "configMap" in volume:
        yield "ConfigMap", volume["configMap"]["name"]
    if "secret" in volume:
        yield "Secret", volume["secret"]["secretName"]
    for source in volume.get("projected", {}).get("sources", ()):
        if "secret" in source:
            yield "Secret", source["secret"]["name"]
    if "persistentVolumeClaim" in volume:
        yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]


def _backends(spec: Object) -> Iterator[str]:
    for rule in spec.get("rules", ()):
        for path in rule.get("http", {}).get("paths", ()):
            yield path["backend"]["service"]["name"]
        for backend in rule.get("backendRefs", ()):
            yield backend["name"]


def every_reference_resolves(
    manifests: Manifests, external: frozenset[tuple[str, str]] = frozenset()
) -> list[str]:
    """Every object that is named is there.

    external  (kind, name) of what people bring themselves, beside Secrets, which they always do
    """
    brought = external | {("ServiceAccount", "default")}  # every namespace has it
    there = {
        (found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"])
        for found in manifests
    }
    return [
        f"{who}: there is no {kind} {namespace}/{name}"
        for who, kind, namespace, name in references(manifests)
        if kind != "Secret" and (kind, namespace, name) not in there and (kind, name) not in brought
    ]


def every_replica_has_an_account_of_its_own(manifests: Manifests) -> list[str]:
    """So that a cloud can give one model's pods rights to its bucket, and no other's."""
    users: dict[tuple[str, str], set[str]] = {}
    for pod in (pod for pod in pods(manifests) if pod.kind in _SCALED | {"RayService"}):
        account = pod.spec.get("serviceAccountName", "default")
        users.setdefault((pod.namespace, account), set()).add(pod.owner.partition(":")[0])
    return [
        f"{', '.join(sorted(owners))}: runs as {namespace}/{account}"
        for (namespace, account), owners in users.items()
        if account == "default" or len(owners) > 1
    ]


# ---- scaling, disruption, ending


def scalers_have_one_target_and_own_its_replicas(manifests: Manifests) -> list[str]:
    found = []
    targets: Counter[tuple[str, str, str]] = Counter()
    by_key = {
        (m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"]): m for m in manifests
    }
    for scaler in of_kind(manifests, "ScaledObject", "HorizontalPodAutoscaler"):
        ref = scaler["spec"]["scaleTargetRef"]
        key = (ref.get("kind", "Deployment"), scaler["metadata"]["namespace"], ref["name"])
        targets[key] += 1
        target = by_key.get(key)
        if target is None:
            found.append(f"{name_of(scaler)}: there is no {key}")
        elif ref.get("apiVersion") != target["apiVersion"]:
            found.append(f"{name_of(scaler)}: {ref} is not {target['apiVersion']}")
        elif "replicas" in target["spec"]:
            found.append(f"{name_of(target)}: two set its replicas")
    found += [f"{key}: has {count} scalers" for key, count in targets.items() if count > 1]
    return found


def somebody_sets_the_replicas(manifests: Manifests, *, operator: bool) -> list[str]:
    """Without `replicas` there is one pod, for ever, unless a scaler says otherwise."""
    scaled = {
        (scaler["metadata"]["namespace"], scaler["spec"]["scaleTargetRef"]["name"])
        for scaler in of_kind(manifests, "ScaledObject", "HorizontalPodAutoscaler")
    }
    return [
        f"{name_of(found)}: nobody sets its replicas"
        for found in of_kind(manifests, *_SCALED)
        if "replicas" not in found["spec"]
        and (found["metadata"]["namespace"], found["metadata"]["name"]) not in scaled
        and not operator
    ]


def budgets_let_nodes_be_drained(manifests: Manifests) -> list[str]:
    found = []
    budgets = of_kind(manifests, "PodDisruptionBudget")
    for budget in budgets:
        spec = budget["spec"]
        if spec.get("maxUnavailable") in {0, "0", "0%"} or "minAvailable" in spec:
            found.append(f"{name_of(budget)}: may block every eviction")
        if not any(_covers(budget, pod) for pod in pods(manifests)):
            found.append(f"{name_of(budget)}: selects nothing")
    return found + [
        f"{pod.owner}: two budgets, so that no eviction is allowed"
        for pod in pods(manifests)
        if len([budget for budget in budgets if _covers(budget, pod)]) > 1
    ]


def _covers(budget: Object, pod: Pods) -> bool:
    inside = budget["metadata"]["namespace"] == pod.namespace
    return inside and selects(budget["spec"]["selector"], pod.labels)


def pods_end_in_the_time_that_they_have(manifests: Manifests) -> list[str]:
    """Grace is more than the pause before the signal and the engine's own drain."""
    found = []
    for pod in pods(manifests):
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        for path, container in pod.containers:
            pause = container.get("lifecycle", {}).get("preStop", {})
            seconds = pause.get("sleep", {}).get("seconds", 0)
            words = [*container.get("command", ()), *container.get("args", ())]
            drain = _after(words, "--shutdown-timeout")
            if seconds + drain >= grace:
                found.append(f"{path}: {seconds} + {drain} s do not fit in {grace} s")
    return found


def _after(words: list[str], flag: str) -> int:
    for word, following in itertools.pairwise([*words, ""]):
        if word == flag:
            return int(following)
        if word.startswith(f"{flag}="):
            return int(word.partition("=")[2])
    return 0


def no_probe_kills_what_loads(manifests: Manifests) -> list[str]:
    """Liveness waits for startup, and is more patient than readiness.

    KubeRay gives its own probes to the pods of a Ray cluster.
    """
    found = []
    for pod in (pod for pod in pods(manifests) if pod.kind != "RayService"):
        for path, container in pod.containers:
            alive, ready = container.get("livenessProbe"), container.get("readinessProbe")
            if alive and "startupProbe" not in container:
                found.append(f"{path}: liveness without a startup probe")
            if alive and ready and _patience(alive) <= _patience(ready):
                found.append(f"{path}: is killed before it is out of service")
            if container.get("ports") and not ready:
                found.append(f"{path}: listens, and nobody asks whether it is ready")
    return found


def _patience(probe: Object) -> int:
    return int(probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3))


# ---- names and places


def every_object_is_one_and_has_its_place(manifests: Manifests) -> list[str]:
    keys = Counter(f"{m['apiVersion']} {name_of(m)}" for m in manifests)
    found = [f"{key}: is there {count} times" for key, count in keys.items() if count > 1]
    for manifest in manifests:
        meta, kind = manifest["metadata"], manifest["kind"]
        wide = kind in CLUSTER_WIDE | {"NodePool", "EC2NodeClass"}
        if wide == ("namespace" in meta):
            found.append(f"{name_of(manifest)}: namespace")
        if FLEET not in meta.get("labels", {}):
            found.append(f"{name_of(manifest)}: does not say whose it is")
        if len(meta["name"]) > 63:
            found.append(f"{name_of(manifest)}: its name is too long")
        if kind == "ScaledObject" and len(meta["name"]) > 54:
            found.append(f"{name_of(manifest)}: KEDA's HPA would have too long a name")
    return found


RULES = (
    no_pod_runs_as_root_without_a_reason,
    every_image_is_pinned,
    every_container_has_requests_and_a_memory_limit,
    no_container_gains_rights,
    the_node_s_disk_is_read_only_or_has_a_reason,
    a_token_goes_only_to_who_has_rights,
    secrets_are_only_named,
    selectors_do_not_overlap,
    every_service_finds_pods_that_listen,
    every_replica_has_an_account_of_its_own,
    scalers_have_one_target_and_own_its_replicas,
    budgets_let_nodes_be_drained,
    pods_end_in_the_time_that_they_have,
    no_probe_kills_what_loads,
    every_object_is_one_and_has_its_place,
)
