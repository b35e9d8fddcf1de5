"""Weights of a model, its draft and its adapters: where each lies in a pod, how it comes there."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.kubernetes import figure
from plimsoll.fleet import Model
from plimsoll.fleet.credentials import Credential
from plimsoll.fleet.source import Source
from plimsoll.worlds.cluster.objects.resources import small_resources
from plimsoll.worlds.cluster.objects.security import OUR_USER, container_security
from plimsoll.worlds.cluster.objects.site import Site, Workload

FOLDER = "/models"  # where weights that were fetched lie in every pod
VOLUME = "models"
CACHE = f"{FOLDER}/.plimsoll"
SECRETS = "/var/run/secrets/plimsoll.dev"
TEMPORARY = "/tmp"  # noqa: S108 -- of the container
# What a credential of a source becomes for the download.
_TOKEN_VARIABLES = {"hf": "HF_TOKEN", "gs": "GOOGLE_OAUTH_ACCESS_TOKEN"}
_FETCHED = frozenset({"builtin", "hf", "https", "http", "s3", "gs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One thing that an engine opens.

    role        `weights`, `draft`, or `adapter NAME`
    source      where it comes from
    sha256      checksum of a single file; empty where there is none
    credential  where the token for the source is; None: none, or the pod's own identity
    whole       whether every file is wanted, not only those of a known weight format
    """

    role: str
    source: Source
    sha256: str = ""
    credential: Credential | None = None
    whole: bool = False

    @property
    def fetched(self) -> bool:
        """Whether it is downloaded, not mounted."""
        return self.source.scheme in _FETCHED

    @property
    def key(self) -> str:
        """A name of its own: a word for people, and a checksum of source and demand."""
        text = f"{self.source.text}\n{self.sha256}" + ("\nwhole" if self.whole else "")
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        words = self.source.repository or self.source.path.partition("?")[0] or self.source.bucket
        slug = re.sub(r"[^a-z0-9]+", "-", words.rstrip("/").lower()).strip("-")[-40:].strip("-")
        return f"{slug}-{digest}" if slug else digest

    @property
    def path(self) -> str:
        """What the engine opens, where it is fetched.

        A file keeps its name: the parts of a GGUF file find each other by it.
        """
        last = self.source.path.partition("?")[0].partition("#")[0].rpartition("/")[2]
        name = re.sub(r"[^\w.+-]", "_", last)
        return f"{FOLDER}/{self.key}/{name}" if name.endswith(".gguf") else f"{FOLDER}/{self.key}"


def artifacts(model: Model, *, whole: bool = False) -> tuple[Artifact, ...]:
    """Everything of a model that is to be at hand, the weights first.

    whole  take every file of the weights' source

    Raises InputError for sources that a cluster cannot reach.
    """
    wished = [("weights", model.source, model.sha256)]
    if model.draft is not None and model.draft.source is not None:
        wished.append(("draft", model.draft.source, model.draft.sha256))
    wished += [
        (f"adapter {adapter.name}", adapter.source, adapter.sha256) for adapter in model.adapters
    ]
    for role, source, _ in wished:
        _reachable(model, role, source)
    return tuple(
        Artifact(
            role=role,
            source=source,
            sha256=sha256 or "",
            credential=_credential(model, source),
            whole=whole and role == "weights",
        )
        for role, source, sha256 in wished
    )


def in_cluster(credential: Credential, where: str) -> dict[str, str]:
    """A reference to a key of a Secret. Raises InputError for one that names a variable."""
    if credential.secret is None or credential.key is None:
        raise InputError(
            f"`{{env: {credential.env}}}` names a variable of one's own machine, which a cluster "
            "has not",
            where=where,
            hint="put the value into a Secret and write `{secret: NAME, key: KEY}`",
            code="cluster.credential",
        )
    return {"name": credential.secret, "key": credential.key}


