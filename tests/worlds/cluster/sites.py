"""Sites for tests: a fleet text or an example, planned as `plimsoll render` plans it, offline.

Planning takes 0.2 s per model on accelerators, so every plan is made once per test run.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from plimsoll.cli import cluster_plan
from plimsoll.cli.files import LoadedFleet, read_fleet
from plimsoll.engines import ENGINES
from plimsoll.engines.protocol import Engine
from plimsoll.errors import SourceError
from plimsoll.fleet import Document, load_fleet
from plimsoll.plan import Plan
from plimsoll.worlds.cluster.info import ASSUMED
from plimsoll.worlds.cluster.objects.render import Rendered, render
from plimsoll.worlds.cluster.objects.site import Site

ROOT = Path(__file__).parents[3]
IMAGE = "registry.example.com/plimsoll:0.4.0"
REFUSED = {"fits-nowhere", "impossible-objective"}  # examples that show what a refusal says
EXAMPLES = (
    "examples/demo.yaml",
    "examples/production.yaml",
    "examples/two-teams",
    *(
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "examples" / "plans").glob("*.yaml"))
        if file.stem not in REFUSED
    ),
)


def fleet_text(spec: str, *, name: str = "test", namespace: str = "inference") -> str:
    """A fleet file whose `spec` is this YAML, from the first column on."""
    body = "\n".join(f"  {line}" for line in spec.strip().splitlines())
    head = f"apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\nmetadata:\n  name: {name}\n"
    return f"{head}  namespace: {namespace}\nspec:\n{body}\n"


def site_of(
    fleet: str, *, engines: Mapping[str, Engine] = ENGINES, namespace: str = "", **words: Any
) -> Site:
    """A site of fleet text, or of an example named by its path from the repository's root.

    words  further fields of Site, such as `info` and `operator`
    """
    loaded, plan = planned(fleet)
    given = {"image": IMAGE, **words}
    where = namespace or loaded.fleet.namespace or "default"
    return Site(fleet=loaded.fleet, plan=plan, engines=engines, namespace=where, **given)


@functools.cache
def planned(fleet: str) -> tuple[LoadedFleet, Plan]:
    """The fleet and its plan. Raises what planning raises, and never asks the network."""
    if "\n" in fleet:
        found = load_fleet([Document(file="test.yaml", text=fleet)])
        loaded = LoadedFleet(fleet=found, base=ROOT, title="test.yaml")
    else:
        loaded = read_fleet((str(ROOT / fleet),))
    with mock.patch.object(cluster_plan, "remote_shape", side_effect=SourceError("offline")):
        return loaded, cluster_plan.plan_for_cluster(loaded).plan


@functools.cache
def rendered(fleet: str, kubernetes: str = "1.34", **words: Any) -> Rendered:
    """The objects of a fleet for a version of Kubernetes; further words are fields of Site."""
    info = msgspec.structs.replace(words.pop("info", ASSUMED), kubernetes=kubernetes)
    return render(site_of(fleet, info=info, **words), own_namespace=True)
