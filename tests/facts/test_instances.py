import datetime as dt

import pytest

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import accelerators
from plimsoll.facts.instances import instance, instances, offers

EVERY = pytest.mark.parametrize(
    "row", instances(), ids=[f"{row.provider}-{row.type}" for row in instances()]
)
BANDS = {"", "<5%", "5-10%", "10-15%", "15-20%", ">20%"}


@EVERY
def test_a_machine_has_a_source_and_a_date_that_has_been(row):
    assert row.source
    assert dt.date(2026, 1, 1) <= row.date <= dt.date(2026, 11, 21)


@EVERY
def test_a_machine_holds_a_known_accelerator(row):
    assert row.accelerator in accelerators()
    assert 0.1 < row.count <= 16
    assert row.count >= 1 or row.count in (0.125, 0.25, 0.5) or row.accelerator == "A10"


@EVERY
def test_the_shape_of_a_machine_is_possible(row):
    assert 2 <= row.vcpus <= 400
    assert 2**30 * row.vcpus <= row.memory <= 5 * 2**40
    assert 0 <= row.local_disk <= 40e12
    assert 0 <= row.network <= 6400


@EVERY
def test_prices_are_positive_and_spot_is_not_dearer(row):
    assert row.on_demand is None or 0.05 < row.on_demand / row.count < 30
    assert row.spot is None or (row.on_demand is not None and 0 < row.spot <= row.on_demand)
    assert bool(row.region) == (row.on_demand is not None)


@EVERY
def test_spot_facts_say_where_they_are_from(row):
    assert row.interruption in BANDS
    assert bool(row.spot_source) == (row.spot is not None or bool(row.interruption))


def test_a_machine_is_there_once():
    keys = [(row.provider, row.type.lower()) for row in instances()]
    assert len(keys) == len(set(keys))
    assert {row.provider for row in instances()} == {"aws", "gcp", "azure"}


def test_case_of_provider_and_type_does_not_matter():
    assert instance("AWS", "P5.48XLarge").accelerator == "H100-80GB-SXM"
    assert instance("azure", "standard_nc40ads_h100_v5").accelerator == "H100-94GB-NVL"


@pytest.mark.parametrize(
    ("provider", "machine", "code"),
    [("aws", "p5.49xlarge", "facts.unknown-instance"), ("ibm", "gx3", "facts.unknown-provider")],
)
def test_an_unknown_machine_is_an_input_error_with_a_hint(provider, machine, code):
    with pytest.raises(InputError) as caught:
        instance(provider, machine)
    assert caught.value.code == code
    assert caught.value.hint


def test_offers_come_cheapest_first_and_without_price_last():
    found = offers("H100")
    assert {row.accelerator for row in found} == {"H100-80GB-SXM"}
    prices = [row.per_accelerator() for row in offers("RTX-PRO-6000")]
    known = [price for price in prices if price is not None]
    assert prices[: len(known)] == sorted(known)
    assert {row.provider for row in offers("l4", "gcp")} == {"gcp"}
    assert offers("RTX-4090") == ()


def test_a_split_accelerator_costs_by_its_share():
    half = instance("aws", "g6f.4xlarge")
    assert (half.count, half.per_accelerator()) == (0.5, pytest.approx(1.9))
    spot = half.per_accelerator(spot=True)
    assert spot is None or spot < 1.9
