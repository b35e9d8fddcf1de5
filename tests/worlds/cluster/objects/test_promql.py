"""Queries: one element, nothing when blind, and no name can change their meaning."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.kubernetes import figure
from plimsoll.policy.decide import bounds_of
from plimsoll.telemetry.promql import number, quoted, selector
from plimsoll.worlds.cluster.objects.promql import Trigger, alive, triggers
from tests.worlds.cluster.objects.signals import signal_site, workload

POLICIES = ("plimsoll", "concurrency", "queueDepth", "kvCache")
PROMTOOL = shutil.which("promtool")
_UNESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def unquoted(literal: str) -> str:
    """What PromQL reads in a string in double quotes, by Go's rules."""
    assert literal[0] == literal[-1] == '"'
    body = literal[1:-1]
    assert not re.search(r'(?<!\\)(\\\\)*"', body)
    assert "\n" not in body
    return re.sub(
        r"\\(?:U([0-9a-f]{8})|(.))",
        lambda found: chr(int(found[1], 16)) if found[1] else _UNESCAPED[found[2]],
        body,
    )


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_string_stands_for_exactly_its_text(text: str) -> None:
    assert unquoted(quoted(text)) == text


@given(st.floats(min_value=0.001, max_value=1e6))
def test_a_number_is_written_without_an_exponent_and_close_enough(value: float) -> None:
    assert re.fullmatch(r"\d+(\.\d+)?", number(value))
    assert float(number(value)) == pytest.approx(value, rel=1e-5)


def test_a_metric_with_matchers_of_its_own_keeps_them() -> None:
    assert selector('blocks{kind="fraction"}', {"pod": 'a"b'}) == (
        'blocks{kind="fraction",pod="a\\"b"}'
    )
    assert selector("up", {"job": "x"}) == 'up{job="x"}'


def named(site_words: dict[str, Any]) -> dict[str, Trigger]:
    site = signal_site(**site_words)
    return {trigger.name: trigger for trigger in triggers(site, workload(site))}


@pytest.mark.parametrize("policy", ["plimsoll", "concurrency"])
def test_demand_is_what_the_policy_itself_reads(policy: str) -> None:
    found = named({"scaling": {"policy": policy}, "parallel": 6})
    assert list(found) == ["demand"]
    assert found["demand"].query == (
        '(sum(plimsoll_gateway_queued{namespace="inference",plimsoll_fleet="prod",model="chat"})'
        ' + sum(plimsoll_gateway_in_flight{namespace="inference",plimsoll_fleet="prod",'
        'model="chat"}))'
    )
    assert found["demand"].threshold == 6


@pytest.mark.parametrize("policy", ["plimsoll", "concurrency", "queueDepth"])
@pytest.mark.parametrize("target", [None, 2.5])
def test_the_target_is_the_one_that_the_policy_computes(policy: str, target: float | None) -> None:
    wished = {"policy": policy} | ({"target": target} if target else {})
    site = signal_site(scaling=wished)
    first = triggers(site, workload(site))[0]
    assert first.threshold == bounds_of(site.fleet, workload(site).place).target


def test_a_queue_also_counts_what_waits_inside_the_engines_of_this_model_only() -> None:
    found = named({"scaling": {"policy": "queueDepth"}})
    assert (
        'sum(vllm:num_requests_waiting{namespace="inference",plimsoll_fleet="prod",'
        'plimsoll_model="chat"})' in found["waiting"].query
    )
    # An empty queue takes no busy replica away.
    assert "in_flight" in found["carried"].query
    assert found["carried"].threshold == 8


def test_an_engine_without_metrics_of_its_own_leaves_the_gateways() -> None:
    found = named({"scaling": {"policy": "queueDepth"}, "engine": "custom"})
    assert found["waiting"].query.count("sum(") == 1


def test_an_engines_silence_is_zero_only_while_no_replica_is_ready() -> None:
    for policy in ("queueDepth", "kvCache"):
        query = next(iter(named({"scaling": {"policy": policy}}).values())).query
        assert re.search(r" or max\(plimsoll_gateway_replicas_ready\{[^}]*\}\) == 0", query)
        assert "vector(0)" not in query


def test_a_metric_that_comes_with_the_first_request_is_zero_while_its_engine_is_scraped() -> None:
    query = named({"scaling": {"policy": "queueDepth"}, "engine": "tgi"})["waiting"].query
    assert " or 0 * max(up{" in query
    assert " or 0 * max(up{" not in named({"scaling": {"policy": "queueDepth"}})["waiting"].query


