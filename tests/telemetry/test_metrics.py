from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from plimsoll.telemetry.metrics import GATEWAY, SECONDS, Depth, Distribution, GatewayMetrics


def filled() -> GatewayMetrics:
    metrics = GatewayMetrics()
    metrics.watch(lambda: [Depth(model="chat", queued=1, in_flight=2, replicas=3)])
    numbers = metrics.model('odd "name"\n\\')
    chat = metrics.model("chat")
    for each in (numbers, chat):
        each.answered("chat", 200)
        each.queue.observe(0.02)
        each.prompt_tokens += 5
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
