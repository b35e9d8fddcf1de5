"""How weights get into a replica's pods: each of the ways that a fleet file can ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.kubernetes import kubernetes_features
from plimsoll.worlds.cluster.objects.artifacts import (
    FOLDER,
    VOLUME,
    Artifact,
    artifacts,
    fetching,
    in_cluster,
    secret_volumes,
)
from plimsoll.worlds.cluster.objects.names import PREFIX, object_name
from plimsoll.worlds.cluster.objects.node_models import gate, waiting
from plimsoll.worlds.cluster.objects.resources import quantity, small_resources, weights_size
from plimsoll.worlds.cluster.objects.scheduling import HOSTNAME
from plimsoll.worlds.cluster.objects.security import OUR_USER, container_security, node_local
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata

CLAIMED = "/mnt/claims"  # where existing volumes are mounted
IMAGES = "/mnt/images"  # where images with weights are mounted
IN_IMAGE = "models"  # folder of the weights in such an image, as KServe's model images have it
_SHARED_MODES = ("ReadWriteMany", "ReadOnlyMany")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the weights ask of a pod.

    paths         what the engine opens, by role: `weights`, `draft`, `adapter NAME`
    volumes       of the pod
    mounts        of the engine's container, read-only
    init          containers that run before the engine
    templates     claims that each replica gets for its own
    pull_secrets  names of Secrets for private registries
    disk          bytes of the pod's scratch disk that weights take
    group         group that owns a writable claim; None where there is none
    affinity      further affinity: `podAffinity`, `podAntiAffinity`
    annotations   what people should know
    """

    paths: Mapping[str, str]
    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    init: list[dict[str, Any]] = field(default_factory=list)
    templates: list[dict[str, Any]] = field(default_factory=list)
    pull_secrets: list[str] = field(default_factory=list)
    disk: int = 0
    group: int | None = None
    affinity: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


def stored(site: Site, workload: Workload, further: tuple[Workload, ...] = ()) -> Stored:
    """What the weights of a model ask of its pods.

    further  models that run in the same pods; their paths are by `MODEL ROLE`

    Raises InputError for a source that its strategy cannot bring into a cluster.
    """
    paths: dict[str, str] = {}
    parts: list[Stored] = []
    fetched: dict[str, Artifact] = {}
    for index, (role, owner, artifact) in enumerate(_everything(workload, further)):
        if artifact.source.scheme == "pvc":
            path, part = _mounted(artifact, index)
        elif artifact.source.scheme == "oci":
            path, part = _imaged(site, owner, artifact, index)
        else:
            path, part = artifact.path, None
            fetched[artifact.path] = artifact
        paths[role] = path
        parts += [part] if part else []
    if fetched:
        parts.append(_fetched(site, (workload, *further), list(fetched.values())))
    return _together(paths, parts)


def _everything(
    workload: Workload, further: tuple[Workload, ...]
) -> Iterator[tuple[str, Workload, Artifact]]:
    """Every artifact with its role and whose it is. Raises InputError."""
    for owner in (workload, *further):
        _check(owner)
        prefix = "" if owner is workload else f"{owner.model.name} "
        for artifact in artifacts(owner.model, whole=whole(owner)):
            yield f"{prefix}{artifact.role}", owner, artifact


def whole(workload: Workload) -> bool:
    """Whether every file of the source is wanted, not those of a known weight format."""
    place = workload.place
    return place.engine == "triton" and place.options.backend not in (None, "vllm")


def claim_objects(workload: Workload) -> Iterator[Manifest]:
    """The volume claim that all replicas share, where the fleet file asks for a new one."""
    if _way(workload) == "claim" and workload.model.storage.claim is None:
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata(claim_name(workload), workload.namespace, workload.labels),
            "spec": _claim_spec(workload, access_mode(workload)),
        }


