from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from plimsoll.telemetry.metrics import (
    BROKEN,
    GATEWAY,
    IN_FLIGHT,
    QUEUED,
    REPLICAS,
    SECONDS,
    Depth,
    Distribution,
    GatewayMetrics,
)
from plimsoll.telemetry.replica_metrics import ReplicaDepth


def filled() -> GatewayMetrics:
    metrics = GatewayMetrics()
    metrics.watch(
        lambda: [
            Depth(
                model="chat", queued=1, queued_bytes=80, held=1, in_flight=2, replicas=3,
                each=(
                    ReplicaDepth(replica="chat-0", in_flight=2, ejected=True, ejections=(4, 1)),
                ),
            )
        ]
    )  # fmt: skip
    numbers = metrics.model('odd "name"\n\\')
    chat = metrics.model("chat")
    for each in (numbers, chat):
        each.answered("chat", 200)
        each.queue.observe(0.02)
        each.prompt_tokens += 5
        of = each.replica("chat-0")
        of.tries, of.firsts, of.first, of.completion_tokens = 3, 2, 0.25, 9
        each.fallbacks["other"] = 2
    metrics.tenant("acme").prompt_tokens += 7
    metrics.none.answered("none", 404)
    metrics.refusal("not_found")
    return metrics


def test_the_text_parses_and_has_every_family_that_is_described_and_no_other() -> None:
    families = {
        each.name: each for each in text_string_to_metric_families(filled().text().decode())
    }
    assert set(families) == {each.name for each in GATEWAY}
    for described in GATEWAY:
        family = families[described.name]
        assert family.type == described.kind
        assert family.documentation == described.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(described.labels)


def test_gauges_are_read_when_somebody_scrapes() -> None:
    text = filled().text().decode()
    assert 'plimsoll_gateway_queued{model="chat"} 1.0' in text
    assert 'plimsoll_gateway_in_flight{model="chat"} 2.0' in text
    assert 'plimsoll_gateway_replicas_ready{model="chat"} 3.0' in text
    assert 'plimsoll_gateway_held{model="chat"} 1.0' in text
    assert 'plimsoll_gateway_queued_bytes{model="chat"} 80.0' in text
    of = 'model="chat",replica="chat-0"}'
    assert f"plimsoll_gateway_replica_in_flight{{{of} 2.0" in text
    assert f"plimsoll_gateway_replica_ejected{{{of} 1.0" in text
    assert f'plimsoll_gateway_replica_ejections_total{{kind="broken",{of} 4.0' in text
    assert f'plimsoll_gateway_replica_ejections_total{{kind="outlier",{of} 1.0' in text


def test_a_replica_has_its_own_numbers() -> None:
    text, of = filled().text().decode(), 'model="chat",replica="chat-0"}'
    assert f"plimsoll_gateway_replica_tries_total{{{of} 3.0" in text
    assert f'plimsoll_gateway_replica_tokens_total{{kind="completion",{of} 9.0' in text
    assert f"plimsoll_gateway_replica_first_byte_seconds_count{{{of} 2.0" in text
    assert f"plimsoll_gateway_replica_first_byte_seconds_sum{{{of} 0.25" in text


def test_replicas_that_are_gone_are_no_longer_shown_and_those_that_stay_count_on() -> None:
    metrics = GatewayMetrics()
    chat = metrics.model("chat")
    for generation in range(100):
        chat.keep(["stays", f"pod-{generation}"])
        chat.replica("stays").tries += 1
    text = metrics.text().decode()
    assert 'replica_tries_total{model="chat",replica="stays"} 100.0' in text
    assert text.count("plimsoll_gateway_replica_tries_total{") == 2


def test_tokens_are_counted_by_tenant() -> None:
    text = filled().text().decode()
    assert 'plimsoll_gateway_tenant_tokens_total{kind="prompt",tenant="acme"} 7.0' in text


def test_gauges_of_a_model_without_requests_are_there_and_its_histograms_are_not() -> None:
    metrics = GatewayMetrics()
    metrics.watch(lambda: [Depth(model="chat", queued=0, in_flight=0, replicas=0)])
    metrics.model("chat")
    text = metrics.text().decode()
    for gauge in (QUEUED, IN_FLIGHT, REPLICAS):
        assert f'{gauge.name}{{model="chat"}} 0.0' in text
    assert "_bucket" not in text
    metrics.model("chat").queue.observe(0.1)
    assert 'plimsoll_gateway_queue_seconds_count{model="chat"} 1.0' in metrics.text().decode()


names = st.text(min_size=1, max_size=20).filter(lambda name: "\r" not in name)


@given(names=st.lists(names, max_size=130, unique=True), counts=st.lists(st.integers(0, 10**9)))
def test_the_parts_are_one_text_whose_every_number_is_read_back(
    names: list[str], counts: list[int]
) -> None:
    metrics = GatewayMetrics()
    written = dict(zip(names, counts, strict=False))
    for name, count in written.items():
        metrics.model(name).broken = count
    text = b"".join(metrics.parts()).decode()
    families = {each.name: each for each in text_string_to_metric_families(text)}
    read = {sample.labels["model"]: sample.value for sample in families[BROKEN.name].samples}
    assert read == written


def many(*, busy: bool) -> GatewayMetrics:
    metrics = GatewayMetrics()
    names = [f"model-{number}" for number in range(1000)]
    metrics.watch(lambda: [Depth(model=name, queued=0, in_flight=0, replicas=1) for name in names])
    for name in names:
        numbers = metrics.model(name)
        if busy:
            numbers.answered("chat", 200)
            numbers.keep([f"{name}-{replica}" for replica in range(3)])
            for spread in (numbers.queue, numbers.first, numbers.request, numbers.gap):
                spread.observe(0.2)
    return metrics


@pytest.mark.parametrize("busy", [False, True])
def test_no_part_of_a_thousand_models_takes_long(busy: bool) -> None:
    """A part takes a millisecond; the best of some tries leaves out what else the machine does."""

    def longest(metrics: GatewayMetrics) -> float:
        parts, worst = metrics.parts(), 0.0
        while True:
            began = perf_counter()
            done = next(parts, None) is None
            worst = max(worst, perf_counter() - began)
            if done:
                return worst

    metrics = many(busy=busy)
    assert min(longest(metrics) for _ in range(5)) < 0.02


def test_counters_of_a_model_exist_before_anything_happens() -> None:
    metrics = GatewayMetrics()
    metrics.model("chat")
    text = metrics.text().decode()
    assert 'plimsoll_gateway_retries_total{kind="lost",model="chat"} 0.0' in text
    assert 'plimsoll_gateway_cancelled_total{model="chat",phase="queued"} 0.0' in text


@given(seconds=st.lists(st.floats(0, 1000), max_size=50))
def test_buckets_count_what_is_at_most_their_bound(seconds: list[float]) -> None:
    spread = Distribution()
    for each in seconds:
        spread.observe(each)
    for bound, count in spread.buckets():
        assert count == sum(each <= float(bound) for each in seconds)
    assert [bound for bound, _ in spread.buckets()] == [*map(str, SECONDS), "+Inf"]
