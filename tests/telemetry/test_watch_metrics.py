from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from plimsoll.telemetry.metrics import GATEWAY, GatewayMetrics
from plimsoll.telemetry.watch_metrics import WATCH, WatchMetrics


def test_the_text_has_every_family_that_is_described_beside_the_gateways_own() -> None:
    watch, gateway = WatchMetrics(), GatewayMetrics()
    gateway.add(watch)
    watch.listed("ConfigMap/llm/fleet", 1_800_000_000.0)
    watch.failed("EndpointSlice/llm", "cluster.expired")
    watch.peers = 3
    families = {each.name: each for each in text_string_to_metric_families(gateway.text().decode())}
    assert set(families) == {each.name for each in (*GATEWAY, *WATCH)}
    for described in WATCH:
        family = families[described.name]
        assert (family.type, family.documentation) == (described.kind, described.help)
        for sample in family.samples:
            assert set(sample.labels) == set(described.labels)
    (contact,) = families["plimsoll_watch_contact_timestamp_seconds"].samples
    assert contact.value == 1_800_000_000.0