def claim_name(workload: Workload) -> str:
    """Of the volume claim that all replicas of the model share."""
    return workload.model.storage.claim or object_name(workload.name, "models")


def access_mode(workload: Workload) -> str:
    """Of the model's volume: as written, else one that every storage class can give."""
    return workload.model.storage.access_mode or "ReadWriteOnce"


def tied_to_one_node(workload: Workload) -> bool:
    """Whether all replicas mount one volume that only one node can mount at a time."""
    return _way(workload) == "claim" and workload.model.storage.access_mode not in _SHARED_MODES


def most_replicas(workload: Workload) -> int:
    """The most replicas that scaling, or a schedule, may ask for."""
    scaling = workload.model.scaling
    return max(scaling.max, *(plan.max or 0 for plan in scaling.schedules), 0)


def _way(workload: Workload) -> str:
    """`scratch`, `claim`, `own` or `node`: where what is fetched goes."""
    storage = workload.model.storage
    if node_local(workload):
        return "node"
    if storage.strategy != "volume":
        return "scratch"
    shared = storage.claim is not None or access_mode(workload) in _SHARED_MODES
    return "claim" if shared else "own"


def _check(workload: Workload) -> None:
    """Raises InputError where strategy and source do not go together."""
    model = workload.model
    where = f"model {model.name}"
    if model.storage.strategy == "image" and model.source.scheme != "oci":
        raise InputError(
            "`storage.strategy: image` is for weights in an OCI image",
            where=where,
            hint="write `source: oci://registry/name:tag`, or another strategy",
            code="cluster.storage",
        )
    if model.storage.access_mode == "ReadOnlyMany" and model.source.scheme != "pvc":
        raise InputError(
            "nothing can be fetched into a volume that is only read",
            where=where,
            hint="name the weights in it with `source: pvc://claim/path`",
            code="cluster.storage",
        )


def _mounted(artifact: Artifact, index: int) -> tuple[str, Stored]:
    """An existing claim, only read."""
    name = f"claim-{index}"
    folder = f"{CLAIMED}/{index}"
    claim = {"claimName": artifact.source.claim, "readOnly": True}
    part = Stored(
        paths={},
        volumes=[{"name": name, "persistentVolumeClaim": claim}],
        mounts=[{"name": name, "mountPath": folder, "readOnly": True}],
    )
    return f"{folder}/{artifact.source.path}".rstrip("/"), part


def _imaged(site: Site, workload: Workload, artifact: Artifact, index: int) -> tuple[str, Stored]:
    """An OCI image: mounted where Kubernetes can, else copied by a container of that image."""
    source = artifact.source
    if not source.revision:
        raise InputError(
            f"`{source.text}` names no tag and no digest, so its content may change unseen",
            where=f"model {workload.model.name}",
            hint="write `oci://registry/name:tag`, or better `@sha256:...`",
            code="cluster.image",
        )
    mark = "@" if source.revision.startswith("sha256:") else ":"
    reference = f"{source.repository}{mark}{source.revision}"
    secrets = _pull_secrets(workload, artifact)
    if site.info.minor >= kubernetes_features()["imageVolume"].minor:
        name, folder = f"image-{index}", f"{IMAGES}/{index}"
        mount = {"name": name, "mountPath": folder, "subPath": IN_IMAGE, "readOnly": True}
        image = {"reference": reference, "pullPolicy": "IfNotPresent"}
        volume = {"name": name, "image": image}
        return folder, Stored(paths={}, volumes=[volume], mounts=[mount], pull_secrets=secrets)
    size = weights_size(workload)
    name, folder = f"copy-{index}", f"{IMAGES}/{index}"
    copying = {
        "name": name,
        "image": reference,
        "command": ["cp", "-R", f"/{IN_IMAGE}/.", folder],
        "resources": small_resources(memory=256 * 1024**2, disk=size),
        "securityContext": container_security(OUR_USER),
        "volumeMounts": [{"name": name, "mountPath": folder}],
    }
    why = "Kubernetes mounts images as volumes from 1.35 on; the image needs `cp` until then"
    return folder, Stored(
        paths={},
        volumes=[_scratch(name, size)],
        mounts=[{"name": name, "mountPath": folder, "readOnly": True}],
        init=[copying],
        pull_secrets=secrets,
        disk=size,
        annotations={f"{PREFIX}/why-copy": why},
    )


