"""A replica's pod: hardened, with what it needs and nothing more, secrets by reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.instances import instance
from plimsoll.plan.types import Ledger, Term
from plimsoll.units import GIB, parse_size
from plimsoll.worlds.cluster.objects.security import mps_notes, pod_security_level
from tests.worlds.cluster import hardening
from tests.worlds.cluster.objects.made import (
    GGUF,
    devices,
    engine_of,
    first,
    made,
    model,
    notes_of,
    objects,
    one,
    pod_of,
)

CANARY = "canary-8c1f"


def containers(site) -> list[dict[str, Any]]:
    found = []
    for manifest in objects(site):
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        found += [*pod.get("initContainers", []), *pod.get("containers", [])]
    return found


def variables(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in container.get("env", [])}


@pytest.mark.parametrize("strategy", ["initContainer", "volume", "nodeLocal"])
def test_every_container_asks_for_processor_memory_and_disk(strategy: str):
    pool = {"name": "h100", "accelerator": "H100-80GB-SXM"}
    site = made(model(storage={"strategy": strategy, "prePull": True}), pools=(pool,))
    for container in containers(site):
        asked, allowed = (container["resources"][name] for name in ("requests", "limits"))
        assert set(asked) >= {"cpu", "memory", "ephemeral-storage"}
        assert "cpu" not in allowed
        for name in ("memory", "ephemeral-storage"):
            assert allowed[name] == asked[name]


@pytest.mark.parametrize("check", [
    hardening.no_pod_runs_as_root_without_a_reason,
    hardening.every_image_is_pinned,
    hardening.no_container_gains_rights,
    hardening.the_node_s_disk_is_read_only_or_has_a_reason,
    hardening.a_token_goes_only_to_who_has_rights,
    hardening.secrets_are_only_named,
])  # fmt: skip
@pytest.mark.parametrize("strategy", ["initContainer", "volume", "nodeLocal"])
def test_pods_are_hardened(check, strategy: str):
    assert not check(objects(made(model(storage={"strategy": strategy, "prePull": True}))))


def test_an_engine_that_must_be_root_says_why_and_loosens_its_namespace(monkeypatch):
    site = made(model(namespace="loose"), model("other"))
    workload = first(site)
    plain = workload.engine.container(workload.place)
    rooted = replace(plain, user=0, root_reason="writes below /root")
    monkeypatch.setattr(type(workload.engine), "container", lambda *_: rooted)
    assert notes_of(objects(site)[0])["plimsoll.dev/why-root"] == "writes below /root"
    assert engine_of(objects(site)[0])["securityContext"]["runAsNonRoot"] is False
    assert pod_security_level(site, "loose") == "baseline"


def test_a_namespace_is_as_strict_as_its_pods_allow():
    site = made(model(), model("local", namespace="near", storage={"strategy": "nodeLocal"}))
    assert pod_security_level(site, "near") == "privileged"
    # The DaemonSet that fills the nodes' disks runs in the fleet's own namespace.
    assert pod_security_level(site, "inference") == "privileged"
    assert pod_security_level(made(), "inference") == "restricted"


def test_everything_but_scratch_is_read_only():
    container = engine_of(one(made(), "Deployment"))
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    written = [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]
    assert set(written) == {"/tmp", "/cache", "/dev/shm"}
    scratch = {v["name"]: v for v in pod_of(one(made(), "Deployment"))["volumes"]}
    assert all("sizeLimit" in volume["emptyDir"] for volume in scratch.values())


def test_shared_memory_counts_into_the_limit():
    for per_node in (1, 4):
        site = made(place={"devices": devices(per_node=per_node)})
        pod = pod_of(one(site, "Deployment"))
        (shared,) = [v["emptyDir"] for v in pod["volumes"] if v["name"] == "shared-memory"]
        assert shared["medium"] == "Memory"
        limit = engine_of(one(site, "Deployment"))["resources"]["limits"]["memory"]
        assert parse_size(limit) > parse_size(shared["sizeLimit"]) == 2 * GIB * per_node


def on_mps(*models: dict[str, Any]):
    shared = devices("A10", memory=5 * GIB, sharing="mps", portion=0.25)
    body = {"name": "p", "accelerator": "A10", "sharing": {"mps": {"replicas": 4}}}
    return made(*models, pools=(body,), place={"devices": shared})


def test_nothing_hides_the_shared_memory_in_which_mps_finds_its_clients():
    pod = pod_of(one(on_mps(), "Deployment"))
    assert "/dev/shm" not in {m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    assert "shared-memory" not in {volume["name"] for volume in pod["volumes"]}
    assert "hostIPC" not in pod
    assert pod_security_level(on_mps(), "inference") == "restricted"


def test_mps_of_gke_is_reached_through_the_node_which_its_namespace_must_allow():
    pool = {
        "name": "p", "accelerator": "A100-40GB-SXM", "sharing": {"mps": {"replicas": 4}},
        "cloud": {"provider": "gcp"},
    }  # fmt: skip
    shared = devices("A100-40GB-SXM", sharing="mps", portion=0.25)
    google = made(pools=(pool,), place={"devices": shared})
    assert pod_of(one(google, "Deployment"))["hostIPC"] is True
    assert pod_security_level(google, "inference") == "privileged"


def test_engines_of_different_users_on_one_mps_pool_are_told_of():
    assert mps_notes(on_mps(model("a"), model("b"))) == ()
    (note,) = mps_notes(on_mps(model("a"), model("b", engine="sglang")))
    assert "a runs as 2000" in note
    assert "b runs as 0" in note


def test_who_may_open_the_accelerators_files_is_root_where_no_number_is_known():
    pool = {"name": "amd", "accelerator": "MI300X", "perNode": 8}
    site = made(pools=(pool,), place={"devices": devices("MI300X", memory=191 * GIB)})
    deployment = one(site, "Deployment")
    assert engine_of(deployment)["securityContext"]["runAsUser"] == 0
    assert "render" in notes_of(deployment)["plimsoll.dev/why-root"]
    assert pod_security_level(site, "inference") == "baseline"
    assert engine_of(one(made(), "Deployment"))["securityContext"]["runAsUser"] == 2000


def test_what_the_fleet_file_says_of_resources_holds():
    wished = {"cpu": 3.5, "memory": "20Gi", "ephemeralStorage": "50Gi"}
    resources = engine_of(one(made(model(resources=wished)), "Deployment"))["resources"]
    assert resources["requests"] | {"nvidia.com/gpu": "1"} == {
        "cpu": "3500m", "memory": "20Gi", "ephemeral-storage": "50Gi", "nvidia.com/gpu": "1",
    }  # fmt: skip


def test_a_replica_on_processors_asks_for_its_ledger_and_its_threads():
    ledger = Ledger(terms=(Term(name="weights", bytes=3 * GIB), Term(name="cache", bytes=GIB)))
    site = made(model(engine="llamacpp", source=GGUF), place={"ledger": ledger, "threads": 6})
    requests = engine_of(one(site, "Deployment"))["resources"]["requests"]
    assert requests["cpu"] == "6"
    assert 4 * GIB <= parse_size(requests["memory"]) <= 5 * GIB


@given(kind=st.sampled_from(["g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g6e.xlarge", "p5.48xlarge"]))
@settings(deadline=None)
def test_a_replica_asks_for_no_more_than_goes_with_its_accelerator(kind: str):
    row = instance("aws", kind)
    pool = {
        "name": "p", "accelerator": row.accelerator,
        "cloud": {"provider": "aws", "instanceType": kind},
    }  # fmt: skip
    site = made(pools=(pool,), place={"devices": devices(row.accelerator)})
    requests = engine_of(one(site, "Deployment"))["resources"]["requests"]
    assert cores(requests["cpu"]) <= row.vcpus / row.count
    assert parse_size(requests["memory"]) <= row.memory / row.count


def cores(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def test_secrets_are_named_and_never_told():
    options = {
        "env": [
            {"name": "LICENCE", "valueFrom": {"secret": "licences", "key": "engine"}},
            {"name": "OPEN", "value": CANARY},
        ]
    }
    site = made(
        model(engineOptions=options, credentials={"secret": "hugging-face", "key": "token"})
    )
    found = variables(engine_of(one(site, "Deployment")))
    assert found["OPEN"]["value"] == CANARY
    assert found["LICENCE"]["valueFrom"] == {"secretKeyRef": {"name": "licences", "key": "engine"}}
    (fetch,) = pod_of(one(site, "Deployment"))["initContainers"]
    reference = {"secretKeyRef": {"name": "hugging-face", "key": "token"}}
    assert variables(fetch)["HF_TOKEN"] == {"name": "HF_TOKEN", "valueFrom": reference}


@pytest.mark.parametrize(
    "words",
    [
        {"credentials": {"env": "HF_TOKEN"}},
        {"engineOptions": {"env": [{"name": "A", "valueFrom": {"env": "A"}}]}},
    ],
)
def test_a_variable_of_ones_own_machine_is_refused(words: dict[str, Any]):
    with pytest.raises(InputError) as caught:
        objects(made(model(**words)))
    assert caught.value.code == "cluster.credential"
    assert "Secret" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["$(HOME)", "a$(b", "$$(c)", "{{ '$(x)' }}"])
def test_what_people_write_is_not_replaced_by_kubernetes(text: str):
    options = {"args": ["--chat-template", text], "env": [{"name": "A", "value": text}]}
    container = engine_of(one(made(model(engineOptions=options)), "Deployment"))
    escaped = container["args"][container["args"].index("--chat-template") + 1]
    assert expanded(escaped) == text
    assert expanded(variables(container)["A"]["value"]) == text


def expanded(text: str) -> str:
    """As the kubelet reads it, in a container without variables."""
    return text.replace("$$(", "\0(").replace("\0(", "$(")


def test_a_container_of_ones_own_keeps_its_entrypoint():
    options = {"image": "registry.example.com/own:1", "args": ["--fast"], "port": 9000}
    container = engine_of(one(made(model(engine="custom", engineOptions=options)), "Deployment"))
    assert "command" not in container
    assert container["args"] == ["--fast"]
    assert container["ports"] == [{"name": "http", "containerPort": 9000, "protocol": "TCP"}]


def test_the_embedded_engine_runs_in_plimsolls_own_image():
    container = engine_of(one(made(model(engine="llamacpp", source=GGUF)), "Deployment"))
    assert container["image"] == "registry.example.com/plimsoll:0.4.0"
    assert container["command"] == ["python", "-m", "plimsoll.worlds.local.llama_server"]
    assert "--model" in container["args"]


def test_a_pod_that_holds_weights_is_not_moved_for_a_fuller_node():
    assert notes_of(one(made(), "Deployment"))["karpenter.sh/do-not-disrupt"] == "true"


def test_only_files_that_are_read_at_the_start_restart_a_replica():
    assert "plimsoll.dev/files-checksum" not in notes_of(one(made(), "Deployment"))
    served = model(engine="triton", engineOptions={"backend": "vllm"})
    before = notes_of(one(made(served), "Deployment"))["plimsoll.dev/files-checksum"]
    longer = made(served, place={"context": 2048})
    assert notes_of(one(longer, "Deployment"))["plimsoll.dev/files-checksum"] != before


def test_objects_are_the_same_each_time():
    site = made(model(storage={"strategy": "nodeLocal", "prePull": True}))
    assert msgspec.json.encode(objects(site)) == msgspec.json.encode(objects(site))