def fetching(site: Site, workload: Workload, artifact: Artifact, index: int) -> dict[str, Any]:
    """The container that downloads an artifact into the volume `models`.

    Several may run at once on one volume: one downloads, the others wait for it.
    """
    return {
        "name": f"fetch-{index}",
        "image": site.image,
        "command": ["plimsoll"],
        "args": ["fetch", *fetch_arguments(artifact)],
        "env": fetch_environment(workload, artifact),
        "resources": small_resources(memory=int(figure("fetch_memory")), cpu=0.5),
        "securityContext": container_security(OUR_USER),
        "volumeMounts": [
            {"name": VOLUME, "mountPath": FOLDER},
            {"name": "tmp", "mountPath": TEMPORARY},
            *secret_mounts(artifact, index),
        ],
    }


def fetch_arguments(artifact: Artifact) -> list[str]:
    """Arguments of `plimsoll fetch`."""
    checked = ["--sha256", artifact.sha256] if artifact.sha256 else []
    every = ["--whole"] if artifact.whole else []
    return [literal(artifact.source.text), "--to", artifact.path, *checked, *every]


def fetch_environment(workload: Workload, artifact: Artifact) -> list[dict[str, Any]]:
    """Environment of a download: where it keeps things, and its token by reference."""
    found: list[dict[str, Any]] = [{"name": "PLIMSOLL_CACHE", "value": CACHE}]
    if artifact.credential is None:
        return found
    scheme = artifact.source.scheme
    reference = in_cluster(artifact.credential, f"model {workload.model.name}")
    if scheme in _TOKEN_VARIABLES:
        value = {"secretKeyRef": reference}
        found.append({"name": _TOKEN_VARIABLES[scheme], "valueFrom": value})
    elif scheme == "s3":
        file = f"{SECRETS}/{reference['key']}"
        found.append({"name": "AWS_SHARED_CREDENTIALS_FILE", "value": file})
    return found


def secret_mounts(artifact: Artifact, index: int) -> list[dict[str, Any]]:
    """Mounts of a credential that is a file."""
    if artifact.source.scheme != "s3" or artifact.credential is None:
        return []
    return [{"name": f"credential-{index}", "mountPath": SECRETS, "readOnly": True}]


def secret_volumes(workload: Workload, artifact: Artifact, index: int) -> list[dict[str, Any]]:
    """Volumes of a credential that is a file: for S3, one as AWS's tools write it."""
    if not secret_mounts(artifact, index):
        return []
    assert artifact.credential is not None
    reference = in_cluster(artifact.credential, f"model {workload.model.name}")
    items = [{"key": reference["key"], "path": reference["key"]}]
    secret = {"secretName": reference["name"], "items": items, "defaultMode": 0o440}
    return [{"name": f"credential-{index}", "secret": secret}]


def literal(text: str) -> str:
    """An argument or value that Kubernetes leaves as it is: `$(NAME)` would be replaced."""
    return text.replace("$(", "$$(")


def _credential(model: Model, source: Source) -> Credential | None:
    """The model's token, for sources of the same kind as its own."""
    return model.credentials if source.scheme == model.source.scheme else None


def _reachable(model: Model, role: str, source: Source) -> None:
    where = f"model {model.name}"
    if source.scheme == "file":
        raise InputError(
            f"its {role} {_are(role)} a file of one's own machine, which a cluster cannot reach",
            where=where,
            hint="put it into a bucket (`s3://`, `gs://`), a volume (`pvc://claim/path`) or an "
            "image (`oci://`)",
            code="cluster.source",
        )
    if source.scheme in ("http", "https") and source.loopback:
        raise InputError(
            f"its {role} {_are(role)} served by one's own machine, which a cluster cannot reach",
            where=where,
            hint="name an address that pods can reach",
            code="cluster.source",
        )
    if source.scheme in ("http", "https", "pvc", "builtin") and _credential(model, source):
        raise InputError(
            f"`credentials` {'do' if role else ''} nothing for a `{source.scheme}:` source",
            where=where,
            hint="leave them out; for a server with a login use a signed URL, or a bucket",
            code="cluster.credential",
        )


def _are(role: str) -> str:
    return "are" if role == "weights" else "is"
