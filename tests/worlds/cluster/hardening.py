"""What every pod of a rendered fleet may do, takes and knows: pure functions over manifests."""

from __future__ import annotations

import re

from plimsoll.worlds.cluster.objects.names import PREFIX
from tests.worlds.cluster.looking import Manifests, name_of, of_kind, pods

WHY_ROOT = f"{PREFIX}/why-root"
_SECRET_NAME = re.compile(r"(TOKEN|PASSWORD|SECRET|API_KEY|PRIVATE_KEY)$")


def no_pod_runs_as_root_without_a_reason(manifests: Manifests) -> list[str]:
    found = []
    for pod in pods(manifests):
        shared = pod.spec.get("securityContext", {})
        for path, container in pod.containers:
            own = {**shared, **container.get("securityContext", {})}
            rooted = own.get("runAsUser") == 0 or own.get("runAsNonRoot") is not True
            if rooted and not pod.annotations.get(WHY_ROOT):
                found.append(f"{path}: runs as root")
    return found


def every_image_is_pinned(manifests: Manifests) -> list[str]:
    found = []
    for pod in pods(manifests):
        images = [(path, container["image"]) for path, container in pod.containers]
        images += [
            (f"{pod.owner}.{volume['name']}", volume["image"]["reference"])
            for volume in pod.spec.get("volumes", ())
            if "image" in volume
        ]
        for path, image in images:
            tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
            if "@sha256:" not in image and tag in {"", "latest"}:
                found.append(f"{path}: {image}")
    return found


def every_container_has_requests_and_a_memory_limit(manifests: Manifests) -> list[str]:
    wanted = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
    return [
        f"{path}: no {name} in {group}"
        for pod in pods(manifests)
        for path, container in pod.containers
        for group, name in wanted
        if name not in container.get("resources", {}).get(group, {})
    ]


def no_container_gains_rights(manifests: Manifests) -> list[str]:
    found = []
    for pod in pods(manifests):
        found += [
            f"{pod.owner}: {word}"
            for word in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")
            if pod.spec.get(word)
        ]
        profile = pod.spec.get("securityContext", {}).get("seccompProfile", {}).get("type")
        if profile != "RuntimeDefault":
            found.append(f"{pod.owner}: seccompProfile")
        if pod.spec.get("enableServiceLinks", True):
            found.append(f"{pod.owner}: Services of the namespace become variables")
        for path, container in pod.containers:
            own = container.get("securityContext", {})
            if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
                found.append(f"{path}: may gain privileges")
            if own.get("capabilities") != {"drop": ["ALL"]}:
                found.append(f"{path}: keeps capabilities")
            if own.get("readOnlyRootFilesystem") is not True:
                found.append(f"{path}: its root file system can be written")
    return found


def the_node_s_disk_is_read_only_or_has_a_reason(manifests: Manifests) -> list[str]:
    found = []
    for pod in pods(manifests):
        host = {v["name"] for v in pod.spec.get("volumes", ()) if "hostPath" in v}
        for path, container in pod.containers:
            for mount in container.get("volumeMounts", ()):
                written = mount["name"] in host and not mount.get("readOnly")
                if written and not pod.annotations.get(WHY_ROOT):
                    found.append(f"{path}: writes to the node's disk at {mount['mountPath']}")
    return found


def a_token_goes_only_to_who_has_rights(manifests: Manifests) -> list[str]:
    """KubeRay itself binds the account of a Ray cluster whose autoscaler runs in its first pod."""
    bound = {
        (subject.get("namespace"), subject["name"])
        for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding")
        for subject in binding["subjects"]
        if subject["kind"] == "ServiceAccount"
    }
    return [
        f"{pod.owner}: has a token"
        for pod in pods(manifests)
        if pod.kind != "RayService"
        and pod.spec.get("automountServiceAccountToken", True)
        and (pod.namespace, pod.spec.get("serviceAccountName", "default")) not in bound
    ]


def secrets_are_only_named(manifests: Manifests) -> list[str]:
    found = [name_of(secret) for secret in of_kind(manifests, "Secret")]
    for pod in pods(manifests):
        found += [
            f"{path}: {variable['name']} in the open"
            for path, container in pod.containers
            for variable in container.get("env", ())
            if _SECRET_NAME.search(variable["name"]) and "value" in variable
        ]
    return found
