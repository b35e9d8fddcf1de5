"""Cuts of accelerators: what is written can be made, and holds what the plan put there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import DoesNotFit, InputError
from plimsoll.facts.accelerators import accelerators
from plimsoll.facts.mig import mig_profiles
from plimsoll.plan.share.geometry import counts, mig_geometry, placed, placements
from plimsoll.plan.types import Accelerators
from plimsoll.worlds.cluster.objects.mig import (
    MIG_LABEL,
    cut_by_cloud,
    mig_config,
    mig_manager_config,
    mig_objects,
    partition,
)
from plimsoll.worlds.cluster.objects.node_labels import node_labels
from tests.worlds.cluster.pools import models, site_of_pools, slices
from tests.worlds.cluster.pools import placed as placement
from tests.worlds.cluster.schemas import problems

WITH_MIG = sorted(name for name in accelerators() if mig_profiles(name))


def pool(layout: dict[str, int] | None = None, **words: Any) -> str:
    """A pool `cut` of machines of one's own, 8 accelerators each."""
    sharing: dict[str, Any] = {"strategy": words.pop("strategy", "mixed")}
    if layout:
        sharing["layout"] = [{"profile": name, "count": n} for name, n in layout.items()]
    body = {
        "name": "cut",
        "accelerator": "H100-80GB-SXM",
        "perNode": 8,
        "nodes": {"max": 2},
        "sharing": {"mig": sharing},
        **words,
    }
    return yaml.safe_dump({"pools": [body]})


def parsed(site: Any) -> dict[str, Any]:
    (manifest,) = mig_objects(site)
    body = yaml.safe_load(manifest["data"]["config.yaml"])
    assert body["version"] == "v1"
    configs: dict[str, Any] = body["mig-configs"]
    return configs


def test_a_fixed_layout_is_cut_on_every_accelerator() -> None:
    site = site_of_pools(pool({"3g.40gb": 1, "4g.40gb": 1}))
    name = mig_config(site.fleet.pools[0], site)
    assert name is not None
    assert parsed(site)[name] == [
        {"devices": "all", "mig-enabled": True, "mig-devices": {"3g.40gb": 1, "4g.40gb": 1}}
    ]


def test_the_default_of_the_operator_is_among_the_configurations() -> None:
    configs = parsed(site_of_pools(pool({"7g.80gb": 1})))
    assert configs["all-disabled"] == [{"devices": "all", "mig-enabled": False}]


def test_the_node_label_names_a_configuration_that_is_there() -> None:
    site = site_of_pools(pool({"1g.10gb": 7}))
    assert node_labels(site.fleet.pools[0], site)[MIG_LABEL] in parsed(site)


def test_the_config_map_is_valid() -> None:
    (manifest,) = mig_objects(site_of_pools(pool({"1g.10gb": 7})))
    assert problems(manifest) == []


def test_a_changed_cut_has_another_name() -> None:
    one, other = (
        mig_config(site.fleet.pools[0], site)
        for site in (site_of_pools(pool({"1g.10gb": 7})), site_of_pools(pool({"1g.10gb": 6})))
    )
    assert one != other


@pytest.mark.parametrize(
    "layout",
    [{"4g.40gb": 2}, {"3g.40gb": 2, "1g.10gb": 1}, {"2g.20gb": 4}, {"7g.80gb": 1, "1g.10gb": 1}],
    ids=str,
)
def test_instances_that_do_not_go_together_are_refused(layout: dict[str, int]) -> None:
    site = site_of_pools(pool(layout))
    with pytest.raises(InputError) as caught:
        partition(site.fleet.pools[0], site)
    assert caught.value.code == "nodes.mig-layout"


def test_a_profile_of_another_accelerator_is_refused() -> None:
    site = site_of_pools(pool({"1g.5gb": 1}))
    with pytest.raises(InputError, match="no MIG profile"):
        partition(site.fleet.pools[0], site)


def test_an_accelerator_without_mig_is_refused() -> None:
    site = site_of_pools(pool({"1g.10gb": 1}, accelerator="L4"))
    with pytest.raises(InputError) as caught:
        partition(site.fleet.pools[0], site)
    assert caught.value.code == "nodes.mig"


def test_single_strategy_refuses_two_profiles() -> None:
    site = site_of_pools(pool({"3g.40gb": 1, "4g.40gb": 1}, strategy="single"))
    with pytest.raises(InputError) as caught:
        partition(site.fleet.pools[0], site)
    assert caught.value.code == "nodes.mig-single"


