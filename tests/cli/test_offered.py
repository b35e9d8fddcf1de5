"""What a gateway offers is the same on a machine and in a cluster."""

from __future__ import annotations

from dataclasses import fields
from types import MappingProxyType

import pytest

from plimsoll.cli.cluster_gateway import _offered
from plimsoll.cli.offered import Planned, offered
from plimsoll.engines import ENGINES
from plimsoll.fleet import Document, load_fleet
from plimsoll.gateway import Served
from plimsoll.worlds.cluster.served import decode, encode, gateway_configuration
from tests.worlds.cluster.sites import fleet_text, site_of

MODELS = """
models:
  - name: small
    source: "builtin:demo"
    engine: llamacpp
    aliases: [talk]
    weight: 3
    tier: fast
    affinity: {by: session, header: X-Chat, ttl: 90s}
    startup: {hold: 2m}
    fallbacks: [slow, outside/gpt]
  - {name: large, source: "builtin:demo", engine: llamacpp, aliases: [talk], weight: 1, tier: slow,
     fallbacks: [slow]}
  - {name: huge, source: "builtin:demo", engine: llamacpp, tier: slow}
providers:
  - {name: outside, protocol: openai, baseURL: "https://a.example/v1",
     models: [{name: gpt, context: 8k}]}
%s
"""


def planned(engine: str | None = "llamacpp") -> Planned:
    return Planned(
        task="chat", context=1024, adapters=("tuned",),
        engine=ENGINES[engine] if engine else None, kv_tokens=4096, prefill_rate=0,
    )  # fmt: skip


def offers(more: str = "", engine: str | None = "llamacpp") -> dict[str, Served]:
    fleet = load_fleet([Document(file="f.yaml", text=fleet_text(MODELS % more))])
    names = [model.name for model in fleet.models]
    return {each.name: each for each in offered(fleet, dict.fromkeys(names, planned(engine)))}


def test_a_model_is_offered_as_it_is_wished_and_planned() -> None:
    small = offers()["small"]
    assert (small.aliases, small.tier, small.weight) == (("talk",), "fast", 3)
    assert (small.affinity, small.affinity_header, small.affinity_ttl) == ("session", "x-chat", 90)
    assert (small.hold, small.adapters, small.context) == (120.0, ("tuned",), 1024)
    assert (small.kv_tokens, small.prefill_rate) == (4096, None)
    assert small.assemble
    assert small.stream_fields == {"return_progress": True}


def test_a_fallback_is_every_other_model_that_answers_to_its_word() -> None:
    made = offers()
    assert made["small"].fallbacks == ("large", "huge")  # those at providers are not asked yet
    assert made["large"].fallbacks == ("huge",)
    assert made["huge"].fallbacks == ()


def test_an_answer_goes_on_elsewhere_where_engine_and_fleet_agree() -> None:
    assert offers()["small"].continues
    assert not offers("gateway: {retries: {continuation: false}}")["small"].continues
    assert not offers(engine=None)["small"].continues


def test_answers_of_an_unknown_engine_are_passed_on() -> None:
    small = offers(engine=None)["small"]
    assert not small.assemble
    assert small.stream_fields == {}


@pytest.mark.parametrize("example", ["examples/production.yaml", "examples/cluster/tenants.yaml"])
def test_a_cluster_offers_what_a_machine_would(example: str) -> None:
    site = site_of(example)
    told = decode(encode(gateway_configuration(site)), where="x")
    here = offered(
        site.fleet,
        {
            place.model: Planned(
                task=place.task,
                context=place.context,
                adapters=place.adapters
                or tuple(each.name for each in site.fleet.model(place.model).adapters),
                engine=ENGINES[place.engine],
                kv_tokens=place.kv_tokens,
                prefill_rate=place.prefill_rate,
            )
            for place in site.plan.placements
        },
    )
    assert _offered(told) == here
    assert all(isinstance(each.stream_fields, MappingProxyType | dict) for each in here)


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_what_an_engine_can_do_is_offered_with_its_models(engine: str) -> None:
    able, small = ENGINES[engine].capabilities, offers(engine=engine)["small"]
    shared = {field.name for field in fields(able)} & {field.name for field in fields(small)}
    assert shared > {"continues", "continue_fields", "renamed_fields", "stream_fields"}
    for name in shared:
        assert getattr(small, name) == getattr(able, name), name
