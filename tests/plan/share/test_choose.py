"""The cheapest way to run all services together: proven, legal, and never dearer with more room."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plimsoll.errors import DoesNotFit, InputError, MissingExtra
from plimsoll.plan.share.choose import choose
from plimsoll.plan.share.geometry import Profile, geometry_of
from plimsoll.plan.share.types import Alternative, Offer, Service
from plimsoll.plan.share.waste import waste
from plimsoll.units import GIB
from tests.plan.share.brute import A30, H100
from tests.plan.share.brute_choice import cheapest, illegal

pytest.importorskip("highspy", reason="pip install plimsoll[plan]")


def whole(name="big", devices=1, replicas=1, nodes=1):
    return Alternative(
        id=f"{name}-x{devices}-{replicas}",
        accelerator=name,
        devices=devices,
        replicas=replicas,
        nodes=nodes,
    )


def sliced(profile, replicas, name="big"):
    return Alternative(
        id=f"{name}-{profile}-{replicas}",
        accelerator=name,
        sharing="mig",
        profile=profile,
        replicas=replicas,
    )


def turns(share, memory, replicas, *, name="small", sharing="timeSlicing"):
    return Alternative(
        id=f"{name}-{sharing}-{share}-{memory}-{replicas}",
        accelerator=name,
        sharing=sharing,
        share=share,
        memory=memory * GIB,
        replicas=replicas,
    )


def service(name, *alternatives, **more):
    unique = {option.id: option for option in alternatives}
    return Service(name=name, alternatives=tuple(unique.values()), **{"tenant": name} | more)


BIG = Offer(
    name="big", accelerator="big", price=16.0, per_node=4, limit=6,
    sharing=frozenset({"none", "mig"}), memory=79 * GIB, geometry=H100,
)  # fmt: skip
SMALL = Offer(
    name="small", accelerator="small", price=1.5, per_node=1, limit=12,
    sharing=frozenset({"none", "timeSlicing"}), memory=20 * GIB,
)  # fmt: skip
FEW = Offer(
    name="a30", accelerator="a30", price=3.0, per_node=2, limit=3,
    sharing=frozenset({"none", "mig"}), memory=23 * GIB, geometry=A30,
)  # fmt: skip
PAIR = replace(SMALL, name="pair", accelerator="pair", price=2.5, per_node=2, limit=4)
OFFERS = (BIG, SMALL, FEW, PAIR)

WAYS = st.one_of(
    st.builds(whole, st.just("big"), st.sampled_from([1, 2, 3, 4]), st.integers(1, 3)),
    st.builds(whole, st.just("a30"), st.sampled_from([1, 2]), st.integers(1, 3)),
    st.builds(whole, st.just("big"), st.just(6), st.just(1), st.just(2)),
    st.builds(
        sliced,
        st.sampled_from(["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"]),
        st.integers(1, 5),
    ),
    st.builds(
        sliced, st.sampled_from(["1g.6gb", "2g.12gb", "4g.24gb"]), st.integers(1, 4), st.just("a30")
    ),
    st.builds(
        turns, st.sampled_from([0.1, 0.3, 0.35, 0.5, 0.6]), st.integers(2, 12), st.integers(1, 3)
    ),
    st.builds(
        lambda s, m, r: turns(s, m, r, name="pair"),
        st.sampled_from([0.15, 0.3, 0.5]),
        st.integers(2, 9),
        st.integers(1, 4),
    ),
)


@st.composite
def fleets(draw):
    found = []
    for index in range(draw(st.integers(1, 4))):
        strict = draw(st.booleans())
        options = draw(st.lists(WAYS, min_size=1, max_size=3))
        if strict:
            options = [o for o in options if o.sharing != "timeSlicing"] or [whole("big")]
        sharing = draw(st.sampled_from(["none", "mig"]))
        found.append(service(f"s{index}", *options, strict=strict, sharing=sharing))
    return tuple(found)


@settings(max_examples=120, deadline=None)
@given(fleets())
def test_as_cheap_as_trying_everything(services):
    least = cheapest(services, OFFERS)
    if least == float("inf"):
        with pytest.raises(DoesNotFit):
            choose(services, OFFERS)
        return
    found = choose(services, OFFERS)
    assert found.dollars == pytest.approx(least)
    assert found.proven
    assert found.bound <= found.dollars
    assert illegal(services, OFFERS, found) == []


@settings(max_examples=40, deadline=None)
@given(fleets(), st.sampled_from(["big", "small", "a30", "pair"]))
def test_more_nodes_allowed_never_cost_more(services, name):
    assume(cheapest(services, OFFERS) < float("inf"))
    more = [replace(o, limit=o.limit + (o.name == name)) for o in OFFERS]
    assert choose(services, more).dollars <= choose(services, OFFERS).dollars + 1e-9


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_one_service_less_never_costs_more(services):
    assume(cheapest(services, OFFERS) < float("inf"))
    rest = choose(services[1:], OFFERS).dollars
    assert rest <= choose(services, OFFERS).dollars + 1e-9


def test_no_services_cost_nothing():
    found = choose((), OFFERS)
    assert (found.dollars, found.bound, found.gpus) == (0.0, 0.0, ())


def test_services_are_cheaper_together_than_each_for_itself():
    one = service("one", whole("small"), sliced("3g.40gb", 1))
    services = [replace(one, name=f"s{i}") for i in range(16)]
    large = replace(BIG, price=10.0)
    assert choose([one], [large, SMALL]).choice == {"one": "small-x1-1"}
    together = choose(services, [large, SMALL])
    assert together.dollars < 16 * 1.5
    assert "big-3g.40gb-1" in together.choice.values()


def test_strict_services_of_two_tenants_are_on_different_accelerators():
    services = [service(n, sliced("1g.10gb", 2), strict=True) for n in ("clinic", "bank")]
    found = choose(services, [BIG])
    assert found.used == 2
    assert illegal(services, [BIG], found) == []


def test_strict_services_that_ask_for_mig_are_on_one_accelerator():
    services = [
        service(n, sliced("1g.10gb", 2), strict=True, sharing="mig") for n in ("clinic", "bank")
    ]
    assert choose(services, [BIG]).used == 1


def test_a_strict_tenant_shares_with_itself():
    services = [
        service("a", sliced("1g.10gb", 2), strict=True, tenant="clinic"),
        service("b", sliced("1g.10gb", 2), tenant="clinic"),
        service("c", sliced("1g.10gb", 2), tenant="bank"),
    ]
    found = choose(services, [BIG])
    assert found.used == 2
    assert illegal(services, [BIG], found) == []


def test_a_tenants_other_services_fill_up_its_own_accelerator_or_the_open_one():
    services = [
        service("a", sliced("1g.10gb", 4), strict=True, tenant="clinic"),
        service("b", sliced("1g.10gb", 6), tenant="clinic"),
        service("c", sliced("1g.10gb", 4), tenant="bank"),
    ]
    single = replace(BIG, per_node=1)
    found = choose(services, [single])
    assert found.used == 2
    assert illegal(services, [single], found) == []


def test_a_service_is_spread_over_two_offers_of_its_accelerator():
    spot = replace(BIG, name="spot", price=5.0, limit=1)
    found = choose([service("chat", whole(replicas=6))], [BIG, spot])
    assert found.nodes == {"big": 1, "spot": 1}
    assert Counter(seat.service for gpu in found.gpus for seat in gpu.seats) == {"chat": 6}


def test_an_alternative_keeps_to_its_offers():
    spot = replace(BIG, name="spot", price=5.0)
    only = replace(whole(), offers=("big",))
    assert choose([service("chat", only)], [BIG, spot]).nodes == {"big": 1}


def test_a_leaner_way_does_not_replace_one_that_may_use_other_offers():
    spot = replace(BIG, name="spot", price=5.0)
    lean = replace(sliced("1g.10gb", 1), offers=("big",))
    assert choose([service("chat", lean, whole())], [BIG, spot]).nodes == {"spot": 1}


def test_a_leaner_way_does_not_replace_one_whose_room_it_does_not_always_fit():
    small = Profile(name="small", compute=1, memory=1, starts=(0, 1, 2, 3), most=4)
    wide = Profile(name="wide", compute=4, memory=4, starts=(0, 4), most=2)
    every = Profile(name="every", compute=8, memory=8, starts=(0,), most=1)
    offer = replace(BIG, per_node=1, geometry=geometry_of("odd", [small, wide, every]))
    services = [
        service("fixed", sliced("wide", 1)),
        service("either", sliced("wide", 1), sliced("small", 4)),
        service("left", sliced("small", 4)),
    ]
    found = choose(services[:2], [offer])
    assert found.nodes == {"big": 1}
    assert choose(services, [offer]).nodes == {"big": 2}
    assert choose(services[1:], [offer]).nodes == {"big": 1}


def test_sizes_that_do_not_divide_each_other_are_packed_whole():
    three = [service(f"s{i}", whole(devices=3)) for i in range(2)]
    two = [service(f"t{i}", whole(devices=2)) for i in range(2)]
    found = choose([*three, *two], [replace(BIG, per_node=5)])
    assert found.nodes == {"big": 2}
    assert illegal([*three, *two], [replace(BIG, per_node=5)], found) == []


def test_a_fixed_layout_is_kept_on_every_accelerator():
    offer = replace(BIG, layout=("4g.40gb", "3g.40gb"), sharing=frozenset({"mig"}))
    found = choose([service("chat", sliced("3g.40gb", 5))], [offer])
    assert found.nodes == {"big": 2}
    assert all(
        sorted(instance.profile for instance in gpu.layout) == ["3g.40gb", "4g.40gb"]
        for gpu in found.gpus
    )


def test_single_strategy_has_one_profile_per_node():
    offer = replace(BIG, single=True, sharing=frozenset({"mig"}))
    services = [service("a", sliced("1g.10gb", 3)), service("b", sliced("2g.20gb", 2))]
    found = choose(services, [offer])
    assert found.nodes == {"big": 2}
    for node in range(2):
        profiles = {i.profile for g in found.gpus if g.node == node for i in g.layout}
        assert len(profiles) == 1
    assert illegal(services, [offer], found) == []


def test_single_strategy_keeps_strict_tenants_apart():
    offer = replace(BIG, single=True, sharing=frozenset({"mig"}))
    services = [
        service("a", sliced("1g.10gb", 1), strict=True),
        service("b", sliced("1g.10gb", 1)),
    ]
    found = choose(services, [offer])
    assert (found.nodes, found.used) == ({"big": 1}, 2)
    assert illegal(services, [offer], found) == []


def test_single_strategy_pays_for_every_node_that_strict_tenants_take():
    offer = replace(BIG, single=True, sharing=frozenset({"mig"}))
    services = [service(f"s{i}", sliced("1g.10gb", 1), strict=True) for i in range(5)]
    services.append(service("open", sliced("1g.10gb", 1)))
    found = choose(services, [offer])
    assert (found.nodes, found.proven) == ({"big": 2}, True)
    assert illegal(services, [offer], found) == []


def test_mps_gives_equal_parts():
    offer = replace(SMALL, sharing=frozenset({"mps"}), memory=24 * GIB)
    large = turns(0.5, 12, 1, sharing="mps")
    little = turns(0.25, 6, 2, sharing="mps")
    services = [service("a", large), service("b", little)]
    found = choose(services, [offer])
    assert found.nodes == {"small": 2}
    assert illegal(services, [offer], found) == []


def test_dra_claims_are_packed_by_what_they_take():
    offer = replace(SMALL, per_node=4, sharing=frozenset({"dra", "none"}))
    services = [
        service("a", turns(0.5, 12, 1, sharing="dra")),
        service("b", turns(0.25, 4, 2, sharing="dra")),
        service("c", whole("small", devices=3)),
    ]
    found = choose(services, [offer])
    assert found.nodes == {"small": 1}
    assert illegal(services, [offer], found) == []


def test_turns_that_fit_in_sum_but_not_one_by_one_are_cut_off():
    """Five of 0.4 are 2.0 in sum, and take 3 accelerators all the same."""
    found = choose([service("a", turns(0.4, 1, 5))], [SMALL])
    assert found.nodes == {"small": 3}
    assert found.proven


def test_too_few_nodes_says_how_many_are_missing():
    with pytest.raises(DoesNotFit, match="at least 2 more nodes") as caught:
        choose([service("a", whole(devices=4, replicas=8))], [BIG])
    assert "2 more of `big`" in str(caught.value.hint)


def test_a_service_with_no_legal_way_has_every_reason():
    with pytest.raises(DoesNotFit) as caught:
        choose([service("a", turns(0.2, 1, 1), strict=True)], [SMALL])
    assert caught.value.code == "share.strict-turns"
    assert caught.value.where == "a"
    with pytest.raises(DoesNotFit) as caught:
        choose([service("a", whole("unknown"))], [SMALL])
    assert caught.value.code == "share.no-offer"


def test_names_that_come_twice_are_refused():
    one = service("a", whole())
    with pytest.raises(InputError, match="two services"):
        choose([one, one], [BIG])
    with pytest.raises(InputError, match="two offers"):
        choose([one], [BIG, BIG])


def test_the_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(MissingExtra, match="highspy") as caught:
        choose([service("a", whole())], [BIG])
    assert caught.value.hint == "pip install 'plimsoll[plan]'"


def test_ten_services_at_15_percent_waste_eight_accelerators():
    offer = replace(SMALL, price=1.0)
    services = [
        service(f"s{i}", turns(0.15, 1, 1), whole("small"), tenant="team") for i in range(10)
    ]
    saved = waste(services, [offer], choose(services, [offer]))
    assert (saved.naive.gpus, saved.packed.gpus, saved.gpus) == (10, 2, 8)
    assert saved.dollars == 8.0
    assert str(saved) == (
        "10 accelerators at $10.00 an hour, each replica on its own; 2 at $2.00 packed"
    )


def test_without_sharing_a_service_runs_on_whole_accelerators():
    services = [service("a", whole(devices=2), sliced("3g.40gb", 1))]
    assert waste(services, [BIG], choose(services, [BIG])).naive.gpus == 2
    services = [service("a", sliced("3g.40gb", 3))]
    assert waste(services, [BIG], choose(services, [BIG])).naive.gpus == 3


@settings(max_examples=30, deadline=None)
@given(fleets())
def test_packing_never_costs_more_than_no_sharing(services):
    services = tuple(
        replace(s, alternatives=(*s.alternatives, replace(whole("big"), id="alone")))
        for s in services
    )
    plenty = [replace(o, limit=100) for o in OFFERS]
    assert waste(services, plenty, choose(services, plenty)).dollars >= -1e-9