def test_whole_accelerators_of_the_plan_are_left_whole() -> None:
    whole = Accelerators(name="H100-80GB-SXM", per_node=4, memory=10**9)
    site = site_of_pools(
        models("small", "large") + pool(),
        placement("small", "cut", slices("1g.10gb"), replicas=7, most=7),
        placement("large", "cut", whole),
    )
    made = partition(site.fleet.pools[0], site)
    assert made is not None
    assert sum(len(cut.devices) for cut in made.cuts if not cut.instances) >= 4


def test_more_than_the_nodes_hold_is_refused() -> None:
    site = site_of_pools(
        models("small") + pool(),
        placement("small", "cut", slices("7g.80gb"), replicas=17, most=17),
    )
    with pytest.raises(DoesNotFit):
        partition(site.fleet.pools[0], site)


def test_a_plan_for_the_busiest_minute_falls_back_to_the_average() -> None:
    site = site_of_pools(
        models("small") + pool(),
        placement("small", "cut", slices("7g.80gb"), replicas=16, most=40),
    )
    made = partition(site.fleet.pools[0], site)
    assert made is not None
    assert made.resources == {"7g.80gb": 8}


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_every_legal_layout_is_written_as_it_is_and_can_be_placed(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(WITH_MIG))
    geometry = mig_geometry(name)
    assert geometry is not None
    layout = data.draw(st.sampled_from([one for one in placements(geometry).values() if one]))
    names = [instance.profile for instance in layout]
    site = site_of_pools(
        pool({name: names.count(name) for name in dict.fromkeys(names)}, accelerator=name)
    )
    (config,) = (rows for key, rows in parsed(site).items() if key != "all-disabled")
    for row in config:
        cut = [profile for profile, n in row["mig-devices"].items() for _ in range(n)]
        assert placed(geometry, counts(geometry, cut)) is not None


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_nodes_cut_alike_hold_what_the_plan_put_there(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(WITH_MIG))
    geometry = mig_geometry(name)
    assert geometry is not None
    profiles = [profile.name for profile in geometry.profiles]
    wanted = data.draw(
        st.dictionaries(st.sampled_from(profiles), st.integers(1, 12), min_size=1, max_size=4)
    )
    nodes = data.draw(st.integers(1, 4))
    site = site_of_pools(
        models(*(f"m{index}" for index in range(len(wanted))))
        + pool(accelerator=name, nodes={"max": nodes}),
        *(
            placement(f"m{index}", "cut", slices(profile, name), replicas=count, most=count)
            for index, (profile, count) in enumerate(wanted.items())
        ),
    )
    try:
        made = partition(site.fleet.pools[0], site)
    except DoesNotFit:
        return
    assert made is not None
    for cut in made.cuts:
        names = [profile for profile, n in cut.instances.items() for _ in range(n)]
        assert placed(geometry, counts(geometry, names)) is not None
    assert sorted(device for cut in made.cuts for device in cut.devices) == list(range(8))
    for profile, count in wanted.items():
        assert made.resources[profile] * nodes >= count


@pytest.mark.parametrize(
    ("cloud", "machine", "layout", "profile"),
    [
        ("gcp", "a2-ultragpu-8g", {"1g.10gb": 7}, "1g.10gb"),
        ("gcp", "a2-ultragpu-8g", {"1g.10gb": 6}, ""),
        ("azure", "Standard_ND96amsr_A100_v4", {"3g.40gb": 2}, "3g.40gb"),
        ("azure", "Standard_ND96amsr_A100_v4", {"1g.20gb": 4}, ""),
    ],
)
def test_a_cloud_cuts_only_into_as_many_of_one_profile_as_there_is_room_for(
    cloud: str, machine: str, layout: dict[str, int], profile: str
) -> None:
    site = site_of_pools(
        pool(
            layout,
            strategy="single",
            accelerator="A100-80GB-SXM",
            cloud={"provider": cloud, "instanceType": machine},
        )
    )
    assert cut_by_cloud(site.fleet.pools[0], site) == profile
    assert bool(mig_manager_config(site)) is not bool(profile)


def test_names_of_configurations_are_label_values() -> None:
    site = site_of_pools(pool({"1g.10gb": 7}, name="a" * 50))
    name = mig_config(site.fleet.pools[0], site)
    assert name is not None
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)


def test_a_pool_of_another_fleet_is_cut_there() -> None:
    text = pool({"1g.10gb": 7})
    assert list(mig_objects(site_of_pools(text)))
    offered = site_of_pools(text, offered=frozenset({"cut"}))
    assert list(mig_objects(offered)) == []
    assert mig_manager_config(offered) == ""
