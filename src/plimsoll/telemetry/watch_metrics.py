"""Metrics of watches on the Kubernetes API: whether what a process knows is still true."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from plimsoll.telemetry.exposition import Described

CONTACT = Described(
    name="plimsoll_watch_contact_timestamp_seconds",
    kind="gauge",
    labels=("watch",),
    help="When the API server last answered a watch's list or told it something, Unix time",
    across="min",
)
RELISTS = Described(
    name="plimsoll_watch_relists",
    kind="counter",
    labels=("watch",),
    help="Lists that replaced what a watch knew",
)
FAILURES = Described(
    name="plimsoll_watch_failures",
    kind="counter",
    labels=("watch", "code"),
    help="Lists and watches that failed, by error code",
)
CONFIGURATIONS = Described(
    name="plimsoll_gateway_configurations",
    kind="counter",
    labels=("result",),
    help="Configurations that were read: applied, or refused because they are broken",
)
PEERS = Described(
    name="plimsoll_gateway_peers",
    kind="gauge",
    labels=(),
    help="Gateway replicas that share the engines, this one included",
    across="max",
)

WATCH = (CONTACT, RELISTS, FAILURES, CONFIGURATIONS, PEERS)
"""Every metric family of this module, in the order of the text."""


class WatchMetrics(Collector):
    """The numbers of a process's watches.

    contact         watch -> Unix time of the last word from the API server
    relists         watch -> lists
    failures        (watch, error code) -> failed lists and watches
    configurations  `applied`, `refused` -> configurations read
    peers           gateway replicas, this one included
    """

    def __init__(self) -> None:
        self.contact: dict[str, float] = {}
        self.relists: dict[str, int] = {}
        self.failures: dict[tuple[str, str], int] = {}
        self.configurations = {"applied": 0, "refused": 0}
        self.peers = 1

    def told(self, watch: str, now: float) -> None:
        """The API server said something, at a Unix time."""
        self.contact[watch] = now

    def listed(self, watch: str, now: float) -> None:
        """A list replaced what the watch knew."""
        self.relists[watch] = self.relists.get(watch, 0) + 1
        self.told(watch, now)

    def failed(self, watch: str, code: str) -> None:
        """A list or a watch failed."""
        self.failures[watch, code] = self.failures.get((watch, code), 0) + 1

    def describe(self) -> Iterator[Metric]:
        """No families ahead of time."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every family of WATCH with its samples."""
        contact = GaugeMetricFamily(CONTACT.name, CONTACT.help, labels=CONTACT.labels)
        for watch, when in sorted(self.contact.items()):
            contact.add_metric((watch,), when)
        relists, failures, configurations = (
            CounterMetricFamily(of.name, of.help, labels=of.labels)
            for of in (RELISTS, FAILURES, CONFIGURATIONS)
        )
        for watch, count in sorted(self.relists.items()):
            relists.add_metric((watch,), count)
        for key, count in sorted(self.failures.items()):
            failures.add_metric(key, count)
        for result, count in sorted(self.configurations.items()):
            configurations.add_metric((result,), count)
        yield from (contact, relists, failures, configurations)
        yield GaugeMetricFamily(PEERS.name, PEERS.help, value=self.peers)
