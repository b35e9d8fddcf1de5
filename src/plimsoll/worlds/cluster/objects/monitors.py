"""How Prometheus finds the gateway and the engines: monitors, or scrape jobs that say the same.

Every series gets the labels `plimsoll_fleet` and `plimsoll_model` from the pod, so that one shape
of query serves every engine, also those whose metrics name no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from plimsoll.facts.engines import engine as engine_facts
from plimsoll.facts.kubernetes import figure
from plimsoll.telemetry.metrics import QUEUED
from plimsoll.telemetry.promql import selector
from plimsoll.worlds.cluster.info import POD_MONITOR
from plimsoll.worlds.cluster.objects.gateway import gateway_labels, gateway_port, gateway_selector
from plimsoll.worlds.cluster.objects.names import (
    COMPONENT,
    ENGINE_COMPONENT,
    FLEET,
    GATEWAY_COMPONENT,
    MODEL,
    TENANT,
    label_value,
    object_name,
)
from plimsoll.worlds.cluster.objects.promql import (
    FLEET_LABEL,
    MODEL_LABEL,
    TENANT_LABEL,
    gateway_series,
    together,
    triggers,
)
from plimsoll.worlds.cluster.objects.scaling import external_metric, scalable
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata

GATEWAY_METRICS = "/metrics"
# Prometheus reaches pods by address, which no certificate names; nothing secret is in metrics.
_UNVERIFIED = True
_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"  # number of a pod in its group, 0 is the first
_SNAKE = {"sourceLabels": "source_labels", "targetLabel": "target_label"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """Pods of one namespace that are scraped alike.

    name       of the monitor
    namespace  of the pods
    labels     that the pods have
    models     values of the model label that are meant; empty: all pods with `labels`
    path       of the metrics
    port       on which they are served
    https      whether the port speaks TLS
    interval   seconds
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    models: tuple[str, ...] = ()
    path: str
    port: int
    https: bool = False
    interval: int


def monitor_objects(site: Site) -> Iterator[Manifest]:
    """A PodMonitor for the gateway and for each kind of engine in each namespace.

    Where a plain HPA follows a model, also a ConfigMap with the rules that Prometheus Adapter
    needs for its metrics. Raises InputError where a trigger's engine does not tell its signal.
    """
    if site.info.has(POD_MONITOR):
        yield from (_pod_monitor(site, scrape) for scrape in scrapes(site))
    rules = _adapter_rules(site)
    if rules:
        text = yaml.safe_dump({"externalRules": rules}, sort_keys=False, width=10_000)
        name = object_name(site.fleet.name, "external-metrics")
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(name, site.namespace, site.labels),
            "data": {"config.yaml": text},
        }


def notes(site: Site) -> tuple[str, ...]:
    """What is not made for want of an API, and what a person has to do instead."""
    found = []
    if not site.info.has(POD_MONITOR):
        found.append(
            "no PodMonitors: Prometheus' operator is not installed, so nothing is scraped, and "
            "KEDA and the HPA are blind, until Prometheus is given scrape jobs that set "
            f"`namespace`, `{FLEET_LABEL}` and `{MODEL_LABEL}`"
        )
    if any(workload.driver == "hpa" for workload in _own(site)):
        name = object_name(site.fleet.name, "external-metrics")
        found.append(
            f"the rules in ConfigMap {name} belong into the configuration of Prometheus Adapter; "
            "without them the HPA has no signal and keeps the replicas that there are"
        )
    return tuple(found)


def scrapes(site: Site) -> tuple[Scrape, ...]:
    """What is to be scraped: the fleet's own gateway, then engines that are alike, by namespace."""
    alike: dict[tuple[str, str, str, int], list[Workload]] = {}
    for workload in _own(site):
        if together(site, workload)[0] is not workload:
            continue
        facts = engine_facts(workload.place.engine)
        custom = workload.place.engine == "custom"
        path = workload.place.options.metrics if custom else facts.metrics_path
        key = (workload.namespace, facts.name, path, facts.metrics_port or workload.port)
        alike.setdefault(key, []).append(workload)
    kinds = [(namespace, engine) for namespace, engine, _, _ in alike]
    return (
        *([_gateway(site)] if site.served_by is None else []),
        *(
            _engines(site, key, found, alone=kinds.count(key[:2]) == 1)
            for key, found in alike.items()
        ),
    )


def relabelings(scrape: Scrape) -> list[dict[str, Any]]:
    """Labels of every series from labels of its pod, in the words of PodMonitor."""
    names = {FLEET: FLEET_LABEL}
    found: list[dict[str, Any]] = []
    if scrape.labels[COMPONENT] == ENGINE_COMPONENT:
        # An engine over several nodes answers on its first one only.
        found.append({"action": "keep", "sourceLabels": [_of_pod(_INDEX)], "regex": "0?"})
        names |= {MODEL: MODEL_LABEL, TENANT: TENANT_LABEL}
    return [
        *found,
        *({"sourceLabels": [_of_pod(name)], "targetLabel": to} for name, to in names.items()),
    ]


