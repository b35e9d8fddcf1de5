"""Pools and rented machines as grounds: what they hold, what they cost, what may be shared."""

from __future__ import annotations

import pytest

from plimsoll.errors import InputError
from plimsoll.fleet import Document, Fleet, load_fleet
from plimsoll.plan.search.grounds import allowed, grounds_of, rented_grounds
from plimsoll.plan.search.types import Ground

HEAD = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\nmetadata: {name: test}\nspec:\n"


def fleet(*pools: str, model: str = "") -> Fleet:
    models = (
        f"  models:\n    - {{name: chat, source: 'hf://Qwen/Qwen3-8B', {model}}}\n" if model else ""
    )
    listed = "".join(f"    - {{{pool}}}\n" for pool in pools)
    return load_fleet([Document(file="test", text=f"{HEAD}{models}  pools:\n{listed}")])


def only(pool: str) -> Ground:
    (ground,) = grounds_of(fleet(pool))
    return ground


P5 = "cloud: {provider: aws, instanceType: p5.48xlarge, region: us-east-1}"


def test_a_rented_pool_takes_count_and_price_from_its_instance_type() -> None:
    ground = only(f"name: p, accelerator: H100-80GB-SXM, {P5}")
    assert ground.per_node == 8
    assert ground.price.dollars is not None
    assert ground.price.source
    assert ground.per_device == pytest.approx(ground.price.dollars / 8)


def test_a_price_in_the_file_wins_over_the_catalogue() -> None:
    ground = only(f"name: p, accelerator: H100-80GB-SXM, {P5}, price: {{onDemand: 12.5}}")
    assert ground.price.dollars == 12.5
    assert ground.price.source == "the fleet file"


def test_mixed_capacity_is_seven_tenths_spot_unless_the_file_says_more() -> None:
    price = "capacity: mixed, price: {onDemand: 10, spot: 4}"
    usual = only(f"name: p, accelerator: L4, {price}").price
    said = only(f"name: p, accelerator: L4, {price}, spotPercent: 50").price
    assert usual.dollars == pytest.approx(0.3 * 10 + 0.7 * 4)
    assert said.dollars == pytest.approx(7.0)


def test_a_machine_of_ones_own_has_no_price_and_says_so() -> None:
    ground = only("name: p, accelerator: RTX-4090, perNode: 2")
    assert ground.per_device is None
    assert ground.price.missing == "no on-demand price is known"


def test_an_instance_type_with_another_accelerator_is_refused() -> None:
    with pytest.raises(InputError, match="has H100-80GB-SXM, not L4") as caught:
        only(f"name: p, accelerator: L4, {P5}")
    assert caught.value.where == "spec.pools[0].accelerator"


def test_an_unknown_instance_type_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        only(
            "name: p, accelerator: H100-80GB-SXM, "
            "cloud: {provider: aws, instanceType: p5.84xlarge, region: us-east-1}"
        )
    assert caught.value.where == "spec.pools[0].cloud.instanceType"
    assert "p5.48xlarge" in str(caught.value.hint)


def test_a_mig_profile_that_the_accelerator_has_not_is_refused() -> None:
    with pytest.raises(InputError, match=r"no MIG profile `3g\.71gb`"):
        only(
            "name: p, accelerator: A100-80GB-SXM, "
            "sharing: {mig: {layout: [{profile: 3g.71gb, count: 1}]}}"
        )


def test_plain_nodes_are_no_ground() -> None:
    assert grounds_of(fleet("name: p, accelerator: none")) == ()


def test_pcie_is_taken_where_the_pool_says_so() -> None:
    fast, slow = (
        only(f"name: p, accelerator: H100-80GB-SXM, interconnect: {kind}")
        for kind in ("nvlink", "pcie")
    )
    assert slow.device.link < fast.device.link
    assert not slow.device.nvlink


def test_rented_grounds_are_the_cheapest_of_each_kind() -> None:
    grounds = rented_grounds(accelerators=["L40S"])
    assert {ground.device.accelerator for ground in grounds} == {"L40S"}
    assert len({ground.per_node for ground in grounds}) == len(grounds)
    assert all(ground.price.dollars for ground in grounds)


def test_a_cloud_can_be_chosen() -> None:
    assert {ground.provider for ground in rented_grounds(providers=["azure"])} == {"azure"}


def test_named_pools_come_in_their_order_and_no_others() -> None:
    made = fleet(
        "name: a, accelerator: L4", "name: b, accelerator: L40S", "name: c, accelerator: T4",
        model="placement: {pools: [c, a]}",
    )  # fmt: skip
    found = allowed(made.models[0], grounds_of(made))
    assert [ground.name for ground in found] == ["c", "a"]


def test_a_model_that_shares_by_mig_gets_instances_of_every_profile() -> None:
    made = fleet(
        "name: a, accelerator: A100-80GB-SXM, sharing: {mig: {}}",
        model="placement: {sharing: mig}",
    )
    found = allowed(made.models[0], grounds_of(made))
    assert {ground.device.profile for ground in found} == {
        "1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb",
    }  # fmt: skip
    assert all(ground.portion <= 1 for ground in found)


def test_who_takes_turns_is_reckoned_at_an_equal_share_of_everything() -> None:
    made = fleet(
        "name: a, accelerator: L40S, sharing: {timeSlicing: {replicas: 4}}",
        model="placement: {sharing: timeSlicing}",
    )
    (found,) = allowed(made.models[0], grounds_of(made))
    whole = grounds_of(made)[0].device
    assert found.portion == 0.25
    assert found.device.memory == whole.memory // 4
    assert found.device.bandwidth == whole.bandwidth / 4
    assert found.device.link == 0
