"""What a plan hands to a world: devices, memory shares, and sizes of what runs on processors."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.cli.cluster_plan import ClusterPlan, plan_for_cluster
from plimsoll.cli.files import read_fleet
from plimsoll.errors import InputError

EXAMPLES = Path(__file__).parents[2] / "examples"


def planned(path: str) -> ClusterPlan:
    return plan_for_cluster(read_fleet((str(EXAMPLES / path),)))


def test_every_model_has_a_placement_in_the_fleets_order() -> None:
    loaded = read_fleet((str(EXAMPLES / "production.yaml"),))
    plan = plan_for_cluster(loaded).plan
    assert [p.model for p in plan.placements] == [m.name for m in loaded.fleet.models]


def test_a_replica_larger_than_a_node_is_spread_over_whole_nodes() -> None:
    place = planned("plans/405b-over-two-nodes.yaml").plan.placement("llama-405b")
    assert place.devices is not None
    assert (place.devices.nodes, place.devices.per_node) == (2, 8)
    assert place.split.tensor == place.devices.per_node


def test_a_mig_instance_is_named_and_whole_to_its_engine() -> None:
    place = planned("plans/strict-tenants-on-one-h100.yaml").plan.placement("bank-chat")
    assert place.devices is not None
    assert (place.devices.sharing, place.devices.profile) == ("mig", "1g.20gb")
    assert place.cache_bytes == 0  # its memory is its own


@pytest.mark.parametrize("model", ["turn-a", "served"])
def test_who_takes_turns_takes_only_its_part_of_the_whole_memory(model: str) -> None:
    place = planned("cluster/turns.yaml").plan.placement(model)
    assert place.devices is not None
    assert 0 < place.utilization <= place.devices.portion
    assert 0 < place.cache_bytes < place.devices.memory


def test_a_model_on_processors_gets_one_nodes_share_for_each_replica() -> None:
    place = planned("cluster/every-engine.yaml").plan.placement("on-llamacpp")
    assert place.devices is None
    assert place.engine == "llamacpp"
    assert place.threads >= 2
    assert place.pool == "plain"


def test_what_a_gguf_file_is_taken_for_is_said_when_its_source_cannot_be_read() -> None:
    notes = planned("cluster/every-engine.yaml").notes
    assert any("sized as Qwen/Qwen3-8B in q4_k_m" in note for note in notes)
    assert not any("not planned here" in note for note in notes)


def test_a_gguf_file_that_nobody_knows_asks_for_a_base_model(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\nmetadata: {name: x}\nspec:\n  models:\n"
        "    - {name: odd, source: 'hf://nobody/knows-this-GGUF/odd.gguf'}\n"
    )
    with pytest.raises(InputError, match="catalogue does not know it") as caught:
        plan_for_cluster(read_fleet((str(file),)))
    assert "baseModel" in (caught.value.hint or "")


def test_a_placement_says_what_its_cache_holds_and_how_fast_it_reads() -> None:
    place = planned("plans/405b-over-two-nodes.yaml").plan.placement("llama-405b")
    assert place.parallel * place.context < place.kv_tokens < 10 * place.parallel * place.context
    assert 1_000 < place.prefill_rate < 100_000
