"""MIG profiles of every accelerator that has them: where instances may begin, and what one gets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache

import msgspec

from plimsoll.facts.table import sparse_csv_rows


class MigProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of MIG instance of one accelerator, without the media variants (`+me`).

    accelerator      its name in the catalogue
    name             `3g.40gb`
    compute_slices   compute slices that it takes
    memory_slices    slots that it takes, side by side
    starts           slots at which it may begin, ascending
    most             instances of it on one accelerator
    multiprocessors  streaming multiprocessors of one instance
    usable           bytes of one instance, as the driver lists them
    slots            slots of the accelerator: 8, or 4
    source           where it is written
    date             when it was read
    """

    accelerator: str
    name: str
    compute_slices: int
    memory_slices: int
    starts: tuple[int, ...]
    most: int
    multiprocessors: int
    usable: int
    slots: int
    source: str
    date: dt.date


def mig_profiles(accelerator: str) -> tuple[MigProfile, ...]:
    """The MIG profiles of an accelerator, smallest first, by its name in the catalogue.

    Empty where it has no MIG, or no listing of its profiles is known.
    """
    return _by_accelerator().get(accelerator, ())


def mig_slots(accelerator: str) -> int:
    """Slots of an accelerator that MIG instances share: 8, 4, or 0 where it has no profiles."""
    profiles = mig_profiles(accelerator)
    return profiles[0].slots if profiles else 0


@cache
def _by_accelerator() -> Mapping[str, tuple[MigProfile, ...]]:
    found: dict[str, list[MigProfile]] = {}
    for row in sparse_csv_rows("mig_profiles.csv", MigProfile, lists=("starts",)):
        found.setdefault(row.accelerator, []).append(row)
    return {name: tuple(rows) for name, rows in found.items()}
