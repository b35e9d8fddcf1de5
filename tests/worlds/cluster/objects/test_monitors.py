"""How Prometheus finds pods, and what it is told where it cannot."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from plimsoll.facts.kubernetes import figure
from plimsoll.plan.types import Plan
from plimsoll.worlds.cluster.info import KEDA, POD_MONITOR
from plimsoll.worlds.cluster.objects.monitors import (
    monitor_objects,
    notes,
    relabelings,
    scrape_jobs,
    scrapes,
)
from plimsoll.worlds.cluster.objects.promql import triggers
from plimsoll.worlds.cluster.objects.scaling import scaling_objects
from plimsoll.worlds.cluster.objects.site import Manifest, Site
from tests.worlds.cluster.objects.signals import doubled, info, signal_site, workload
from tests.worlds.cluster.schemas import problems

PROMTOOL = shutil.which("promtool")


def monitors(site: Site) -> list[Manifest]:
    return [each for each in monitor_objects(site) if each["kind"] == "PodMonitor"]


def targets(rules: list[dict[str, Any]]) -> set[str]:
    return {rule["targetLabel"] for rule in rules if "targetLabel" in rule}


VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"engine": "llamacpp"},
    {"engine": "custom", "model": {"engineOptions": {"image": "e:1", "metrics": "/m"}}},
    {"model": {"namespace": "team-a"}, "nodes": 2},
    {"gateway": {"listen": {"port": 8443, "tls": {"secret": "t"}}}},
    {"offered": info(POD_MONITOR, external_metrics=True), "scaling": {"policy": "queueDepth"}},
)


@pytest.mark.parametrize("words", VARIANTS)
def test_the_api_server_takes_every_object(words: dict[str, Any]) -> None:
    found = list(monitor_objects(signal_site(**words)))
    assert found
    assert [problem for manifest in found for problem in problems(manifest)] == []


def test_a_monitor_selects_the_pods_that_the_workload_labels() -> None:
    site = signal_site(model={"namespace": "team-a"})
    gateway, engine = monitors(site)
    labels = workload(site).labels
    wanted = engine["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= labels.items()
    assert engine["metadata"]["namespace"] == workload(site).namespace == "team-a"
    assert engine["spec"]["podMetricsEndpoints"][0]["portNumber"] == workload(site).port
    assert gateway["metadata"]["namespace"] == "inference"
    assert gateway["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/component": "gateway",
        "plimsoll.dev/fleet": "prod",
    }


def test_monitors_carry_the_labels_by_which_prometheus_finds_them() -> None:
    told = {"monitoring": {"labels": {"release": "kube-prometheus-stack"}}}
    for monitor in monitors(signal_site(gateway=told)):
        assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_what_a_pod_says_does_not_replace_what_its_labels_say() -> None:
    for monitor in monitors(signal_site()):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["honorLabels"] is False
        assert "plimsoll_fleet" in targets(endpoint["relabelings"])
        assert "metricRelabelings" not in endpoint  # nothing is dropped


def test_scrapes_are_faster_than_the_looks_at_them() -> None:
    for scrape in scrapes(signal_site()):
        assert scrape.interval < min(figure("keda_poll"), figure("hpa_look"))
    assert figure("gateway_scrape") < figure("keda_poll_from_zero")


def test_only_the_first_node_of_a_replica_is_scraped() -> None:
    (_, engine) = scrapes(signal_site(nodes=2))
    keep = [rule for rule in relabelings(engine) if rule.get("action") == "keep"]
    assert keep == [
        {
            "action": "keep",
            "sourceLabels": [
                "__meta_kubernetes_pod_label_leaderworkerset_sigs_k8s_io_worker_index"
            ],
            "regex": "0?",
        }
    ]


def test_metrics_are_read_where_the_engine_serves_them() -> None:
    assert scrapes(signal_site(engine="rayserve"))[1].port == 8080
    options = {"image": "e:1", "port": 9000, "metrics": "/m"}
    custom = scrapes(signal_site(engine="custom", model={"engineOptions": options}))[1]
    assert (custom.port, custom.path) == (9000, "/m")


def test_engines_that_are_alike_share_a_monitor_and_others_do_not() -> None:
    assert len(scrapes(doubled(signal_site(), "second"))) == 2  # the gateway, and both engines
    site = doubled(signal_site(engine="custom"), "second")
    first, second = site.plan.placements
    moved = replace(second, options=msgspec.structs.replace(second.options, metrics="/m"))
    found = scrapes(replace(site, plan=Plan(placements=(first, moved))))[1:]
    assert [(each.path, each.models) for each in found] == [
        ("/metrics", ("chat",)),
        ("/m", ("second",)),
    ]
    assert len({each.name for each in found}) == 2


def test_a_gateway_of_another_fleet_is_asked_and_not_scraped_twice() -> None:
    site = signal_site(served_by=("platform", "door"), scaling={"policy": "queueDepth"})
    assert [monitor["metadata"]["name"] for monitor in monitors(site)] == ["prod-vllm"]
    query = triggers(site, workload(site))[0].query
    assert 'plimsoll_gateway_queued{namespace="platform",plimsoll_fleet="door"' in query
    assert 'num_requests_waiting{namespace="inference",plimsoll_fleet="prod"' in query


def test_models_of_other_fleets_behind_this_gateway_are_theirs_to_monitor() -> None:
    site = signal_site(owners={"chat": "product"})
    assert [monitor["metadata"]["name"] for monitor in monitors(site)] == ["prod-gateway"]


def test_without_the_operator_of_prometheus_the_scrape_jobs_are_told() -> None:
    site = signal_site(offered=info(KEDA))
    assert list(monitor_objects(site)) == []
    (note,) = notes(site)
    assert "blind" in note
    assert notes(signal_site()) == ()


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
@pytest.mark.parametrize("words", VARIANTS)
def test_prometheus_takes_the_scrape_jobs(words: dict[str, Any], tmp_path: Path) -> None:
    jobs = scrape_jobs(signal_site(**words))
    for job in jobs:  # Debian builds Prometheus without the discovery of Kubernetes
        (discovery,) = job.pop("kubernetes_sd_configs")
        assert discovery["role"] == "pod"
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump({"scrape_configs": jobs}))
    done = subprocess.run(
        [str(PROMTOOL), "check", "config", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_scrape_jobs_label_what_the_monitors_label() -> None:
    site = signal_site(model={"namespace": "team-a"})
    for job, monitor in zip(scrape_jobs(site), monitors(site), strict=True):
        names = {rule.get("target_label") for rule in job["relabel_configs"]}
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert names - {None} == targets(endpoint["relabelings"]) | {"namespace", "pod"}


def test_prometheus_adapter_gets_a_rule_for_every_metric_of_an_hpa() -> None:
    site = signal_site(
        offered=info(POD_MONITOR, external_metrics=True), scaling={"policy": "queueDepth"}
    )
    (config,) = [each for each in monitor_objects(site) if each["kind"] == "ConfigMap"]
    rules = yaml.safe_load(config["data"]["config.yaml"])["externalRules"]
    (hpa,) = scaling_objects(site, workload(site))
    assert [rule["name"]["as"] for rule in rules] == [
        metric["external"]["metric"]["name"] for metric in hpa["spec"]["metrics"]
    ]
    assert [rule["metricsQuery"] for rule in rules] == [
        trigger.query for trigger in triggers(site, workload(site))
    ]
    # External metrics of other namespaces than the series' own need this.
    assert all(rule["resources"] == {"namespaced": False} for rule in rules)
    assert any(config["metadata"]["name"] in note for note in notes(site))
