"""Each way in which weights get into a pod, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from plimsoll.errors import InputError
from plimsoll.units import GIB, parse_size
from plimsoll.worlds.cluster.info import ASSUMED
from plimsoll.worlds.cluster.objects.artifacts import artifacts
from tests.worlds.cluster.objects.made import (
    GGUF,
    engine_of,
    first,
    made,
    model,
    objects,
    one,
    pod_of,
)

NEW = msgspec.structs.replace(ASSUMED, kubernetes="1.36")
OCI = "oci://registry.example.com/models/notes:2.1"
Volume = dict[str, Any]


def volume(pod: dict[str, Any], name: str) -> Volume:
    (found,) = [each for each in pod["volumes"] if each["name"] == name]
    return dict(found)


def mount(container: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in container["volumeMounts"] if each["name"] == name]
    return dict(found)


def served(site, kind: str = "Deployment") -> str:
    """The path that vLLM is told to serve."""
    return str(engine_of(one(site, kind))["args"][1])


def test_a_pod_downloads_into_scratch_that_is_large_enough():
    site = made()
    pod = pod_of(one(site, "Deployment"))
    size = parse_size(volume(pod, "models")["emptyDir"]["sizeLimit"])
    assert 16 * GIB < size < 20 * GIB
    (fetch,) = pod["initContainers"]
    assert fetch["args"][:3] == ["fetch", "hf://acme/llama", "--to"]
    assert served(site) == fetch["args"][3]
    assert "readOnly" not in mount(fetch, "models")
    assert mount(engine_of(one(site, "Deployment")), "models")["readOnly"] is True
    asked = engine_of(one(site, "Deployment"))["resources"]["requests"]["ephemeral-storage"]
    assert parse_size(asked) > size  # scratch counts as the pod's ephemeral storage


def test_a_written_size_holds_and_an_unknown_one_is_asked_for():
    written = pod_of(one(made(model(storage={"size": "70Gi"})), "Deployment"))
    assert volume(written, "models")["emptyDir"]["sizeLimit"] == "70Gi"
    with pytest.raises(InputError, match="size of its weights") as caught:
        objects(made(place={"weight_bytes": 0}))
    assert caught.value.hint == "set `storage.size`"


def test_checksum_draft_and_adapters_are_fetched_too():
    sha = "ab" * 32
    site = made(
        model(
            engine="llamacpp",
            source=GGUF,
            sha256=sha,
        ),
        model(
            "lora",
            draft={"method": "eagle3", "source": "hf://acme/eagle"},
            adapters=[{"name": "legal", "source": "s3://acme/legal/", "rank": 16}],
        ),
    )
    plain, lora = (each for each in objects(site) if each["kind"] == "Deployment")
    (only,) = pod_of(plain)["initContainers"]
    assert only["args"][-2:] == ["--sha256", sha]
    names = [container["name"] for container in pod_of(lora)["initContainers"]]
    sources = [container["args"][1] for container in pod_of(lora)["initContainers"]]
    assert names == ["fetch-0", "fetch-1", "fetch-2"]
    assert sources == ["hf://acme/llama", "hf://acme/eagle", "s3://acme/legal/"]
    paths = [container["args"][3] for container in pod_of(lora)["initContainers"]]
    assert len(set(paths)) == 3
    words = " ".join(engine_of(lora)["args"])
    assert f"legal={paths[2]}" in words


def test_a_gguf_file_keeps_its_name():
    site = made(model(engine="llamacpp", source=GGUF))
    args = engine_of(one(site, "Deployment"))["args"]
    assert args[args.index("--model") + 1].endswith("/qwen2.5-3b-instruct-q4_k_m.gguf")


def test_paths_differ_where_source_or_checksum_differ():
    def path(**words: Any) -> str:
        return artifacts(first(made(model(**words))).model)[0].path

    file = "hf://acme/llama/model.gguf"
    found = [path(), path(source="hf://acme/llama@v2"), path(source="hf://acme/other"),
             path(source=file), path(source=file, sha256="ab" * 32)]  # fmt: skip
    assert len(set(found)) == len(found)


def test_a_signed_url_names_no_folder():
    """What follows `?` may be a secret: it is in the source's argument and nowhere else."""
    site = made(model(source="https://example.com/a/model.gguf?sig=s3cr3t", engine="llamacpp"))
    (artifact,) = artifacts(first(site).model)
    assert "s3cr3t" not in artifact.path
    assert artifact.path.endswith("/model.gguf")


