"""Properties of the search: what must never get cheaper, smaller or looser."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.fleet import Document, Fleet, Model, load_fleet
from plimsoll.plan.cost import NodePrice
from plimsoll.plan.search import FleetPlan, Ground, NothingFits, plan_fleet, search
from plimsoll.plan.search.alone import alone, nodes_for
from plimsoll.plan.search.cheaper import cheaper

MODELS = ("Qwen/Qwen3-8B", "meta-llama/Llama-3.1-70B-Instruct", "openai/gpt-oss-20b")
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ground(
    name: str = "H100-80GB-SXM", *, dollars: float = 32.0, per_node: int = 8, nodes: int = 50
) -> Ground:
    return Ground(
        name=name.lower(),
        device=replace(device(name), per_node=per_node),
        per_node=per_node,
        most_nodes=nodes,
        price=NodePrice(dollars=dollars, on_demand=dollars, spot_share=0.0),
    )


def model(
    name: str = MODELS[0],
    *,
    rate: float = 3.0,
    tpot: str = "60ms",
    ttft: str = "2s",
    extra: str = "",
) -> Model:
    return fleet_of(name, rate=rate, tpot=tpot, ttft=ttft, extra=extra).models[0]


def fleet_of(
    *names: str, rate: float = 3.0, tpot: str = "60ms", ttft: str = "2s", extra: str = ""
) -> Fleet:
    models = "".join(
        f"""
    - name: model-{index}
      source: hf://{name}
      context: 4096
      traffic: {{requestsPerSecond: {rate}, promptTokens: 900, outputTokens: 200}}
      objectives: {{ttft: {ttft}, tpot: {tpot}}}
      scaling: {{max: 500}}
      {extra}"""
        for index, name in enumerate(names)
    )
    text = (
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\nmetadata: {name: test}\n"
        f"spec:\n  models:{models}\n"
    )
    return load_fleet([Document(file="test", text=text)])


def planned(fleet: Fleet, *grounds: Ground) -> FleetPlan:
    networks = {one.name: network(one.source.repository) for one in fleet.models}
    return plan_fleet(fleet, networks, grounds)


def dollars(wanted: Model, name: str, *grounds: Ground) -> float:
    """The cheapest candidate's price; without bound where there is none."""
    try:
        found = search(wanted, network(name), grounds)
    except NothingFits:
        return float("inf")
    assert found.candidates[0].dollars is not None
    return found.candidates[0].dollars


@FEW
@given(name=st.sampled_from(MODELS), tpot=st.integers(8, 120), factor=st.floats(1.1, 4))
def test_a_tighter_objective_never_costs_less(name: str, tpot: int, factor: float) -> None:
    tight = dollars(model(name, tpot=f"{tpot}ms"), name, ground())
    loose = dollars(model(name, tpot=f"{round(tpot * factor)}ms"), name, ground())
    assert loose <= tight


@FEW
@given(name=st.sampled_from(MODELS), ttft=st.integers(100, 5000), factor=st.floats(1.1, 4))
def test_a_shorter_first_token_never_costs_less(name: str, ttft: int, factor: float) -> None:
    tight = dollars(model(name, ttft=f"{ttft}ms"), name, ground())
    loose = dollars(model(name, ttft=f"{round(ttft * factor)}ms"), name, ground())
    assert loose <= tight


@FEW
@given(name=st.sampled_from(MODELS), rate=st.floats(0.5, 40), factor=st.floats(1.1, 4))
def test_more_traffic_never_costs_less(name: str, rate: float, factor: float) -> None:
    few = dollars(model(name, rate=rate), name, ground())
    many = dollars(model(name, rate=rate * factor), name, ground())
    assert few <= many


@FEW
@given(name=st.sampled_from(MODELS), factor=st.floats(1.05, 3))
def test_more_memory_never_needs_more_accelerators(name: str, factor: float) -> None:
    here = ground()
    larger = msgspec.structs.replace(
        here, device=replace(here.device, memory=int(here.device.memory * factor))
    )
    wanted = model(name)
    fewest = [
        min(c.devices * c.replicas for c in search(wanted, network(name), [one]).candidates)
        for one in (here, larger)
    ]
    assert fewest[1] <= fewest[0]


@FEW
@given(name=st.sampled_from(MODELS), cheap=st.floats(5, 60))
def test_another_pool_never_makes_it_dearer(name: str, cheap: float) -> None:
    one = ground()
    other = ground("A100-80GB-SXM", dollars=cheap)
    assert dollars(model(name), name, one, other) <= dollars(model(name), name, one)


