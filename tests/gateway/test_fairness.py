"""A tenant that floods gets its share of tokens and no more, and another hardly feels it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from benchmarks.fairness.served import Asking, Crowd, guard, paced
from benchmarks.fairness.simulated import Got, Load, simulate
from tests.gateway.engine import RealEngine, demo
from tests.gateway.stub import CHAT, StubEngine, rig, run

FLOOD = Load(callers=200)


@pytest.mark.parametrize(
    "others",
    [
        Load(callers=40),
        Load(callers=40, answer=(200, 400)),
        Load(callers=200, answer=(1, 10), prompt=(10, 20)),
        Load(callers=40, weight=3),
        Load(callers=60, weight=5, answer=(100, 300)),
    ],
    ids=["alike", "longer", "shorter", "weightier", "weightier-longer"],
)
def test_tenants_that_both_ask_for_more_than_there_is_share_by_weight(others: Load) -> None:
    got = simulate({"flood": FLOOD, "other": others}, replicas=[8, 8], seconds=600)
    prompts = {
        name: 0.5 * sum(load.prompt) * len(got[name].seconds)
        for name, load in (("flood", FLOOD), ("other", others))
    }
    # A token of a prompt is charged as half of one of an answer.
    served = {name: got[name].tokens + prompts[name] / 2 for name in got}
    share = served["other"] / sum(served.values())
    assert share == pytest.approx(others.weight / (1 + others.weight), rel=0.1)


@pytest.mark.parametrize("weight", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_tenant_within_its_share_hardly_feels_that_another_floods(weight: int, seed: int) -> None:
    share = weight / (1 + weight)
    slots = 16
    # Six tenths of what its share of the slots can do.
    rate = 0.6 * share * slots / ((125 / 4000) + (70 / 50))
    calm = Load(rate=rate, weight=weight)
    alone = simulate({"calm": calm}, replicas=[int(slots * share)], seconds=4000, seed=seed)
    both = simulate({"calm": calm, "flood": FLOOD}, replicas=[slots], seconds=4000, seed=seed)
    assert both["calm"].p(99) <= 1.3 * alone["calm"].p(99)
    # And nothing lies idle: the flood has all that is left.
    assert both["flood"].tokens > 0.9 * (slots * 50 * 3600 * 0.95 - both["calm"].tokens)


def test_a_tenant_that_was_idle_has_not_saved_up_a_share() -> None:
    """It comes late, floods too, and gets half from then on, not all."""
    early = simulate({"flood": FLOOD}, replicas=[8], seconds=600)["flood"].tokens
    both = simulate({"flood": FLOOD, "late": Load(callers=100)}, replicas=[8], seconds=600)
    assert both["flood"].tokens == pytest.approx(early / 2, rel=0.1)


def share(got: Mapping[str, Got]) -> float:
    """The first tenant's part of all tokens."""
    first = next(iter(got.values()))
    return first.tokens / sum(each.tokens for each in got.values())


@pytest.mark.parametrize(
    "tenants",
    [
        {"calm": Asking(callers=16), "flood": Asking(callers=60)},
        {"calm": Asking(callers=16, weight=3), "flood": Asking(callers=60)},
        {"calm": Asking(callers=16, stream=False), "flood": Asking(callers=60)},
        {"calm": Asking(callers=16), "flood": Asking(callers=60, stream=False)},
    ],
    ids=["alike", "weightier", "whole-beside-streamed", "streamed-beside-whole"],
)
def test_tenants_with_keys_share_an_engine_by_weight(tenants: dict[str, Asking]) -> None:
    async def main() -> None:
        async with rig(StubEngine(handler=paced), capacity=8, access=guard(tenants)) as the:
            got = await Crowd(the, CHAT.name, tenants).run(5.0)
            weight = tenants["calm"].weight
            assert share(got) == pytest.approx(weight / (1 + weight), rel=0.1)

    run(main)


@pytest.mark.slow
def test_tenants_with_keys_share_a_real_engine_by_weight() -> None:
    tenants = {"calm": Asking(callers=12, weight=3), "flood": Asking(callers=30)}

    async def main() -> None:
        with RealEngine() as engine:
            async with rig(served=demo(), access=guard(tenants)) as the:
                the.board.update("demo", (engine.upstream(),))
                got = await Crowd(the, "demo", tenants).run(12.0)
                assert share(got) == pytest.approx(0.75, rel=0.1)

    run(main, seconds=60)
