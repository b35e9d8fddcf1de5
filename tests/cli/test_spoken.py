"""How a gateway in a cluster is told where replicas' metrics are."""

from __future__ import annotations

import pytest

from plimsoll.cli.cluster_gateway import spoken
from plimsoll.engines import ENGINES
from plimsoll.worlds.cluster.served import ServedModel, served_models
from tests.worlds.cluster.sites import fleet_text, site_of


def model(engine: str, metrics: str = "") -> ServedModel:
    return ServedModel(
        model="m", task="chat", engine=engine, context=1, parallel=1, namespace="n", service="s",
        port=8000, metrics=metrics,
    )  # fmt: skip


@pytest.mark.parametrize("engine", sorted(ENGINES.keys() - {"rayserve"}))
def test_every_engine_that_counts_per_replica_is_read(engine: str) -> None:
    told = spoken(model(engine))
    assert told is not None
    assert told.path == "/metrics"
    assert told.metrics


def test_metrics_of_a_node_and_of_an_unknown_engine_are_not_read() -> None:
    assert spoken(model("rayserve")) is None
    assert spoken(model("of-tomorrow")) is None


def test_the_path_of_ones_own_container_is_that_of_the_fleet_file() -> None:
    text = """
models:
  - {name: own, source: "hf://Qwen/Qwen3-0.6B", engine: custom, task: chat, context: 1024,
     engineOptions: {image: "registry.example/own:1", metrics: /stats}}
"""
    site = site_of(fleet_text(text, name="shop", namespace="default"))
    (own,) = served_models(site)
    assert own.metrics == "/stats"
    told = spoken(own)
    assert told is not None
    assert told.path == "/stats"
