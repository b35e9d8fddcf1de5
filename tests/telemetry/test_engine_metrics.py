from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from plimsoll.telemetry.engine_metrics import ENGINE, EngineMetrics, EngineSeen
from plimsoll.telemetry.metrics import GATEWAY, GatewayMetrics

CHAT = EngineSeen(model="chat", known=2, running=3, waiting=1, kv_usage=0.5, age=2.5, failed=4)
SILENT = EngineSeen(model="silent", known=0, running=0, waiting=0, kv_usage=None, age=0.0, failed=9)


def test_the_text_has_every_family_that_is_described_beside_the_gateways_own() -> None:
    gateway = GatewayMetrics()
    gateway.follow(EngineMetrics(lambda: [SILENT, CHAT]))
    families = {each.name: each for each in text_string_to_metric_families(gateway.text().decode())}
    assert set(families) == {each.name for each in (*GATEWAY, *ENGINE)}
    for described in ENGINE:
        family = families[described.name]
        assert (family.type, family.documentation) == (described.kind, described.help)
        for sample in family.samples:
            assert set(sample.labels) == set(described.labels)
    shown = {
        (sample.name, sample.labels["model"]): sample.value
        for described in ENGINE
        for sample in families[described.name].samples
    }
    assert shown["plimsoll_engine_kv_usage", "chat"] == 0.5
    assert shown["plimsoll_engine_look_age_seconds", "chat"] == 2.5
    assert shown["plimsoll_engine_look_failures_total", "silent"] == 9


def test_what_nobody_knows_is_not_shown_as_zero() -> None:
    text = b"".join(EngineMetrics(lambda: [SILENT]).parts()).decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples == [
        'plimsoll_engine_replicas_known{model="silent"} 0.0',
        'plimsoll_engine_look_failures_total{model="silent"} 9.0',
    ]
