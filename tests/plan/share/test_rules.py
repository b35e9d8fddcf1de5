"""Every illegal mix is refused with its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.plan.share.rules import offer_refusals, refusals
from plimsoll.plan.share.types import Alternative, Offer, Service
from plimsoll.units import GIB
from tests.plan.share.brute import H100

NODE = Offer(
    name="h100",
    accelerator="H100-80GB-SXM",
    price=20.0,
    per_node=8,
    limit=4,
    sharing=frozenset({"none", "mig", "timeSlicing"}),
    memory=79 * GIB,
    geometry=H100,
)
WHOLE = Alternative(id="whole", accelerator="H100-80GB-SXM")
SLICE = replace(WHOLE, id="slice", sharing="mig", profile="1g.10gb")
TURN = replace(WHOLE, id="turn", sharing="timeSlicing", share=0.25, memory=10 * GIB)
SERVICE = Service(name="chat", alternatives=(WHOLE, SLICE, TURN), tenant="clinic")
STRICT = replace(SERVICE, strict=True)


def codes(alternative, *, service=SERVICE, offer=NODE):
    found = refusals(service, alternative, offer)
    assert all(refusal.reason and refusal.hint for refusal in found)
    return {refusal.code for refusal in found}


@pytest.mark.parametrize("alternative", [WHOLE, SLICE, TURN])
def test_what_is_legal_is_not_refused(alternative):
    assert codes(alternative) == set()


@pytest.mark.parametrize("sharing", ["timeSlicing", "mps", "dra"])
def test_strict_tenants_never_take_turns(sharing):
    offer = replace(NODE, sharing=frozenset({"none", sharing}))
    way = replace(TURN, sharing=sharing)
    assert codes(way, service=STRICT, offer=offer) == {"share.strict-turns"}
    assert codes(way, offer=offer) == set()


def test_strict_tenants_may_have_whole_accelerators_and_instances():
    assert codes(WHOLE, service=STRICT) == codes(SLICE, service=STRICT) == set()


def test_mps_never_with_mig():
    assert "share.mps-with-mig" in codes(replace(SLICE, sharing="mps"))
    both = replace(NODE, sharing=frozenset({"mig", "mps"}))
    assert [r.code for r in offer_refusals(both)] == ["share.mps-with-mig"]


def test_time_slicing_and_mps_are_one_of_the_two():
    both = replace(NODE, sharing=frozenset({"timeSlicing", "mps"}))
    assert [r.code for r in offer_refusals(both)] == ["share.two-by-node"]


def test_dra_and_the_device_plugin_do_not_share_nodes():
    both = replace(NODE, sharing=frozenset({"dra", "timeSlicing"}))
    assert [r.code for r in offer_refusals(both)] == ["share.dra-with-plugin"]


@pytest.mark.parametrize("sharing", ["mig", "mps", "dra", "timeSlicing", "none"])
def test_only_what_is_offered(sharing):
    way = {"mig": SLICE, "none": WHOLE}.get(sharing, replace(TURN, sharing=sharing))
    nothing = replace(NODE, sharing=frozenset({"none", "mig"}) - {sharing})
    assert "share.not-offered" in codes(way, offer=nothing)


def test_mig_only_where_the_accelerator_has_it():
    without = replace(NODE, geometry=None)
    assert codes(SLICE, offer=without) == {"share.no-mig"}
    assert [r.code for r in offer_refusals(without)] == ["share.no-mig"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"profile": "1g.5gb"}, "profile-unknown"),
        ({"profile": ""}, "no-profile"),
        ({"sharing": "none"}, "profile-without-mig"),
        ({"sharing": "timeSlicing"}, "turns-in-instance"),
        ({"devices": 2}, "tensor-over-instances"),
        ({"share": 0.5}, "share-without-turns"),
    ],
)
def test_instances(change, code):
    assert f"share.{code}" in codes(replace(SLICE, **change))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"share": 0.0}, "share-out-of-range"),
        ({"share": -0.1}, "share-out-of-range"),
        ({"memory": 0}, "memory-unknown"),
        ({"memory": 80 * GIB}, "memory"),
        ({"devices": 2}, "tensor-over-turns"),
    ],
)
def test_turns(change, code):
    assert f"share.{code}" in codes(replace(TURN, **change))


def test_a_slot_that_the_pool_fixes_must_hold_the_replica():
    assert codes(TURN, offer=replace(NODE, slots=4)) == set()
    assert codes(TURN, offer=replace(NODE, slots=5)) == {"share.slot-too-small"}


def test_a_tensor_parallel_group_lies_inside_one_node():
    wide = replace(WHOLE, devices=16)
    assert codes(wide) == {"share.tensor-over-nodes"}
    assert codes(replace(wide, nodes=2)) == set()
    assert codes(replace(wide, nodes=3)) == {"share.uneven-nodes"}


@pytest.mark.parametrize(
    ("layout", "code"),
    [
        (("4g.40gb", "4g.40gb"), "layout"),
        (("4g.40gb", "5g.1gb"), "profile-unknown"),
        (("4g.40gb", "3g.40gb"), None),
    ],
)
def test_a_fixed_layout_must_be_possible(layout, code):
    offer = replace(NODE, layout=layout, sharing=frozenset({"mig"}))
    assert [r.code for r in offer_refusals(offer)] == ([f"share.{code}"] if code else [])


def test_a_profile_outside_of_the_fixed_layout_is_refused():
    offer = replace(NODE, layout=("4g.40gb", "3g.40gb"), sharing=frozenset({"mig"}))
    assert codes(SLICE, offer=offer) == {"share.profile-not-in-layout"}


def test_single_strategy_means_one_profile():
    offer = replace(NODE, layout=("4g.40gb", "3g.40gb"), single=True, sharing=frozenset({"mig"}))
    assert [r.code for r in offer_refusals(offer)] == ["share.single-mixed"]


def test_a_fixed_layout_leaves_no_whole_accelerator():
    offer = replace(NODE, layout=("1g.10gb",) * 7)
    assert offer_refusals(offer) == ()
    assert codes(WHOLE, offer=offer) == codes(TURN, offer=offer) == {"share.layout-for-all"}
    assert codes(SLICE, offer=offer) == set()


def test_a_fixed_number_of_pods_leaves_no_whole_accelerator():
    assert codes(WHOLE, offer=replace(NODE, slots=4)) == {"share.slots-for-all"}