def test_the_named_alternatives_are_what_they_say() -> None:
    plan = planned(fleet_of(MODELS[0]), ground(), ground("L40S", dollars=12.0))
    choice = plan.choices[0]
    for candidate in choice.found.candidates:
        assert choice.cheapest.dollars is not None
        assert candidate.dollars is not None
        assert choice.cheapest.dollars <= candidate.dollars
        assert choice.fastest.tpot is not None
        assert candidate.tpot is not None
        assert choice.fastest.tpot.value <= candidate.tpot.value


def test_models_share_the_nodes_that_are_paid_anyway() -> None:
    both = planned(fleet_of(MODELS[0], MODELS[2], rate=0.5), ground())
    assert both.dollars == 32.0
    assert both.proven


def test_one_model_is_placed_as_the_solver_would() -> None:
    wanted = fleet_of(MODELS[1], rate=6.0)
    single = planned(wanted, ground(), ground("A100-80GB-SXM", dollars=20.0))
    twice = planned(
        fleet_of(MODELS[1], MODELS[1], rate=6.0), ground(), ground("A100-80GB-SXM", dollars=20.0)
    )
    assert single.dollars is not None
    assert twice.dollars is not None
    assert single.dollars <= twice.dollars <= 2 * single.dollars


def test_whole_nodes_are_counted_for_a_model_of_its_own() -> None:
    found = search(model(), network(MODELS[0]), [ground(per_node=2)])
    chosen, assignment = alone("one", found.candidates, [10.0] * len(found.candidates))
    assert assignment.dollars == 10.0 * nodes_for(chosen)
    assert sum(bool(gpu.seats) for gpu in assignment.gpus) == chosen.devices * chosen.replicas


def test_a_pool_without_the_wanted_sharing_is_not_used() -> None:
    wanted = model(extra="placement: {sharing: mig}")
    with pytest.raises(NothingFits) as caught:
        search(wanted, network(MODELS[0]), [ground()])
    assert caught.value.code == "does-not-fit.rules"


def test_what_the_file_says_is_never_changed() -> None:
    wanted = model(extra="parallelism: {tensor: 2}\n      concurrency: 24\n      batchTokens: 4096")
    for candidate in search(wanted, network(MODELS[0]), [ground()]).candidates:
        assert candidate.deployment.split.tensor == 2
        assert candidate.deployment.sequences == 24
        assert candidate.deployment.batch_tokens == 4096


def test_too_few_replicas_in_the_file_is_said() -> None:
    fleet = fleet_of(MODELS[1], rate=40.0)
    small = msgspec.structs.replace(
        fleet.models[0], scaling=msgspec.structs.replace(fleet.models[0].scaling, max=1)
    )
    plan = planned(msgspec.structs.replace(fleet, models=(small,)), ground())
    assert any("`scaling.max` is 1" in note for note in plan.notes)


def test_what_is_cheaper_costs_less_and_says_what_it_gives_up() -> None:
    fleet = fleet_of(MODELS[1], rate=6.0, tpot="15ms")
    grounds = [
        msgspec.structs.replace(ground(), spot=9.0),
        ground("A100-80GB-SXM", dollars=20.0),
    ]
    choice = planned(fleet, *grounds).choices[0]
    found = cheaper(choice, fleet.models[0], grounds)
    assert 1 <= len(found) <= 3
    assert choice.chosen.dollars is not None
    for one in found:
        assert one.dollars < choice.chosen.dollars
        assert one.gives_up
    kinds = [one.gives_up.split(":")[0] for one in found]
    assert len(set(kinds)) == len(kinds)


def test_stages_are_added_only_where_memory_asks_for_them() -> None:
    small = search(model(), network(MODELS[0]), [ground(per_node=1)])
    assert {c.deployment.split.pipeline for c in small.candidates} == {1}
    wanted = model("meta-llama/Llama-3.1-405B", rate=0.2, tpot="200ms", extra="quantization: none")
    large = search(wanted, network("meta-llama/Llama-3.1-405B"), [ground("A100-80GB-SXM")])
    assert {c.deployment.split.pipeline for c in large.candidates} == {2}


def test_a_model_alone_pays_whole_nodes() -> None:
    found = search(model(rate=0.5), network(MODELS[0]), [ground()], alone=True)
    assert {candidate.dollars for candidate in found.candidates} == {32.0}


def test_a_context_beyond_the_model_or_below_its_traffic_is_refused() -> None:
    long = msgspec.structs.replace(model(), context=10_000_000)
    with pytest.raises(InputError, match="was trained for"):
        search(long, network(MODELS[0]), [ground()])
    short = msgspec.structs.replace(model(), context=1000)
    with pytest.raises(InputError, match="do not fit a context of 1,000"):
        search(short, network(MODELS[0]), [ground()])
