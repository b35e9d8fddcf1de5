from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from plimsoll.telemetry.engine_metrics import ENGINE
from plimsoll.telemetry.exposition import Described
from plimsoll.telemetry.merged import Merged
from plimsoll.telemetry.metrics import GATEWAY, Depth, GatewayMetrics
from plimsoll.telemetry.watch_metrics import WATCH, WatchMetrics

FAMILIES = (*GATEWAY, *ENGINE, *WATCH)
CHAT = '{model="chat",status="200",surface="chat"}'


def text(answers: int, *, replicas: int = 0, contact: float = 0.0) -> bytes:
    """The metrics of a gateway that gave some answers."""
    metrics, watches = GatewayMetrics(), WatchMetrics()
    for number in range(answers):
        metrics.model("chat").answered("chat", 200)
        metrics.model("chat").request.observe(0.01 * number)
    metrics.watch(lambda: [Depth(model="chat", queued=2, in_flight=1, replicas=replicas)])
    watches.told("Pod", contact)
    metrics.add(watches)
    return metrics.text()


def samples(made: bytes) -> dict[str, float]:
    rows = (line.rpartition(" ") for line in made.decode().splitlines() if line[0] != "#")
    return {series: float(value) for series, _, value in rows}


def merged(*texts: bytes) -> Merged:
    whole = Merged(FAMILIES)
    for each in texts:
        whole.add(each)
    return whole


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_counters_and_histograms_of_all_are_added_up_exactly(answers: list[int]) -> None:
    made = samples(merged(*map(text, answers)).text())
    name = "plimsoll_gateway_request_seconds"
    assert made.get(f"plimsoll_gateway_requests_total{CHAT}", 0) == sum(answers)
    assert made.get(f'{name}_count{{model="chat"}}', 0) == sum(answers)
    assert made.get(f'{name}_bucket{{le="+Inf",model="chat"}}', 0) == sum(answers)
    parts = [samples(text(each)).get(f'{name}_sum{{model="chat"}}', 0.0) for each in answers]
    assert made.get(f'{name}_sum{{model="chat"}}', 0.0) == pytest.approx(sum(parts))


def test_the_text_of_one_is_the_text_of_one() -> None:
    one = text(3, replicas=2, contact=5.0)
    assert samples(merged(one).text()) == samples(one)


def test_gauges_are_added_up_unless_all_see_the_same() -> None:
    made = samples(
        merged(text(0, replicas=3, contact=9.0), text(0, replicas=2, contact=7.0)).text()
    )
    assert made['plimsoll_gateway_queued{model="chat"}'] == 4
    assert made['plimsoll_gateway_replicas_ready{model="chat"}'] == 3
    assert made['plimsoll_watch_contact_timestamp_seconds{watch="Pod"}'] == 7.0


def test_what_one_counted_stays_when_it_is_gone_and_what_it_measured_does_not() -> None:
    gone = Merged(FAMILIES)
    gone.add(text(5, replicas=3), gone=True)
    made = samples(merged(text(2, replicas=1), gone.text()).text())
    assert made[f"plimsoll_gateway_requests_total{CHAT}"] == 7
    assert made['plimsoll_gateway_queued{model="chat"}'] == 2
    assert made['plimsoll_gateway_replicas_ready{model="chat"}'] == 1


def test_the_merged_text_is_read_by_prometheus_own_parser() -> None:
    made = merged(text(3), text(4)).text().decode()
    families = {each.name: each for each in text_string_to_metric_families(made)}
    assert families["plimsoll_gateway_requests"].type == "counter"
    assert families["plimsoll_gateway_request_seconds"].type == "histogram"
    heads = [line for line in made.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))


def test_labels_with_spaces_and_braces_keep_their_series() -> None:
    odd = Described(name="x", kind="gauge", labels=("a",), help="x")
    line = b'# HELP x x\n# TYPE x gauge\nx{a="b } c 1"} 2.0\n'
    whole = Merged((odd,))
    whole.add(line)
    whole.add(line)
    assert whole.text().decode().splitlines()[-1] == 'x{a="b } c 1"} 4.0'