@pytest.mark.parametrize("most", [1, 3])
def test_a_volume_of_one_node_is_each_replicas_own(most: int):
    storage = {"strategy": "volume", "class": "fast", "accessMode": "ReadWriteOnce"}
    site = made(model(storage=storage, scaling={"max": most}))
    manifest = one(site, "StatefulSet")
    (template,) = manifest["spec"]["volumeClaimTemplates"]
    assert template["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert template["spec"]["storageClassName"] == "fast"
    assert manifest["spec"]["serviceName"] == one(site, "Service")["metadata"]["name"]
    kept = manifest["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert kept == {"whenDeleted": "Delete", "whenScaled": "Retain"}
    assert pod_of(manifest)["securityContext"]["fsGroup"] == 65532
    assert not [each for each in objects(site) if each["kind"] == "PersistentVolumeClaim"]


def test_a_volume_of_all_nodes_is_one_claim():
    storage = {"strategy": "volume", "accessMode": "ReadWriteMany", "size": "40Gi"}
    site = made(model(storage=storage, scaling={"max": 4}))
    claim = one(site, "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "40Gi"
    pod = pod_of(one(site, "Deployment"))
    name = volume(pod, "models")["persistentVolumeClaim"]["claimName"]
    assert name == claim["metadata"]["name"]
    assert pod["initContainers"][0]["args"][0] == "fetch"
    assert "podAffinity" not in pod["affinity"]


def test_an_existing_claim_of_one_node_keeps_its_replicas_together():
    storage = {"strategy": "volume", "claim": "weights", "accessMode": "ReadWriteOnce"}
    site = made(model(storage=storage, scaling={"max": 4}))
    assert not [each for each in objects(site) if each["kind"] == "PersistentVolumeClaim"]
    manifest = one(site, "Deployment")
    (term,) = pod_of(manifest)["affinity"]["podAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert manifest["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


def test_weights_in_a_volume_are_only_read():
    site = made(model(source="pvc://models/qwen/8b"))
    pod = pod_of(one(site, "Deployment"))
    assert "initContainers" not in pod
    assert volume(pod, "claim-0")["persistentVolumeClaim"] == {
        "claimName": "models", "readOnly": True,
    }  # fmt: skip
    assert served(site) == "/mnt/claims/0/qwen/8b"


def test_weights_in_an_image_are_mounted_where_kubernetes_can():
    site = made(model(source=OCI, storage={"strategy": "image"}), info=NEW)
    pod = pod_of(one(site, "Deployment"))
    assert volume(pod, "image-0")["image"]["reference"] == "registry.example.com/models/notes:2.1"
    at = mount(engine_of(one(site, "Deployment")), "image-0")
    assert (at["mountPath"], at["subPath"], at["readOnly"]) == (served(site), "models", True)


def test_weights_in_an_image_are_copied_before():
    site = made(model(source=OCI, credentials={"secret": "registry", "key": ".dockerconfigjson"}))
    pod = pod_of(one(site, "Deployment"))
    (copy,) = pod["initContainers"]
    assert copy["image"] == "registry.example.com/models/notes:2.1"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert served(site) == "/mnt/images/0"
    assert (
        "1.35"
        in one(site, "Deployment")["spec"]["template"]["metadata"]["annotations"][
            "plimsoll.dev/why-copy"
        ]
    )


def test_a_login_for_a_bucket_is_a_file():
    site = made(
        model(source="s3://acme/llama/", credentials={"secret": "aws", "key": "credentials"})
    )
    pod = pod_of(one(site, "Deployment"))
    (fetch,) = pod["initContainers"]
    assert volume(pod, "credential-0")["secret"]["secretName"] == "aws"
    (file,) = [e["value"] for e in fetch["env"] if e["name"] == "AWS_SHARED_CREDENTIALS_FILE"]
    assert file == f"{mount(fetch, 'credential-0')['mountPath']}/credentials"
    assert not any(e.get("value") == "aws" for e in engine_of(one(site, "Deployment"))["env"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"source": "file:/models/llama.gguf"}, "cluster.source"),
        ({"source": "http://localhost:9000/llama.gguf"}, "cluster.source"),
        ({"storage": {"strategy": "image"}}, "cluster.storage"),
        (
            {"storage": {"strategy": "volume", "accessMode": "ReadOnlyMany", "claim": "m"}},
            "cluster.storage",
        ),
        ({"source": "oci://registry.example.com/models/notes"}, "cluster.image"),
        (
            {
                "source": "https://example.com/m.gguf",
                "credentials": {"secret": "a", "key": "b"},
            },
            "cluster.credential",
        ),
    ],
)
def test_what_a_cluster_cannot_reach_is_refused(words: dict[str, Any], code: str):
    with pytest.raises(InputError) as caught:
        objects(made(model(**words)))
    assert caught.value.code == code
    assert caught.value.hint
    assert caught.value.where == "model m"


FIXED = {"name": "own", "accelerator": "H100-80GB-SXM", "nodes": {"min": 2, "max": 2}}
GROWING = {
    "name": "grown", "accelerator": "H100-80GB-SXM", "nodes": {"min": 0, "max": 4},
    "cloud": {"provider": "aws"},
}  # fmt: skip


def near(*pools: dict[str, Any], **words: Any) -> Any:
    storage = {"strategy": "nodeLocal", "path": "/mnt/fast"}
    names = [pool["name"] for pool in pools]
    return made(model(storage=storage, placement={"pools": names}, **words), pools=pools)


def labels(site) -> tuple[str, dict[str, Any]]:
    """The artifact's label, and the affinity of replicas to pods with it."""
    daemon = next(each for each in objects(site) if each["kind"] == "DaemonSet")
    args = pod_of(daemon)["containers"][0]["args"]
    return args[args.index("--label") + 1], pod_of(one(site, "Deployment"))["affinity"]


def test_replicas_go_where_weights_are_ready_on_nodes_that_are_always_there():
    site = near(FIXED)
    label, affinity = labels(site)
    (term,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"][label] == "ready"
    assert term["namespaces"] == ["inference"]
    template = one(site, "DaemonSet")["spec"]["template"]["metadata"]
    assert template["labels"][label] == "loading"


def test_replicas_avoid_nodes_whose_weights_load_where_an_autoscaler_adds_nodes():
    site = near(GROWING | {"provisioner": "karpenter"})
    label, affinity = labels(site)
    assert "podAffinity" not in affinity
    (term,) = affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["labelSelector"]["matchLabels"][label] == "loading"
    template = one(site, "DaemonSet")["spec"]["template"]["metadata"]
    assert template["labels"][label] == "loading"  # Karpenter does not look at it


def test_the_cluster_autoscaler_never_thinks_that_a_new_node_will_load_forever():
    """It takes a DaemonSet's first labels for those of the pod on a node that it imagines."""
    site = near(GROWING | {"provisioner": "nodeGroup"})
    label, _ = labels(site)
    assert label not in one(site, "DaemonSet")["spec"]["template"]["metadata"]["labels"]


def test_a_replica_waits_for_the_weights_and_changes_nothing_on_the_node():
    pod = pod_of(one(near(FIXED), "Deployment"))
    assert volume(pod, "models")["hostPath"] == {
        "path": "/mnt/fast", "type": "DirectoryOrCreate",
    }  # fmt: skip
    (wait,) = pod["initContainers"]
    assert wait["args"][-1] == "--wait"
    assert mount(wait, "models")["readOnly"] is True
    assert mount(engine_of(one(near(FIXED), "Deployment")), "models")["readOnly"] is True


def test_one_daemon_per_pool_fetches_each_weight_once():
    storage = {"strategy": "nodeLocal"}
    site = made(
        model("a", storage=storage),
        model("b", storage=storage),
        model("c", source="hf://acme/other", storage=storage),
        pools=(FIXED, GROWING),
    )
    found = [each for each in objects(site) if each["kind"] == "DaemonSet"]
    assert {pod_of(each)["nodeSelector"]["plimsoll.dev/pool"] for each in found} <= {"own", "grown"}
    for daemon in found:
        sources = [container["args"][1] for container in pod_of(daemon)["containers"]]
        assert len(sources) == len(set(sources))


def test_who_fills_the_nodes_may_change_pods_of_its_own_namespace_and_nothing_else():
    site = near(FIXED)
    assert one(site, "Role")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}
    ]
    assert one(site, "Role")["metadata"]["namespace"] == "inference"
    kinds = {each["kind"] for each in objects(site)}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}


def test_node_local_needs_a_pool():
    with pytest.raises(InputError) as caught:
        objects(made(model(storage={"strategy": "nodeLocal"}), pools=(), place={"pool": ""}))
    assert caught.value.code == "cluster.storage"
