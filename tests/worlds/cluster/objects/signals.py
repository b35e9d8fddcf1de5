"""Sites of one model for the tests of signals: planned by hand, so that every figure is seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from plimsoll.engines import ENGINES
from plimsoll.fleet import Document, load_fleet
from plimsoll.plan.types import Accelerators, ColdStart, Ledger, Placement, Plan
from plimsoll.worlds.cluster.info import (
    ASSUMED_KUBERNETES,
    KEDA,
    LEADER_WORKER_SET,
    POD_MONITOR,
    VERTICAL_POD_AUTOSCALER,
    ClusterInfo,
)
from plimsoll.worlds.cluster.objects.site import Site, Workload

PROMETHEUS = "http://prometheus.monitoring:9090"


def info(
    *apis: str, kubernetes: str = ASSUMED_KUBERNETES, external_metrics: bool = False
) -> ClusterInfo:
    return ClusterInfo(kubernetes=kubernetes, apis=apis, external_metrics=external_metrics)


EVERYTHING = info(KEDA, LEADER_WORKER_SET, POD_MONITOR, VERTICAL_POD_AUTOSCALER)


def signal_site(
    *,
    name: str = "chat",
    engine: str = "vllm",
    parallel: int = 8,
    nodes: int = 1,
    cold: float = 0.0,
    most: int = 1,
    offered: ClusterInfo = EVERYTHING,
    prometheus: str | None = PROMETHEUS,
    scaling: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    gateway: Mapping[str, Any] | None = None,
    **words: Any,
) -> Site:
    """A fleet `prod` in `inference` with one model, planned as the arguments say.

    scaling, model, gateway  what the fleet file says there, beside the least
    words                    further fields of Site
    """
    monitoring = {"monitoring": {"prometheus": prometheus}} if prometheus else {}
    custom = {"engineOptions": {"image": "example.com/e:1", "port": 9000}}
    wished = {
        "name": name,
        "source": "builtin:demo",
        "engine": engine,
        "scaling": {"max": 4, **(scaling or {})},
        **(custom if engine == "custom" else {}),
        **(model or {}),
    }
    spec = {"models": [wished], "gateway": {**monitoring, **(gateway or {})}}
    document = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": "prod", "namespace": "inference"},
        "spec": spec,
    }
    fleet = load_fleet([Document(file="fleet.json", text=json.dumps(document))])
    place = Placement(
        model=name,
        engine=engine,
        source="builtin:demo",
        task="chat",
        context=2048,
        parallel=parallel,
        threads=0,
        batch=2048,
        kv_type="auto",
        ledger=Ledger(terms=()),
        devices=Accelerators(name="L4-24GB", per_node=1, nodes=nodes, memory=24 << 30),
        most=most,
        cold_start=ColdStart(engine=cold),
        options=fleet.models[0].engine_options,
    )
    return Site(
        fleet=fleet,
        plan=Plan(placements=(place,)),
        engines={engine: ENGINES["llamacpp"]},  # scaling asks the catalogue, never the adapter
        namespace="inference",
        image="registry.example.com/plimsoll:1",
        info=offered,
        **words,
    )


def doubled(site: Site, name: str) -> Site:
    """The same site with a second model that differs in its name only."""
    model, place = site.fleet.models[0], site.plan.placements[0]
    both = (model, msgspec.structs.replace(model, name=name))
    return replace(
        site,
        fleet=msgspec.structs.replace(site.fleet, models=both),
        plan=Plan(placements=(place, replace(place, model=name))),
    )


def workload(site: Site) -> Workload:
    return site.workloads[0]
