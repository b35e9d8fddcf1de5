"""Fleet objects of all namespaces add up: what each means, and whose names count."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.worlds.cluster.operator.fleets import Effective, Sum, add_up
from plimsoll.worlds.cluster.operator.reading import FleetKey, Reading, read_object
from tests.worlds.cluster.operator.stage import model

POOL = {"name": "gpu", "accelerator": "none"}


def reading(name: str, *, age: int = 0, namespace: str = "", uid: str = "", **spec: Any) -> Reading:
    """A Fleet of its own namespace; `age` in seconds, the larger the older."""
    return read_object(
        {
            "metadata": {
                "name": name,
                "namespace": namespace or name,
                "uid": uid or name,
                "generation": 1,
                "creationTimestamp": f"2026-11-21T10:{59 - age:02d}:00Z",
            },
            "spec": spec,
        }
    )


def meant(*readings: Reading, before: Sum | None = None) -> dict[str, Effective]:
    found = add_up(readings, before).effective
    return {key.name: effective for key, effective in found.items()}


def test_every_fleet_keeps_its_own_models() -> None:
    found = meant(reading("a", models=[model("x")]), reading("b", models=[model("y")]))
    assert [m.name for m in found["a"].fleet.models] == ["x"]
    assert [m.name for m in found["b"].fleet.models] == ["y"]


def test_pools_providers_and_tenants_are_offered_to_all() -> None:
    provider = {"name": "other", "protocol": "openai", "baseURL": "https://api.example.com/v1"}
    platform = reading("p", age=9, pools=[POOL], providers=[provider], tenants=[{"name": "t"}])
    found = meant(platform, reading("a", models=[model("x", placement={"pools": ["gpu"]})]))
    assert found["a"].accepted
    fleet = found["a"].fleet
    assert [len(section) for section in (fleet.pools, fleet.providers, fleet.tenants)] == [1, 1, 1]
    assert fleet.providers[0].namespace == "p", "its Secret is there"
    assert found["a"].own["pools"] == frozenset()


def test_ones_own_pool_comes_before_the_older_one_of_that_name_and_the_clash_is_told() -> None:
    own = {**POOL, "nodes": {"max": 5}}
    found = meant(reading("p", age=9, pools=[POOL]), reading("a", pools=[own]))
    assert found["a"].fleet.pools[0].nodes.max == 5
    assert "pool `gpu`" in found["a"].clashes[0]
    assert found["p"].fleet.pools[0].nodes.max == 1
    assert found["p"].clashes == ()


def test_a_pool_that_nobody_defines_is_refused_and_by_the_one_fleet_only() -> None:
    found = meant(
        reading("a", models=[model("x", placement={"pools": ["gpu"]})]),
        reading("b", models=[model("y")]),
    )
    assert not found["a"].accepted
    assert "there is no pool `gpu`" in found["a"].problems[0].message
    assert found["b"].accepted


def test_what_a_tenant_may_call_may_come_later() -> None:
    tenant = {"name": "t", "models": ["x"]}
    alone = meant(reading("p", age=9, tenants=[tenant], gateway={}))
    assert alone["p"].accepted
    assert "no model `x`" in alone["p"].loose[0]
    both = meant(
        reading("p", age=9, tenants=[tenant], gateway={}), reading("a", models=[model("x")])
    )
    assert both["p"].loose == ()


def test_a_fallback_that_names_nothing_is_passed_over() -> None:
    found = meant(reading("a", models=[model("x", fallbacks=["y", "nowhere"]), model("y")]))
    assert found["a"].accepted
    assert found["a"].fleet.models[0].fallbacks == ("y",)


def test_a_fleet_without_a_gateway_section_is_served_by_the_oldest_that_has_one() -> None:
    found = meant(
        reading("young", age=1, gateway={}),
        reading("old", age=9, gateway={}),
        reading("a", age=20, models=[model("x")]),
    )
    assert found["a"].gateway == FleetKey("old", "old")
    assert found["old"].served == (FleetKey("old", "old"), FleetKey("a", "a"))
    assert found["young"].gateway == FleetKey("young", "young")


def test_without_any_gateway_section_each_fleet_with_models_has_its_own() -> None:
    found = meant(reading("a", models=[model("x")]), reading("p", pools=[POOL]))
    assert found["a"].holds_gateway
    assert found["p"].gateway is None


def test_of_two_models_of_one_name_behind_one_gateway_the_older_fleets_is_served() -> None:
    found = meant(
        reading("p", age=30, gateway={}),
        reading("old", age=9, models=[model("x")]),
        reading("new", age=1, models=[model("x"), model("y")]),
    )
    assert [m.name for m in found["old"].fleet.models] == ["x"]
    assert [m.name for m in found["new"].fleet.models] == ["y"]
    assert "older Fleet old/old" in found["new"].unserved["x"]


def test_the_same_name_behind_two_gateways_is_no_clash() -> None:
    found = meant(reading("a", models=[model("x")]), reading("b", models=[model("x")]))
    assert not found["a"].unserved
    assert not found["b"].unserved


def test_an_alias_with_weights_may_be_shared_and_without_may_not() -> None:
    def together(**words: Any) -> Effective:
        return meant(
            reading("p", age=30, gateway={}),
            reading("old", age=9, models=[model("x", aliases=["gpt"], **words)]),
            reading("new", age=1, models=[model("y", aliases=["gpt"], **words)]),
        )["new"]

    assert together(weight=1).unserved == {}
    assert "alias `gpt`" in together().unserved["y"]


def test_a_fleet_that_breaks_means_what_it_meant_before() -> None:
    good = reading("a", models=[model("x")])
    before = add_up([good])
    broken = read_object(
        {
            "metadata": {"name": "a", "namespace": "a", "uid": "a", "generation": 2},
            "spec": {"models": [{"name": "x"}]},
        }
    )
    found = add_up([broken], before).effective[FleetKey("a", "a")]
    assert not found.accepted
    assert found.generation == 2
    assert [m.name for m in found.fleet.models] == ["x"]


def test_a_fleet_whose_pool_goes_away_means_what_it_meant_before() -> None:
    platform = reading("p", age=9, pools=[POOL])
    user = reading("a", models=[model("x", placement={"pools": ["gpu"]})])
    before = add_up([platform, user])
    found = add_up([user], before).effective[FleetKey("a", "a")]
    assert not found.accepted
    assert found.fleet is not None


def test_another_fleet_under_the_same_name_inherits_nothing() -> None:
    before = add_up([reading("a", models=[model("x")], uid="one")])
    found = meant(reading("a", models=[model("y", source="nowhere")], uid="two"), before=before)
    assert found["a"].fleet is None


def test_another_fleets_tenant_changes_the_objects_but_not_the_plan() -> None:
    user = reading("a", models=[model("x")])
    one = meant(user, reading("p", age=9, tenants=[{"name": "t"}]))["a"]
    two = meant(user, reading("p", age=9, tenants=[{"name": "u"}]))["a"]
    assert one.digest != two.digest
    assert one.planning == two.planning


@given(st.permutations(range(4)))
def test_the_order_in_which_fleets_are_listed_does_not_matter(order: list[int]) -> None:
    fleets = [
        reading("p", age=30, gateway={}, pools=[POOL]),
        reading("old", age=9, models=[model("x")]),
        reading("new", age=1, models=[model("x")], pools=[POOL]),
        reading("q", age=2, gateway={}, models=[model("x")]),
    ]
    assert add_up(fleets[i] for i in order).effective == add_up(fleets).effective


def test_a_gateway_that_runs_keeps_its_fleets_when_a_new_operator_cannot_read_its_own() -> None:
    def front(*, ran: bool) -> Reading:
        return read_object(
            {
                "metadata": {"name": "a", "namespace": "a", "uid": "a", "generation": 2},
                "spec": {"gateway": {}, "models": [{"name": "x", "sauce": "typing error"}]},
                "status": {"gateway": "a/a"} if ran else {},
            }
        )

    other = reading("b", models=[model("y")])
    kept = meant(front(ran=True), other)
    assert not kept["a"].accepted
    assert kept["a"].gateway == kept["b"].gateway == FleetKey("a", "a")
    assert kept["b"].accepted
    fresh = meant(front(ran=False), other)
    assert (fresh["a"].gateway, fresh["b"].gateway) == (None, FleetKey("b", "b"))
