"""What is rendered of a fleet is applied, is as wished then, and goes without a trace."""

from __future__ import annotations

import pytest

from plimsoll.worlds.cluster.apply import apply_all, plan_changes
from plimsoll.worlds.cluster.changes import Scope
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.diff import difference, summary
from tests.worlds.cluster.api import Api
from tests.worlds.cluster.apply.manifests import talk
from tests.worlds.cluster.sites import rendered

FLEETS = ("examples/demo.yaml", "examples/production.yaml", "examples/two-teams")


@pytest.mark.parametrize("fleet", FLEETS)
def test_a_rendered_fleet_is_applied_is_as_wished_then_and_goes_without_a_trace(
    api: Api, fleet: str
) -> None:
    manifests = rendered(fleet).manifests
    outside = {m["metadata"].get("namespace", "") for m in manifests} - {""}
    brought = {m["metadata"]["name"] for m in manifests if m["kind"] == "Namespace"}
    api.namespace(*sorted(outside - brought - {"default"}))
    before = api.everything()
    first = next(iter(outside))
    name = next(
        m["metadata"]["labels"]["plimsoll.dev/fleet"]
        for m in manifests
        if "plimsoll.dev/fleet" in m["metadata"].get("labels", {})
    )
    scope = Scope(fleet=name, namespace=first, prune_data=True)

    async def scene(kube: Kube) -> None:
        found = await apply_all(kube, manifests, scope)
        assert len(found.created) == len(manifests)
        again = await plan_changes(kube, manifests, scope)
        assert again.empty, summary(difference(again, {}))
        gone = await apply_all(kube, [], scope)
        assert len(gone.deleted) == len(manifests)

    talk(api, scene)
    assert api.everything() == before
