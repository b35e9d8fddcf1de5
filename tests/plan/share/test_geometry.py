"""Every legal state of every accelerator with MIG, and no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.mig import mig_profiles, mig_slots
from plimsoll.plan.share.geometry import (
    Instance,
    Profile,
    additions,
    counts,
    fault,
    full,
    geometry_of,
    layouts,
    mig_geometry,
    patterns,
    placed,
    placements,
)
from tests.plan.share.brute import A30, H100, every_subset, overlap_free, realisable

ACCELERATORS = (
    "A100-40GB-SXM", "A100-80GB-SXM", "A30", "B200", "GB200", "GH200", "H100-80GB-SXM",
    "H100-94GB-NVL", "H200-SXM", "RTX-PRO-6000",
)  # fmt: skip
MEDIA = geometry_of(
    "with a media profile",
    [*H100.profiles, Profile(name="1g.10gb+me", compute=1, memory=1, starts=(0, 1, 2), most=1)],
)


def pairs(layout):
    return tuple((instance.profile, instance.start) for instance in layout)


@pytest.mark.parametrize("name", ACCELERATORS)
def test_every_enumerated_state_is_legal(name):
    geometry = mig_geometry(name)
    for layout in layouts(geometry):
        assert overlap_free(geometry, pairs(layout)), layout
        assert fault(geometry, layout) == ""


@pytest.mark.parametrize("geometry", [H100, A30], ids=["8 slots", "4 slots"])
def test_no_legal_state_is_left_out_and_each_fault_is_named(geometry):
    known = {frozenset(pairs(layout)) for layout in layouts(geometry)}
    for subset in every_subset(geometry):
        legal = overlap_free(geometry, subset)
        assert (frozenset(subset) in known) == legal
        layout = tuple(Instance(start=start, profile=name) for name, start in subset)
        assert (fault(geometry, layout) == "") == legal


def test_compute_slices_are_limited_too():
    """On the catalogue's accelerators memory slices run out first; here compute slices do."""
    small = Profile(name="small", compute=2, memory=2, starts=(0, 2, 4, 6), most=4)
    whole = Profile(name="whole", compute=5, memory=8, starts=(0,), most=1)
    geometry = geometry_of("narrow", [small, whole])
    known = {frozenset(pairs(layout)) for layout in layouts(geometry)}
    for subset in every_subset(geometry):
        assert (frozenset(subset) in known) == overlap_free(geometry, subset)
    assert max(len(layout) for layout in layouts(geometry)) == 2


def test_states_are_enumerated_once():
    assert len(set(layouts(H100))) == len(layouts(H100)) == 723
    assert len(set(layouts(A30))) == len(layouts(A30)) == 26


@pytest.mark.parametrize("name", ACCELERATORS)
def test_totals_are_those_of_the_facts(name):
    geometry = mig_geometry(name)
    assert geometry.memory == mig_slots(name)
    assert geometry.compute == max(row.compute_slices for row in mig_profiles(name))


def test_an_accelerator_without_mig_has_no_geometry():
    assert mig_geometry("L4") is None


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        (["4g.40gb", "3g.40gb"], True),
        (["3g.40gb", "3g.40gb"], True),
        (["3g.40gb", "3g.40gb", "1g.10gb"], False),
        (["2g.20gb", "2g.20gb", "2g.20gb", "1g.10gb"], True),
        (["2g.20gb", "2g.20gb", "2g.20gb", "1g.10gb", "1g.10gb"], False),
        (["4g.40gb", "4g.40gb"], False),
        (["1g.10gb"] * 7, True),
        (["1g.10gb"] * 8, False),
        (["7g.80gb", "1g.10gb"], False),
    ],
)
def test_known_combinations(names, fits):
    assert (placed(H100, counts(H100, names)) is not None) == fits


def test_a_small_instance_leaves_the_starts_of_large_ones_free():
    assert placed(H100, counts(H100, ["1g.10gb"])) == (Instance(start=6, profile="1g.10gb"),)
    free = additions(H100, placed(H100, counts(H100, ["2g.20gb", "1g.10gb"])))
    assert Instance(start=0, profile="4g.40gb") in free


def test_at_most_one_media_instance():
    assert placed(MEDIA, counts(MEDIA, ["1g.10gb+me"] * 2)) is None
    assert all(
        sum(instance.profile == "1g.10gb+me" for instance in layout) <= 1
        for layout in layouts(MEDIA)
    )


@pytest.mark.parametrize("geometry", [H100, A30], ids=["8 slots", "4 slots"])
def test_realisable_multisets_are_exactly_those_of_the_legal_states(geometry):
    assert set(placements(geometry)) == realisable(geometry)
    for key, layout in placements(geometry).items():
        assert counts(geometry, [instance.profile for instance in layout]) == key


@pytest.mark.parametrize("geometry", [H100, A30, MEDIA], ids=["8 slots", "4 slots", "media"])
def test_every_realisable_multiset_is_within_a_pattern(geometry):
    for key in placements(geometry):
        assert any(
            all(a <= b for a, b in zip(key, pattern, strict=True)) for pattern in patterns(geometry)
        )
    assert set(patterns(geometry)) <= set(placements(geometry))


@given(st.sampled_from(layouts(MEDIA)))
def test_additions_are_exactly_what_stays_legal(layout):
    every = {
        Instance(start=start, profile=profile.name)
        for profile in MEDIA.profiles
        for start in profile.starts
    }
    legal = {i for i in every if overlap_free(MEDIA, pairs((*layout, i)))}
    assert set(additions(MEDIA, layout)) == legal


def test_full_layouts_take_nothing_more():
    assert all(not additions(H100, layout) for layout in full(H100))
    assert len(full(H100)) == 78


def test_an_unknown_profile_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="no MIG profile") as caught:
        H100.profile("3g.45gb")
    assert caught.value.code == "share.profile-unknown"
