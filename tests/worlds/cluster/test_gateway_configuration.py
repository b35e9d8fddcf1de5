"""What the gateway is told: written into a ConfigMap, read from it or a file, and followed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.engines import ENGINES
from plimsoll.errors import InputError, PlimsollError
from plimsoll.fleet import Document, load_fleet, to_document
from plimsoll.fleet.engines import EngineName
from plimsoll.plan import Plan
from plimsoll.plan.types import Ledger, Placement
from plimsoll.telemetry.watch_metrics import WatchMetrics
from plimsoll.worlds.cluster.client import Kube, Patience
from plimsoll.worlds.cluster.configuration import from_config_map, from_file
from plimsoll.worlds.cluster.following import Pace
from plimsoll.worlds.cluster.objects.site import Site
from plimsoll.worlds.cluster.served import (
    KEY,
    LARGEST,
    GatewayConfiguration,
    decode,
    drain_seconds,
    encode,
    gateway_configuration,
)
from tests.worlds.cluster.api import Api
from tests.worlds.cluster.sites import EXAMPLES, fleet_text, site_of
from tests.worlds.local.harness import until

ANY_ENGINE = dict.fromkeys(get_args(EngineName), ENGINES["llamacpp"])
PACE = Pace(jitter=lambda: 0.0, first=0.05, longest=0.2)


def fleet_of(models: int, *, alias: int = 8) -> Site:
    """A fleet of many models, in documents of 200."""
    entries = [
        {
            "name": f"model-{number}", "aliases": [f"{'a' * alias}-{number}"],
            "source": "hf://meta-llama/Llama-3.1-70B-Instruct@main", "context": 8192,
        }
        for number in range(models)
    ]  # fmt: skip
    documents = [
        {
            "apiVersion": "plimsoll.dev/v1alpha1", "kind": "Fleet",
            "metadata": {"name": f"many-{start}"},
            "spec": {"models": entries[start : start + 200]},
        }
        for start in range(0, models, 200)
    ]  # fmt: skip
    fleet = load_fleet(
        [Document(file=f"{n}.yaml", text=json.dumps(one)) for n, one in enumerate(documents)]
    )
    places = tuple(
        Placement(
            model=model.name, engine="llamacpp", source=str(model.source), task=model.task,
            context=8192, parallel=8, threads=1, batch=1, kv_type="f16", ledger=Ledger(terms=()),
        )
        for model in fleet.models
    )  # fmt: skip
    return Site(
        fleet=fleet, plan=Plan(placements=places), engines=ANY_ENGINE, namespace="n", image="x:1"
    )


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_is_written_is_what_is_read(example: str) -> None:
    made = gateway_configuration(site_of(example, engines=ANY_ENGINE))
    text = encode(made)
    assert decode(text, where="x") == made
    assert encode(decode(text, where="x")) == text


def test_a_thousand_models_fit_into_a_config_map() -> None:
    made = gateway_configuration(fleet_of(1000))
    text = encode(made)
    assert len(text) < LARGEST
    assert decode(text, where="x") == made


def test_more_than_a_config_map_holds_is_refused() -> None:
    with pytest.raises(InputError, match="more than a ConfigMap may hold"):
        encode(gateway_configuration(fleet_of(3000, alias=110)))


def test_keys_come_by_their_sums_and_places_alone() -> None:
    site = site_of("examples/production.yaml", engines=ANY_ENGINE)
    document = json.loads(encode(gateway_configuration(site)))
    keys = [
        key
        for part in document["fleet"]
        for tenant in part["spec"].get("tenants", ())
        for key in tenant["keys"]
    ]
    assert len(keys) == sum(len(tenant.keys) for tenant in site.fleet.tenants)
    assert all(set(key) & {"sha256", "from"} for key in keys)
    assert {word for key in keys for word in key} <= {
        "name", "sha256", "from", "models", "limits", "expires",
    }  # fmt: skip


def test_a_gateway_is_told_what_the_plan_knows_of_a_replica() -> None:
    site = site_of("examples/production.yaml", engines=ANY_ENGINE)
    places = {place.model: place for place in site.plan.placements}
    for served in gateway_configuration(site).models:
        place = places[served.model]
        assert (served.kv_tokens, served.prefill_rate) == (place.kv_tokens, place.prefill_rate)
    assert any(place.prefill_rate for place in places.values())


def test_a_gateway_reads_what_older_and_newer_renderers_wrote() -> None:
    made = gateway_configuration(site_of("examples/production.yaml", engines=ANY_ENGINE))
    written = json.loads(encode(made))
    for model in written["models"]:
        model.pop("kvTokens", None)
        model["unheardOf"] = True
    assert [each.kv_tokens for each in decode(json.dumps(written), where="x").models] == [
        0 for _ in made.models
    ]


def test_callers_do_not_see_how_a_model_is_run() -> None:
    made = gateway_configuration(site_of("examples/production.yaml", engines=ANY_ENGINE))
    document = to_document(made.fleet)
    fields = {field for model in document["spec"]["models"] for field in model}
    assert not fields & {"engineOptions", "credentials", "resources", "scaling", "storage"}
    assert fields >= {"name", "aliases", "weight", "tier", "fallbacks", "affinity", "cache"}


def test_an_unchanged_gateway_is_told_nothing_new() -> None:
    """How many replicas a model may have is not the gateway's business."""
    text = """
models:
  - {name: demo, source: "builtin:demo", engine: llamacpp, scaling: {min: 1, max: %d}}
"""
    one, other = (encode(gateway_configuration(site_of(fleet_text(text % n)))) for n in (2, 3))
    assert one == other


