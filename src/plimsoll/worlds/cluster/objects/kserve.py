"""The fleet's models for KServe: LLMInferenceService where vLLM chats, InferenceService else.

KServe brings the weights and ends replicas in its own way; engine, flags, resources and nodes are
those of the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plimsoll.engines.protocol import Setting
from plimsoll.errors import InputError
from plimsoll.facts.clouds import cloud_fact
from plimsoll.fleet import Source
from plimsoll.worlds.cluster.info import HTTP_ROUTE, INFERENCE_POOL
from plimsoll.worlds.cluster.objects import drain
from plimsoll.worlds.cluster.objects.accelerators import handout
from plimsoll.worlds.cluster.objects.artifacts import in_cluster
from plimsoll.worlds.cluster.objects.names import PREFIX
from plimsoll.worlds.cluster.objects.pods import Rendered, engine_container, pod_spec
from plimsoll.worlds.cluster.objects.resources import needs, weights_size
from plimsoll.worlds.cluster.objects.rollout import replicas
from plimsoll.worlds.cluster.objects.security import container_of
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata
from plimsoll.worlds.cluster.objects.storage import Stored, most_replicas

_WEIGHTS = cloud_fact("kserve", "weights")
_FOR_LLM = ("hf", "s3", "pvc", "oci")  # schemes that LLMInferenceService takes
_FOR_OTHERS = ("hf", "s3", "gs", "pvc", "oci", "https")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def kserve_objects(site: Site) -> Iterator[Manifest]:
    """Every model of the fleet for KServe, and a service account where a source needs a login.

    Raises InputError for what KServe cannot run.
    """
    for workload in site.workloads:
        _check(workload)
        yield from _account(workload)
        if _is_llm(workload):
            yield _llm_service(site, workload)
        else:
            yield _runtime(site, workload)
            yield _inference_service(site, workload)


def kserve_notes(site: Site) -> tuple[str, ...]:
    """What KServe does otherwise than the fleet file says, for a reader."""
    return tuple(note for workload in site.workloads for note in _notes(workload))


def _notes(workload: Workload) -> Iterator[str]:
    model = workload.model
    scaled = workload.driver != "none"
    if _is_llm(workload):
        yield (
            f"{model.name}: replicas speak plain HTTP; KServe's router reaches them only without "
            "`enableLLMInferenceServiceTLS`"
        )
        if scaled:
            yield f"{model.name}: KServe scales it with llm-d's Workload Variant Autoscaler"
    elif scaled:
        yield f"{model.name}: KServe leaves its replicas to another scaler, which is not made here"
    if scaled and model.scaling.min == 0 and _is_llm(workload):
        yield f"{model.name}: KServe keeps one replica where `scaling.min` is 0"
    credential = model.credentials
    if credential is not None and not _by_variable(workload):
        yield (
            f"{model.name}: KServe reads logins under its own names in the Secret "
            f"`{credential.secret}`, such as {cloud_fact('kserve', 'token')} or AWS_ACCESS_KEY_ID"
        )


def _is_llm(workload: Workload) -> bool:
    return workload.place.engine == "vllm" and workload.place.task in ("chat", "completion")


def _check(workload: Workload) -> None:
    """Raises InputError for a model that KServe cannot run."""
    model, place = workload.model, workload.place
    scheme = model.source.scheme
    reason = hint = ""
    if scheme not in (_FOR_LLM if _is_llm(workload) else _FOR_OTHERS):
        reason, hint = f"KServe fetches no `{scheme}:` source", f"use {', '.join(_FOR_OTHERS[:4])}"
    elif place.engine in ("rayserve", "triton"):
        reason = f"engine `{place.engine}` is not exported for KServe"
        hint = "use vllm or sglang, or leave `--target kserve` out"
    elif place.devices is not None and place.devices.nodes > 1:
        reason = "replicas over several nodes are not exported for KServe"
        hint = "leave `--target kserve` out, or choose a split that fits one node"
    elif model.draft is not None and model.draft.source is not None:
        reason = "KServe fetches no weights of a draft model"
        hint = "remove `draft`, or use the method `ngram`"
    elif model.adapters and not _is_llm(workload):
        reason, hint = "KServe fetches adapters for vLLM only", "remove `adapters`, or use vllm"
    if reason:
        raise InputError(reason, where=f"model {model.name}", hint=hint, code="cluster.kserve")


def _uri(source: Source) -> str:
    """The source as KServe writes it: a revision of a repository after a colon."""
    if source.scheme == "hf":
        revision = f":{source.revision}" if source.revision else ""
        return f"hf://{source.repository}{revision}"
    return source.text


def _paths(workload: Workload) -> dict[str, str]:
    """What the engine opens, by role."""
    source = workload.model.source
    inside = source.path if source.scheme == "hf" else ""
    last = source.path.rpartition("/")[2]
    if source.scheme in ("s3", "gs", "https") and last.endswith(".gguf"):
        inside = last
    found = {"weights": f"{_WEIGHTS}/{inside}" if inside else _WEIGHTS}
    for adapter in workload.model.adapters:
        name = adapter.name.replace(":", "-")
        found[f"adapter {adapter.name}"] = f"{cloud_fact('kserve', 'adapters')}/{name}"
    return found


def _rendered(site: Site, workload: Workload) -> Rendered:
    paths = _paths(workload)
    prefix = "adapter "
    setting = Setting(
        weights=paths["weights"],
        host="0.0.0.0",  # noqa: S104 -- of the pod
        port=workload.port,
        adapters={
            role.removeprefix(prefix): path
            for role, path in paths.items()
            if role.startswith(prefix)
        },
        max_stream=site.fleet.gateway.max_stream,
    )
    command = workload.engine.command(workload.place, setting)
    fetched = workload.model.source.scheme not in ("pvc", "oci")
    return Rendered(
        site=site,
        workload=workload,
        weights=Stored(paths=paths, disk=weights_size(workload) if fetched else 0),
        command=command,
        container=container_of(workload),
        given=handout(site, workload),
        ending=drain.ending(site, workload, command.drain),
        need=needs(workload, weights_on_disk=weights_size(workload) if fetched else 0),
    )


def _container(parts: Rendered, name: str) -> dict[str, Any]:
    found = engine_container(parts)
    for probe in _PROBES:
        if probe in found:
            # KServe's own template would ask for HTTPS where its TLS is switched on.
            found[probe]["httpGet"] = {**found[probe]["httpGet"], "scheme": "HTTP"}
    found["name"] = name
    return found


def _llm_service(site: Site, workload: Workload) -> Manifest:
    parts = _rendered(site, workload)
    container = _container(parts, cloud_fact("kserve", "container"))
    _check_template(workload, [*container.get("command", []), *container.get("args", [])])
    # KServe's template sleeps before it sends the signal, as long as we would.
    del container["lifecycle"]
    # Hooks of its container runtime write into the container: it keeps its root writable.
    container["securityContext"].pop("readOnlyRootFilesystem")
    template = pod_spec(parts, [container])
    if _account_name(workload):
        template["serviceAccountName"] = _account_name(workload)
    if _by_variable(workload):
        template["initContainers"] = [_initializer(workload)]
    spec: dict[str, Any] = {
        "model": _model(workload),
        **_scaling(workload),
        "template": template,
        "storageInitializer": {"enabled": True},
    }
    devices = workload.place.devices
    if devices is not None:
        spec["parallelism"] = {"tensor": devices.per_node}
    if site.info.has(HTTP_ROUTE) and site.info.has(INFERENCE_POOL):
        # An empty part asks for KServe's default of it.
        spec["router"] = {"gateway": {}, "route": {}, "scheduler": {}}
    return {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": metadata(
            workload.name, workload.namespace, workload.labels, _why(parts, workload)
        ),
        "spec": spec,
    }


def _check_template(workload: Workload, words: list[str]) -> None:
    """KServe takes the whole spec for a Go template."""
    if any("{{" in word for word in words):
        raise InputError(
            "KServe takes `{{` in an argument for its own template",
            where=f"model {workload.model.name}",
            hint="write the argument without two braces side by side",
            code="cluster.kserve",
        )


def _why(parts: Rendered, workload: Workload) -> dict[str, str]:
    notes = "; ".join(_notes(workload))
    return {**drain.explained(parts.ending), **({f"{PREFIX}/why": notes} if notes else {})}


def _model(workload: Workload) -> dict[str, Any]:
    model = workload.model
    found: dict[str, Any] = {"name": model.name, "uri": _uri(model.source)}
    if model.adapters:
        found["lora"] = {
            "adapters": [
                {"name": adapter.name, "uri": _uri(adapter.source)} for adapter in model.adapters
            ]
        }
    return found


def _scaling(workload: Workload) -> dict[str, Any]:
    """Replicas, or what scales them: never both."""
    scaling = workload.model.scaling
    if workload.driver == "none":
        return dict(replicas(workload))
    by = "hpa" if workload.driver == "hpa" else "keda"
    settings: dict[str, Any] = {"cooldownPeriod": round(scaling.cooldown)} if by == "keda" else {}
    least = max(1, scaling.min)
    return {
        "scaling": {
            "minReplicas": least,
            "maxReplicas": max(least, most_replicas(workload)),
            "wva": {by: settings},
        }
    }


def _by_variable(workload: Workload) -> bool:
    """Whether the token goes to the download as a variable, whatever its key is called."""
    model = workload.model
    return model.credentials is not None and model.source.scheme == "hf" and _is_llm(workload)


def _initializer(workload: Workload) -> dict[str, Any]:
    credential = workload.model.credentials
    assert credential is not None
    reference = in_cluster(credential, f"model {workload.model.name}")
    token = {"name": cloud_fact("kserve", "token"), "valueFrom": {"secretKeyRef": reference}}
    return {"name": cloud_fact("kserve", "initializer"), "env": [token]}


def _account_name(workload: Workload) -> str:
    """Of the service account whose Secrets hold the login; empty where none is needed."""
    needed = workload.model.credentials is not None and not _by_variable(workload)
    return workload.name if needed else ""


def _account(workload: Workload) -> Iterator[Manifest]:
    credential = workload.model.credentials
    if credential is None or not _account_name(workload):
        return
    reference = in_cluster(credential, f"model {workload.model.name}")
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(workload.name, workload.namespace, workload.labels),
        "secrets": [{"name": reference["name"]}],
        "automountServiceAccountToken": False,
    }


def _runtime(site: Site, workload: Workload) -> Manifest:
    """The engine, its flags and its volumes."""
    parts = _rendered(site, workload)
    container = _container(parts, cloud_fact("kserve", "runtime.container"))
    pod = pod_spec(parts, [container])
    spec: dict[str, Any] = {
        "containers": [container],
        "multiModel": False,
        "supportedModelFormats": [{"name": workload.place.engine, "autoSelect": False}],
    }
    if pod.get("volumes"):
        spec["volumes"] = pod["volumes"]
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": metadata(workload.name, workload.namespace, workload.labels),
        "spec": spec,
    }


def _inference_service(site: Site, workload: Workload) -> Manifest:
    parts = _rendered(site, workload)
    pod = pod_spec(parts, [])
    for elsewhere in ("containers", "volumes", "initContainers"):
        pod.pop(elsewhere, None)
    scaling = workload.model.scaling
    predictor: dict[str, Any] = {
        **pod,
        "minReplicas": replicas(workload).get("replicas", scaling.min),
        "maxReplicas": max(scaling.min, most_replicas(workload), 1),
        "timeout": round(site.fleet.gateway.max_stream),
        "model": {
            "modelFormat": {"name": workload.place.engine},
            "runtime": workload.name,
            "storageUri": _uri(workload.model.source),
        },
    }
    if _account_name(workload):
        predictor["serviceAccountName"] = _account_name(workload)
    annotations = {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "none" if workload.driver == "none" else "external",
        **_why(parts, workload),
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata(workload.name, workload.namespace, workload.labels, annotations),
        "spec": {"predictor": predictor},
    }