def test_the_cache_is_a_share_and_a_request_alone_keeps_one_replica() -> None:
    found = named({"scaling": {"policy": "kvCache", "min": 0}})
    assert found["cache"].threshold == figure("kv_target")
    assert found["cache"].query.startswith("max(vllm:kv_cache_usage_perc{")
    assert found["asked"].query.startswith("clamp_max(")
    assert named({"scaling": {"policy": "kvCache", "target": 0.5}})["cache"].threshold == 0.5


def test_a_cache_that_nobody_measures_is_refused() -> None:
    with pytest.raises(InputError, match="how full its KV cache is") as caught:
        named({"scaling": {"policy": "kvCache"}, "engine": "llamacpp"})
    assert caught.value.code == "cluster.signal"
    assert "chat" in str(caught.value.where)


def test_a_target_too_small_to_be_said_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        named({"scaling": {"target": 0.0001}})
    assert caught.value.code == "cluster.target"


@pytest.mark.parametrize("policy", POLICIES)
def test_warm_replicas_are_added_only_while_there_is_work(policy: str) -> None:
    plain = named({"scaling": {"policy": policy}})
    warm = named({"scaling": {"policy": policy, "warm": 2}})
    for name, trigger in warm.items():
        added = number(2 * trigger.threshold)
        assert trigger.query.startswith(f"({plain[name].query}) + {added} * (")
        assert trigger.query.endswith(" > bool 0)")


def test_other_fleets_and_namespaces_are_not_counted() -> None:
    site = signal_site(model={"namespace": "team-a"}, scaling={"policy": "queueDepth"})
    query = triggers(site, workload(site))[0].query
    selectors = re.findall(r"\{([^}]*)\}", query)
    assert all('plimsoll_fleet="prod"' in each for each in selectors)
    own = [each for each in selectors if "plimsoll_model" in each]
    gateway = [each for each in selectors if each not in own]
    assert all('namespace="team-a"' in each for each in own)
    assert all('namespace="inference"' in each for each in gateway)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_every_query_is_promql(tmp_path: Path) -> None:
    queries = [
        trigger.query
        for policy in POLICIES
        for engine in ("vllm", "sglang")
        for warm in (0, 1)
        for trigger in named(
            {"scaling": {"policy": policy, "warm": warm}, "engine": engine}
        ).values()
    ]
    queries.append(selector("up", {"job": 'all "of" \\ it\n\t\x00 é 日 {}'}))
    rules = [{"record": f"plimsoll:{i}", "expr": each} for i, each in enumerate(queries)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "triggers", "rules": rules}]}))
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout


DEMAND = Trigger(name="demand", query="q", threshold=4, meaning="m", unit="requests")


def answer(*values: str, kind: str = "vector") -> dict[str, Any]:
    result = [{"metric": {}, "value": [1.0, value]} for value in values]
    return {"status": "success", "data": {"resultType": kind, "result": result}}


def test_one_element_is_alive_and_says_how_many_replicas_it_asks_for() -> None:
    assert alive(DEMAND, answer("9")) == (True, "9 requests at 4 per replica: 3")
    assert alive(DEMAND, answer("0"))[0]
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1.0, "4"]}}
    assert alive(DEMAND, scalar) == (True, "4 requests at 4 per replica: 1")


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (answer(), "not scraped"),
        (answer("1", "2"), "2 elements"),
        (answer("NaN"), "not a number"),
        (answer("+Inf"), "not a number"),
        (answer("x"), "not a number"),
        ({"status": "error", "error": "parse error"}, "parse error"),
        ({"status": "success", "data": {"resultType": "string", "result": "x"}}, "string"),
        ({}, "without a reason"),
        ({"status": "success"}, "not a vector"),
        ({"status": "success", "data": {"resultType": "vector", "result": [{}]}}, "not a number"),
    ],
)
def test_everything_else_is_dead_with_a_reason(seen: dict[str, Any], why: str) -> None:
    ok, reason = alive(DEMAND, seen)
    assert not ok
    assert why in reason


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(_JSON, _JSON)
def test_no_answer_breaks_the_check(data: Any, result: Any) -> None:
    for seen in (
        {"status": "success", "data": data},
        {"status": "success", "data": {"resultType": "vector", "result": result}},
    ):
        assert isinstance(alive(DEMAND, seen)[1], str)