def test_a_drain_takes_the_longest_wait_and_answer() -> None:
    text = """
models:
  - {name: a, source: "builtin:demo", engine: llamacpp, startup: {hold: 2m}}
gateway: {maxStream: 100s, queue: {wait: 10s}}
"""
    assert drain_seconds(site_of(fleet_text(text)).fleet) == 220.0


def good(name: str = "demo") -> str:
    text = f'models: [{{name: {name}, source: "builtin:demo", engine: llamacpp}}]'
    return encode(gateway_configuration(site_of(fleet_text(text))))


def broken(change: str, value: object) -> str:
    body = json.loads(good())
    body["models"][0][change] = value
    return json.dumps(body)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a gateway's configuration"),
        ("{", "not a gateway's configuration"),
        ("[]", "not a gateway's configuration"),
        ('{"format": 2, "fleet": [], "models": []}', "format 2"),
        ('{"format": 1, "fleet": [], "models": []}', "no fleet file"),
        (broken("model", "other"), "no model `other`"),
        (broken("parallel", 0), "must be 1 or more"),
        (broken("port", 70000), "must be a TCP port"),
        (broken("port", "x"), "not a gateway's configuration"),
    ],
)
def test_a_broken_configuration_is_refused_with_a_reason(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        decode(text, where="ConfigMap n/x")


@given(text=st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_nothing_that_is_read_ends_in_a_fault(text: str | bytes) -> None:
    with pytest.raises(PlimsollError):
        decode(text, where="x")


@given(data=st.data())
def test_no_damage_to_a_good_one_ends_in_a_fault(data: st.DataObject) -> None:
    whole = good().encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(0, 20))
    damaged = whole[:at] + data.draw(st.binary(max_size=10)) + whole[at + length :]
    with suppress(PlimsollError):
        decode(damaged, where="x")


def config_map(text: str | None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "fleet", "namespace": "default"},
        "data": {} if text is None else {KEY: text},
    }


async def after(
    configurations: AsyncIterator[GatewayConfiguration], *, seconds: float = 20.0
) -> list[str]:
    """The models of the next configuration."""
    found = await asyncio.wait_for(anext(configurations), seconds)
    return [served.model for served in found.models]


def test_a_config_map_is_followed_over_absence_damage_and_a_lost_server(api: Api) -> None:
    async def scene() -> None:
        metrics = WatchMetrics()
        patience = Patience(timeout=5.0, attempts=1, idle=2.0)
        async with (
            await Kube.connect(url=api.url, patience=patience) as kube,
            aclosing(
                from_config_map(kube, "default", "fleet", pace=PACE, metrics=metrics)
            ) as configurations,
        ):
            coming = asyncio.ensure_future(after(configurations))
            await asyncio.sleep(0.2)
            assert not coming.done()  # there is none yet
            api.create(config_map(good("one")))
            api.create({**config_map("{"), "metadata": {"name": "z", "namespace": "default"}})
            assert await coming == ["one"]
            coming = asyncio.ensure_future(after(configurations))
            for refused, text in enumerate(("{", None), start=1):
                api.change(config_map(None), lambda it, text=text: it.update(config_map(text)))
                await until(lambda n=refused: metrics.configurations["refused"] == n)
            api.change(config_map(None), lambda it: it.update(config_map(good("two"))))
            assert await coming == ["two"]
            assert metrics.configurations == {"applied": 2, "refused": 2}
            await asyncio.to_thread(api.down)
            api.delete(config_map(None))
            await asyncio.to_thread(api.up)
            api.create(config_map(good("three")))
            assert await after(configurations) == ["three"]

    asyncio.run(scene())


def test_only_the_one_config_map_is_asked_for(api: Api) -> None:
    """The role allows no list, and no other name."""

    async def scene() -> None:
        api.create(config_map(good("one")))
        api.deny("list", "configmaps")
        async with (
            await Kube.connect(url=api.url) as kube,
            aclosing(
                from_config_map(kube, "default", "fleet", pace=PACE, metrics=WatchMetrics())
            ) as configurations,
        ):
            assert await after(configurations) == ["one"]
            coming = asyncio.ensure_future(after(configurations))
            api.change(config_map(None), lambda it: it.update(config_map(good("two"))))
            assert await coming == ["two"]
        asked = [line for line in api.requests if "/configmaps" in line]
        assert asked
        for line in asked:
            assert "/configmaps/fleet" in line or "fieldSelector=metadata.name%3Dfleet" in line

    asyncio.run(scene())


def test_a_file_is_followed_over_absence_and_damage(tmp_path: Path) -> None:
    async def scene() -> None:
        file, metrics = tmp_path / "fleet.json", WatchMetrics()
        file.write_text(good("one"))
        async with aclosing(from_file(file, metrics=metrics)) as configurations:
            assert await after(configurations) == ["one"]
            coming = asyncio.ensure_future(after(configurations))
            file.unlink()
            await asyncio.sleep(1.2)
            file.write_text("{")
            await asyncio.sleep(1.2)
            assert not coming.done()
            file.write_text(good("two"))
            assert await coming == ["two"]

    asyncio.run(scene())


@pytest.mark.parametrize("text", [None, "{"])
def test_a_file_that_cannot_be_used_at_the_beginning_is_an_error(
    tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "fleet.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError):
        asyncio.run(after(from_file(file, metrics=WatchMetrics())))


def test_unknown_fields_of_a_newer_writer_are_no_reason_to_stop() -> None:
    body = json.loads(good())
    body["models"][0]["later"] = 1
    body["more"] = {}
    assert decode(msgspec.json.encode(body), where="x").models[0].model == "demo"
