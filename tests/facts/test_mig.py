import datetime as dt
import itertools

import pytest

from plimsoll.facts.accelerators import accelerator, accelerators
from plimsoll.facts.mig import mig_profiles, mig_slots

SLICED = [name for name in accelerators() if mig_profiles(name)]
EVERY = pytest.mark.parametrize("name", SLICED)
ROWS = [row for name in SLICED for row in mig_profiles(name)]
EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.accelerator}-{row.name}")


def full_packings(name):
    """Every set of placements side by side that leaves no room, as lists of profiles."""

    def fill(slot):
        if slot >= mig_slots(name):
            yield []
            return
        here = [row for row in mig_profiles(name) if slot in row.starts]
        for row in here:
            for rest in fill(slot + row.memory_slices):
                yield [row, *rest]
        if not here:
            yield from fill(slot + 1)

    return fill(0)


def test_the_accelerators_with_mig_have_their_profiles():
    known = {row.name for row in accelerators().values() if row.mig}
    assert set(SLICED) <= known
    assert known - set(SLICED) == {"B300", "GB300"}  # no listing of them is at hand


@EVERY_ROW
def test_a_profile_has_a_source_and_a_date_that_has_been(row):
    assert row.source
    assert dt.date(2026, 1, 1) <= row.date <= dt.date(2026, 11, 21)


@EVERY_ROW
def test_every_placement_lies_inside_the_slots(row):
    assert row.slots in (4, 8)
    assert list(row.starts) == sorted(set(row.starts))
    assert all(0 <= start <= row.slots - row.memory_slices for start in row.starts)


@EVERY_ROW
def test_as_many_instances_fit_side_by_side_as_are_allowed(row):
    fits, end = 0, 0
    for start in row.starts:
        if start >= end:
            fits, end = fits + 1, start + row.memory_slices
    assert fits == row.most


@EVERY_ROW
def test_compute_slices_are_as_the_name_says(row):
    assert row.name.startswith(f"{row.compute_slices}g.")
    assert row.most * row.compute_slices <= (7 if row.slots == 8 else 4)


@EVERY_ROW
def test_an_instance_has_less_memory_than_its_name_says(row):
    named = int(row.name.split(".")[1].removesuffix("gb"))
    assert 0.8 * named < row.usable / 2**30 < named


@EVERY_ROW
def test_memory_is_not_above_the_share_of_the_slots(row):
    whole = accelerator(row.accelerator)
    assert row.usable <= whole.usable * row.memory_slices / row.slots


@EVERY
def test_the_largest_profile_is_the_whole_accelerator(name):
    last = mig_profiles(name)[-1]
    assert (last.memory_slices, last.starts, last.most) == (mig_slots(name), (0,), 1)


@EVERY
def test_full_packings_never_exceed_the_device(name):
    whole = accelerator(name)
    packings = list(full_packings(name))
    assert len(packings) > 1
    for packing in packings:
        assert sum(row.usable for row in packing) <= whole.usable
        if sum(row.compute_slices for row in packing) <= (7 if mig_slots(name) == 8 else 4):
            assert sum(row.multiprocessors for row in packing) <= whole.multiprocessors


@EVERY
def test_two_halves_take_all_memory_but_not_all_compute(name):
    half = mig_slots(name) // 2
    halves = [row for row in mig_profiles(name) if row.memory_slices == half]
    pairs = [
        (one, two)
        for one, two in itertools.product(halves, halves)
        if 0 in one.starts and half in two.starts
    ]
    assert pairs
    assert all(one.memory_slices + two.memory_slices == mig_slots(name) for one, two in pairs)


def test_an_accelerator_without_mig_has_no_slots():
    assert mig_slots("L4") == 0
    assert mig_profiles("L4") == ()
