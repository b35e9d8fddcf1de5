"""Pools as node groups of a cloud: names, bounds, machines, and what is left out."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.clouds import CloudFact, cloud_facts, known_cloud_fact
from plimsoll.facts.instances import instances
from plimsoll.worlds.cluster.node_commands import node_script
from plimsoll.worlds.cluster.node_commands.groups import group_name, groups
from plimsoll.worlds.cluster.node_commands.shell import quoted
from tests.worlds.cluster.pools import site_of_pools

CLOUDS = ("aws", "gcp", "azure")


@settings(deadline=None, max_examples=200)
@given(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?", fullmatch=True), st.sampled_from(CLOUDS)
)
def test_names_are_such_as_the_cloud_takes(pool: str, cloud: str) -> None:
    shapes = {
        "aws": r"[a-z0-9][a-z0-9-]{0,62}",
        "gcp": r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?",
        "azure": r"[a-z][a-z0-9]{0,11}",
    }
    names = [group_name(pool, kind, cloud) for kind in ("", "spot", "on-demand")]
    assert len(set(names)) == 3
    for name in names:
        assert re.fullmatch(shapes[cloud], name)


@settings(deadline=None, max_examples=100)
@given(
    least=st.integers(0, 50), more=st.integers(0, 50), percent=st.integers(0, 100),
)  # fmt: skip
def test_groups_of_a_pool_add_up_to_its_bounds(least: int, more: int, percent: int) -> None:
    most = max(1, least + more)
    pool = {
        "name": "p", "accelerator": "L4", "capacity": "mixed", "spotPercent": percent,
        "nodes": {"min": least, "max": most},
        "cloud": {"provider": "aws", "instanceType": "g6.xlarge"},
    }  # fmt: skip
    site = site_of_pools(yaml.safe_dump({"pools": [pool]}))
    found = groups(site.fleet.pools[0], "aws")
    assert sum(group.most for group in found) == most
    assert sum(group.fewest for group in found) == least
    assert all(group.fewest <= group.most for group in found)


@pytest.mark.parametrize("value", ["a b", "it's", "$(id)", "`id`", "a,b", '"', "\\", "*", "~"])
def test_no_word_gets_out_of_its_quotes(value: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"printf %s {quoted(value)}"], text=True, capture_output=True, check=True
    )
    assert done.stdout == value


def test_pools_that_others_make_are_told_and_left_out() -> None:
    spec = [
        {
            "name": "a",
            "accelerator": "L4",
            "cloud": {"provider": "aws", "instanceType": "g6.xlarge"},
        },
        {"name": "b", "accelerator": "L4", "provisioner": "none"},
        {"name": "c", "accelerator": "L4", "provisioner": "karpenter"},
        {"name": "d", "accelerator": "L4"},
    ]
    made = node_script(site_of_pools(yaml.safe_dump({"pools": spec})), "gcp")
    assert [part.pool for part in made.parts] == ["d"]
    assert set(made.skipped) == {"a", "b", "c"}
    assert "# Not here: pool a: is in aws." in made.text


def test_a_fleet_without_a_pool_for_the_cloud_is_refused() -> None:
    site = site_of_pools("pools: [{name: a, accelerator: L4, provisioner: none}]")
    with pytest.raises(InputError) as caught:
        node_script(site, "aws")
    assert caught.value.code == "nodes.none"


def test_an_accelerator_that_the_cloud_does_not_rent_is_refused() -> None:
    site = site_of_pools("pools: [{name: a, accelerator: MI300X}]")
    with pytest.raises(InputError) as caught:
        node_script(site, "gcp")
    assert caught.value.code == "nodes.machine"


@pytest.mark.parametrize("row", instances(), ids=lambda row: f"{row.provider}-{row.type}")
def test_every_machine_of_the_catalogue_can_be_made(row: Any) -> None:
    pool = {"name": "p", "accelerator": row.accelerator,
            "cloud": {"provider": row.provider, "instanceType": row.type}}  # fmt: skip
    made = node_script(site_of_pools(yaml.safe_dump({"pools": [pool]})), row.provider)
    assert row.type in made.text


def test_a_pool_that_says_no_number_gets_the_machine_with_the_fewest() -> None:
    text = "pools: [{name: p, accelerator: H100-80GB-SXM, cloud: {provider: aws}}]"
    (group,) = groups(site_of_pools(text).fleet.pools[0], "aws")
    assert {row.count for row in group.machines} == {1}


@pytest.mark.parametrize("fact", cloud_facts().values(), ids=lambda f: f"{f.provider}-{f.name}")
def test_every_fact_about_a_cloud_has_a_value_a_source_and_a_date(fact: CloudFact) -> None:
    assert fact.value
    assert fact.source
    assert fact.date.year >= 2026


def test_gke_has_a_name_for_every_accelerator_that_is_rented_there() -> None:
    rented = {row.accelerator for row in instances() if row.provider == "gcp"}
    assert all(known_cloud_fact("gcp", f"accelerator.{name}") for name in rented)