def scrape_jobs(site: Site) -> list[dict[str, Any]]:
    """The same as the monitors, as `scrape_configs` of a Prometheus without its operator.

    Source: prometheus.io, configuration: kubernetes_sd_config with role `pod`, relabel_config.
    """
    return [_job(scrape) for scrape in scrapes(site)]


def _engines(
    site: Site, key: tuple[str, str, str, int], found: list[Workload], *, alone: bool
) -> Scrape:
    """Engines that are alike; those of one name that differ in path or port name their models."""
    namespace, engine, path, port = key
    models = () if alone else tuple(sorted(workload.selector[MODEL] for workload in found))
    return Scrape(
        name=object_name(site.fleet.name, engine, *([] if alone else [path, str(port)])),
        namespace=namespace,
        labels={
            COMPONENT: ENGINE_COMPONENT,
            FLEET: label_value(site.fleet.name),
            "app.kubernetes.io/name": label_value(engine),
        },
        models=models,
        path=path,
        port=port,
        interval=int(figure("engine_scrape")),
    )


def _gateway(site: Site) -> Scrape:
    return Scrape(
        name=site.gateway_name,
        namespace=site.namespace,
        labels=gateway_selector(site),
        path=GATEWAY_METRICS,
        port=gateway_port(site),
        https=site.fleet.gateway.listen.tls is not None,
        interval=int(figure("gateway_scrape")),
    )


def _own(site: Site) -> tuple[Workload, ...]:
    """The models whose objects this fleet makes."""
    return tuple(each for each in site.workloads if each.model.name not in site.owners)


def _pod_monitor(site: Site, scrape: Scrape) -> Manifest:
    endpoint: dict[str, Any] = {
        "portNumber": scrape.port,
        "path": scrape.path,
        "interval": f"{scrape.interval}s",
        # What a pod says of itself does not replace what its labels say.
        "honorLabels": False,
        "relabelings": relabelings(scrape),
    }
    if scrape.https:
        endpoint |= {"scheme": "https", "tlsConfig": {"insecureSkipVerify": _UNVERIFIED}}
    pods: dict[str, Any] = {"matchLabels": dict(sorted(scrape.labels.items()))}
    if scrape.models:
        models = {"key": MODEL, "operator": "In", "values": list(scrape.models)}
        pods["matchExpressions"] = [models]
    of_gateway = scrape.labels[COMPONENT] == GATEWAY_COMPONENT
    made = gateway_labels(site) if of_gateway else site.labels
    labels = {**made, **site.fleet.gateway.monitoring.labels}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata(scrape.name, scrape.namespace, labels),
        "spec": {"selector": pods, "podMetricsEndpoints": [endpoint]},
    }


def _job(scrape: Scrape) -> dict[str, Any]:
    wanted = {_of_pod(name): f"{re.escape(value)}" for name, value in scrape.labels.items()}
    if scrape.models:
        wanted[_of_pod(MODEL)] = "|".join(map(re.escape, scrape.models))
    wanted["__meta_kubernetes_pod_phase"] = "Running"
    wanted["__meta_kubernetes_pod_container_port_number"] = str(scrape.port)
    keep = [
        {"action": "keep", "source_labels": [label], "regex": regex}
        for label, regex in sorted(wanted.items())
    ]
    place = {"__meta_kubernetes_namespace": "namespace", "__meta_kubernetes_pod_name": "pod"}
    ours = [
        {_SNAKE.get(word, word): value for word, value in rule.items()}
        for rule in relabelings(scrape)
    ]
    job: dict[str, Any] = {
        "job_name": f"{scrape.namespace}/{scrape.name}",
        "scrape_interval": f"{scrape.interval}s",
        "scrape_timeout": f"{scrape.interval}s",
        "metrics_path": scrape.path,
        "scheme": "https" if scrape.https else "http",
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [scrape.namespace]}}],
        "relabel_configs": [
            *keep,
            *({"source_labels": [label], "target_label": to} for label, to in place.items()),
            *ours,
        ],
    }
    if scrape.https:
        job["tls_config"] = {"insecure_skip_verify": _UNVERIFIED}
    return job


def _of_pod(label: str) -> str:
    """The name under which Prometheus' service discovery has a label of the pod."""
    return f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', label)}"


def _adapter_rules(site: Site) -> list[dict[str, Any]]:
    """One rule of Prometheus Adapter per trigger that a plain HPA follows.

    Source: kubernetes-sigs/prometheus-adapter docs/externalmetrics.md. `seriesQuery` must find
    something also while a model stands at zero: a series of the gateway.
    """
    return [
        {
            "seriesQuery": selector(
                QUEUED.name, {**gateway_series(site), "model": member.model.name}
            ),
            "resources": {"namespaced": False},
            "name": {"as": external_metric(member, trigger)},
            "metricsQuery": trigger.query,
        }
        for workload in _own(site)
        if workload.driver == "hpa" and scalable(workload)
        for member in together(site, workload)
        if together(site, workload)[0] is workload
        for trigger in triggers(site, member)
    ]
