"""Sites of pools alone, and of placements that a test makes up: no planning."""

from __future__ import annotations

from typing import Any

from plimsoll.engines import ENGINES
from plimsoll.fleet import Document, load_fleet
from plimsoll.plan.types import Accelerators, Ledger, Placement, Plan, Term
from plimsoll.worlds.cluster.info import ASSUMED, ClusterInfo
from plimsoll.worlds.cluster.objects.site import Site
from tests.worlds.cluster.sites import fleet_text

IMAGE = "registry.example.com/plimsoll:0.4.0"


def site_of_pools(
    spec: str, *placements: Placement, info: ClusterInfo = ASSUMED, **words: Any
) -> Site:
    """A site of a fleet's `spec`, with these placements for its models."""
    fleet = load_fleet([Document(file="test.yaml", text=fleet_text(spec))])
    return Site(
        fleet=fleet,
        plan=Plan(placements=placements),
        engines=ENGINES,
        namespace="inference",
        image=IMAGE,
        info=info,
        **words,
    )


def placed(model: str, pool: str, devices: Accelerators, **words: Any) -> Placement:
    """A placement on a pool."""
    return Placement(
        model=model,
        engine="vllm",
        source=f"hf://acme/{model}",
        task="chat",
        context=4096,
        parallel=8,
        threads=0,
        batch=2048,
        kv_type="bf16",
        ledger=Ledger(terms=(Term(name="weights", bytes=10**9),)),
        devices=devices,
        pool=pool,
        **words,
    )


def slices(profile: str, accelerator: str = "H100-80GB-SXM", count: int = 1) -> Accelerators:
    """MIG instances of a replica."""
    return Accelerators(
        name=accelerator, per_node=count, memory=10**9, profile=profile, sharing="mig"
    )


def models(*names: str) -> str:
    """The `models` section for these names."""
    listed = "\n".join(f"  - {{name: {name}, source: 'hf://acme/{name}'}}" for name in names)
    return f"models:\n{listed}\n"
