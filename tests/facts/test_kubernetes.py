from __future__ import annotations

import datetime as dt

import pytest

from plimsoll.facts.accelerators import accelerators
from plimsoll.facts.cold_start import cold_start_facts
from plimsoll.facts.kubernetes import (
    device_resources,
    figure,
    kubernetes_features,
    kubernetes_figures,
    spots,
)

EVERY_ROW = [
    *kubernetes_figures().values(),
    *kubernetes_features().values(),
    *spots().values(),
    *device_resources().values(),
]


@pytest.mark.parametrize(
    "row", EVERY_ROW, ids=lambda row: f"{type(row).__name__}-{row.source[:20]}"
)
def test_every_fact_has_a_source_and_a_date(row):
    assert row.source
    assert dt.date(2026, 1, 1) <= row.date <= dt.date(2027, 12, 31)


def test_every_maker_of_an_accelerator_has_a_resource():
    assert {row.vendor for row in accelerators().values()} <= set(device_resources())


def test_pods_get_no_more_than_the_whole_notice():
    for spot in spots().values():
        assert 0 < spot.for_pods <= spot.notice
        assert spot.label
        assert bool(spot.taint) == bool(spot.taint_value)


def test_a_start_is_given_longer_than_the_slowest_that_was_seen():
    seen = cold_start_facts()["engine"]
    assert figure("startup_factor") * seen.typical >= seen.high
    assert 0 < figure("label_margin") < 1
    assert figure("weight_margin") > 1