def _pull_secrets(workload: Workload, artifact: Artifact) -> list[str]:
    if artifact.credential is None:
        return []
    return [in_cluster(artifact.credential, f"model {workload.model.name}")["name"]]


def _fetched(site: Site, owners: tuple[Workload, ...], wanted: list[Artifact]) -> Stored:
    """What is downloaded: into scratch, a volume, or from the node's own disk."""
    workload = owners[0]
    way = _way(workload)
    common: dict[str, Any] = {
        "paths": {},
        "mounts": [{"name": VOLUME, "mountPath": FOLDER, "readOnly": True}],
    }
    if way == "node":
        return Stored(
            **common,
            volumes=[_node_folder(workload)],
            init=[waiting(site, artifact, index) for index, artifact in enumerate(wanted)],
            affinity=gate(site, workload, wanted),
        )
    secrets = [
        volume
        for index, artifact in enumerate(wanted)
        for volume in secret_volumes(workload, artifact, index)
    ]
    common["init"] = [
        fetching(site, workload, artifact, index) for index, artifact in enumerate(wanted)
    ]
    if way == "scratch":
        size = sum(weights_size(owner) for owner in owners)
        return Stored(**common, volumes=[_scratch(VOLUME, size), *secrets], disk=size)
    if way == "own":
        template = {
            "metadata": {"name": VOLUME},
            "spec": _claim_spec(workload, access_mode(workload)),
        }
        return Stored(**common, volumes=secrets, templates=[template], group=OUR_USER)
    claim = {"name": VOLUME, "persistentVolumeClaim": {"claimName": claim_name(workload)}}
    return Stored(
        **common,
        volumes=[claim, *secrets],
        group=OUR_USER,
        **_one_node(workload),
    )


def _one_node(workload: Workload) -> dict[str, Any]:
    """All replicas on one node, where only one node can mount their volume."""
    if not tied_to_one_node(workload) or most_replicas(workload) <= 1:
        return {}
    term = {"labelSelector": {"matchLabels": dict(workload.selector)}, "topologyKey": HOSTNAME}
    return {
        "affinity": {
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
        },
        "annotations": {
            f"{PREFIX}/why-one-node": "the claim is ReadWriteOnce: only one node can mount it"
        },
    }


def _node_folder(workload: Workload) -> dict[str, Any]:
    path = workload.model.storage.path
    return {"name": VOLUME, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}


def _scratch(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"sizeLimit": quantity(size)}}


def _claim_spec(workload: Workload, mode: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "accessModes": [mode],
        "resources": {"requests": {"storage": quantity(weights_size(workload))}},
    }
    if workload.model.storage.class_ is not None:
        found["storageClassName"] = workload.model.storage.class_
    return found


def _together(paths: Mapping[str, str], parts: list[Stored]) -> Stored:
    affinity: dict[str, Any] = {}
    annotations: dict[str, str] = {}
    for part in parts:
        affinity |= part.affinity
        annotations |= part.annotations
    return Stored(
        paths=paths,
        volumes=[volume for part in parts for volume in part.volumes],
        mounts=[mount for part in parts for mount in part.mounts],
        init=[container for part in parts for container in part.init],
        templates=[template for part in parts for template in part.templates],
        pull_secrets=sorted({name for part in parts for name in part.pull_secrets}),
        disk=sum(part.disk for part in parts),
        group=next((part.group for part in parts if part.group is not None), None),
        affinity=affinity,
        annotations=annotations,
    )
