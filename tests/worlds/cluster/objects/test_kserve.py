"""Models for KServe: valid, with the plan's own flags, and ended as KServe ends them."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.errors import InputError
from plimsoll.worlds.cluster.info import (
    ASSUMED,
    HTTP_ROUTE,
    INFERENCE_POOL,
    ClusterInfo,
)
from plimsoll.worlds.cluster.objects.kserve import kserve_notes, kserve_objects
from plimsoll.worlds.cluster.objects.site import Manifest, Site
from tests.worlds.cluster.schemas import CRDS, problems
from tests.worlds.cluster.sites import fleet_text, site_of

POOL = "pools: [{name: gpus, accelerator: H100-80GB-SXM, perNode: 8, nodes: {max: 2}}]\n"
EXAMPLES = (
    "examples/plans/chat-and-embedding.yaml",
    "examples/plans/70b-fp16-on-four-a100-40.yaml",
    "examples/plans/70b-awq-on-one-a100-80.yaml",
    "examples/plans/7b-on-one-t4.yaml",
    "examples/plans/strict-tenants-on-one-h100.yaml",
    "examples/plans/long-context.yaml",
)


def model(more: str = "", *, source: str = "hf://Qwen/Qwen3-8B", engine: str = "vllm") -> str:
    base = "" if source.startswith("hf://Qwen/Qwen3") else ", baseModel: Qwen/Qwen3-8B"
    tail = f", {more}" if more else ""
    return fleet_text(
        f"{POOL}models: [{{name: m, source: '{source}', engine: {engine}{base}{tail}}}]"
    )


def of(kind: str, site: Site) -> Manifest:
    (found,) = (manifest for manifest in kserve_objects(site) if manifest["kind"] == kind)
    return found


def container(site: Site) -> dict[str, Any]:
    (found,) = of("LLMInferenceService", site)["spec"]["template"]["containers"]
    assert found["name"] == "main"
    answer: dict[str, Any] = found
    return answer


@pytest.mark.skipif(not CRDS.is_dir(), reason="shared/crds is not here")
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_object_of_an_example_is_valid(example: str) -> None:
    for manifest in kserve_objects(site_of(example)):
        # The CRD leaves adapters open: `x-kubernetes-preserve-unknown-fields`.
        manifest.get("spec", {}).get("model", {}).pop("lora", None)
        assert problems(manifest) == []


@pytest.mark.skipif(not CRDS.is_dir(), reason="shared/crds is not here")
@pytest.mark.parametrize("engine", ["vllm", "sglang", "tgi"])
@pytest.mark.parametrize("source", ["s3://bucket/model/", "pvc://claim/model", "oci://r.io/m:1"])
def test_every_source_and_engine_is_valid(engine: str, source: str) -> None:
    for manifest in kserve_objects(site_of(model(source=source, engine=engine))):
        assert problems(manifest) == []


def test_a_chat_on_vllm_is_an_llm_service_and_all_else_an_inference_service() -> None:
    site = site_of("examples/plans/chat-and-embedding.yaml")
    kinds = {
        (manifest["metadata"]["labels"]["plimsoll.dev/model"], manifest["kind"])
        for manifest in kserve_objects(site)
    }
    assert kinds == {
        ("chat", "LLMInferenceService"),
        ("embed", "ServingRuntime"),
        ("embed", "InferenceService"),
    }


def test_the_flags_are_those_of_the_plan() -> None:
    site = site_of(model("context: 4096"))
    args = container(site)["args"]
    (place,) = site.plan.placements
    assert args[args.index("--max-model-len") + 1] == str(place.context) == "4096"
    assert args[args.index("--served-model-name") + 1] == "m"
    assert "/mnt/models" in args


def test_streams_end_within_the_grace_that_kserve_leaves() -> None:
    site = site_of(model())
    service = of("LLMInferenceService", site)
    args = container(site)["args"]
    drain = int(args[args.index("--shutdown-timeout") + 1])
    assert drain == site.fleet.gateway.max_stream
    # KServe's template sleeps for 15 s before the signal.
    assert service["spec"]["template"]["terminationGracePeriodSeconds"] >= 15 + drain
    assert "lifecycle" not in container(site)


def test_probes_speak_as_the_engine_does() -> None:
    found = container(site_of(model()))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert found[probe]["httpGet"]["scheme"] == "HTTP"


def test_a_revision_is_written_as_kserve_reads_it() -> None:
    site = site_of(model(source="hf://Qwen/Qwen3-8B@v2"))
    assert of("LLMInferenceService", site)["spec"]["model"]["uri"] == "hf://Qwen/Qwen3-8B:v2"


def test_a_token_is_a_reference_to_its_own_key() -> None:
    site = site_of(model("credentials: {secret: hub, key: token}"))
    (initializer,) = of("LLMInferenceService", site)["spec"]["template"]["initContainers"]
    reference = {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert initializer["env"] == [{"name": "HF_TOKEN", "valueFrom": reference}]


def test_another_login_comes_with_the_service_account() -> None:
    site = site_of(model("credentials: {secret: bucket, key: token}", source="s3://bucket/model/"))
    account = of("ServiceAccount", site)
    template = of("LLMInferenceService", site)["spec"]["template"]
    assert template["serviceAccountName"] == account["metadata"]["name"]
    assert account["secrets"] == [{"name": "bucket"}]
    assert any("AWS_ACCESS_KEY_ID" in note for note in kserve_notes(site))


def test_replicas_and_scaling_are_never_both_there() -> None:
    fixed = of("LLMInferenceService", site_of(model("scaling: {min: 2, max: 2}")))["spec"]
    assert fixed["replicas"] == 2
    assert "scaling" not in fixed
    text = model("scaling: {min: 0, max: 5, driver: keda}")
    scaled = of("LLMInferenceService", site_of(text))
    assert "replicas" not in scaled["spec"]
    assert scaled["spec"]["scaling"]["minReplicas"] == 1
    assert scaled["spec"]["scaling"]["maxReplicas"] == 5
    assert list(scaled["spec"]["scaling"]["wva"]) == ["keda"]


def test_no_scaler_is_made_behind_our_back() -> None:
    service = of("InferenceService", site_of(model(engine="sglang")))
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "none"


def test_a_router_is_asked_for_where_there_can_be_one() -> None:
    with_router = ClusterInfo(apis=(*ASSUMED.apis, HTTP_ROUTE, INFERENCE_POOL))
    assert "router" in of("LLMInferenceService", site_of(model(), info=with_router))["spec"]
    assert "router" not in of("LLMInferenceService", site_of(model(), info=ClusterInfo()))["spec"]


def test_adapters_lie_where_kserve_puts_them() -> None:
    site = site_of("examples/plans/chat-and-embedding.yaml")
    args = container(site)["args"]
    assert args[args.index("--lora-modules") + 1] == "legal=/mnt/lora/legal"
    lora = of("LLMInferenceService", site)["spec"]["model"]["lora"]
    assert lora["adapters"][0] == {"name": "legal", "uri": "hf://acme/legal-lora"}


@pytest.mark.parametrize(
    "text",
    [
        model(source="gs://bucket/model/"),
        model(engine="triton"),
        model("draft: {source: 'hf://acme/draft'}"),
        model("adapters: [{name: a, source: 'hf://acme/a', rank: 8}]", engine="sglang"),
        model("engineOptions: {args: ['--chat-template', '{{ x }}']}"),
    ],
    ids=["scheme", "engine", "draft", "adapters", "template"],
)
def test_what_kserve_cannot_run_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        list(kserve_objects(site_of(text)))
    assert caught.value.code == "cluster.kserve"
