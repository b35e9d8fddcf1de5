"""The gateway's metrics: every name, what it means, and the text that Prometheus reads.

The hot path adds to plain numbers bound to a model beforehand; names, labels and buckets meet
them only when somebody scrapes. Label values come from the fleet and from our own tables, never
from a caller, so their number is bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from plimsoll.policy.retry import Failure

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0,
)  # fmt: skip
"""Bucket bounds of every duration, in seconds."""

PHASES = ("queued", "connecting", "waiting", "answering")
"""Phases of a request's life in which its caller can leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One metric family.

    name    as Prometheus shows it; counters without the `_total` that the text adds
    kind    counter | gauge | histogram
    labels  its label names
    help    what it counts, with its unit
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def _counter(name: str, labels: tuple[str, ...], text: str) -> Described:
    return Described(name=f"plimsoll_gateway_{name}", kind="counter", labels=labels, help=text)


def _gauge(name: str, labels: tuple[str, ...], text: str) -> Described:
    return Described(name=f"plimsoll_gateway_{name}", kind="gauge", labels=labels, help=text)


def _histogram(name: str, text: str) -> Described:
    return Described(
        name=f"plimsoll_gateway_{name}", kind="histogram", labels=("model",), help=text
    )


REQUESTS = _counter(
    "requests",
    ("model", "surface", "status"),
    "Requests answered, by model (empty: none was named or known), surface and HTTP status; "
    "499 where the caller left first",
)
REFUSED = _counter("refused", ("code",), "Requests refused by the gateway itself, by error code")
TRIES_FAILED = _counter(
    "upstream_failures", ("model", "kind"), "Tries at a replica that failed, by how they failed"
)
RETRIES = _counter(
    "retries", ("model", "kind"), "Tries that followed a failed one, by how that one failed"
)
CANCELLED = _counter(
    "cancelled", ("model", "phase"), "Requests whose caller left before the end, by phase"
)
BROKEN = _counter(
    "streams_broken", ("model",), "Streams that ended with an error event after their first byte"
)
TOKENS = _counter(
    "tokens", ("model", "kind"), "Tokens of answers that stated their usage: prompt, completion"
)
QUEUE_SECONDS = _histogram("queue_seconds", "Seconds a request waited for a free replica")
FIRST_SECONDS = _histogram(
    "first_byte_seconds", "Seconds from a streamed request to the first byte of its answer"
)
REQUEST_SECONDS = _histogram(
    "request_seconds", "Seconds from the whole request to the end of its answer"
)
GAP_SECONDS = _histogram("chunk_gap_seconds", "Seconds between two reads of a streamed answer")
QUEUED = _gauge("queued", ("model",), "Requests that wait for a replica now")
IN_FLIGHT = _gauge("in_flight", ("model",), "Requests at replicas now")
REPLICAS = _gauge("replicas_ready", ("model",), "Replicas that get new work now")
CONNECTIONS = _gauge("connections", (), "Client connections open now")

GATEWAY = (
    REQUESTS, REFUSED, TRIES_FAILED, RETRIES, CANCELLED, BROKEN, TOKENS,
    QUEUE_SECONDS, FIRST_SECONDS, REQUEST_SECONDS, GAP_SECONDS,
    QUEUED, IN_FLIGHT, REPLICAS, CONNECTIONS,
)  # fmt: skip
"""Every metric family of the gateway, in the order of the text."""


class Distribution:
    """Durations counted into the buckets of SECONDS.

    counts  how many fell into each bucket; the last is everything above the highest bound
    sum     seconds in all
    """

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        running, rows = 0, []
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self.counts, strict=True):
            running += count
            rows.append((bound, float(running)))
        return rows


class ModelMetrics:
    """The numbers of one model; whoever serves a request adds to them.

    requests   (surface, status) -> answered
    failures   kind of failure -> tries
    retries    kind of failure -> tries that followed
    cancelled  phase -> callers that left
    broken     streams that ended with an error event
    """

    __slots__ = (
        "broken", "cancelled", "completion_tokens", "failures", "first", "gap", "prompt_tokens",
        "queue", "request", "requests", "retries",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.failures = {str(kind): 0 for kind in Failure}
        self.retries = {str(kind): 0 for kind in Failure}
        self.cancelled = dict.fromkeys(PHASES, 0)
        self.broken = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.queue = Distribution()
        self.first = Distribution()
        self.request = Distribution()
        self.gap = Distribution()

    def answered(self, surface: str, status: int) -> None:
        """Count one answer."""
        key = (surface, status)
        self.requests[key] = self.requests.get(key, 0) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The gauges of one model, read when somebody scrapes."""

    model: str
    queued: int
    in_flight: int
    replicas: int


class GatewayMetrics(Collector):
    """All numbers of one gateway.

    none         numbers of requests that name no known model
    refused      error code -> refusals
    connections  open client connections
    """

    def __init__(self) -> None:
        self.none = ModelMetrics()
        self.refused: dict[str, int] = {}
        self.connections = 0
        self._models: dict[str, ModelMetrics] = {}
        self._depths: Callable[[], Iterable[Depth]] = tuple
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def model(self, name: str) -> ModelMetrics:
        """The numbers of a model, made on first use; `name` is the fleet's, never a caller's."""
        found = self._models.get(name)
        if found is None:
            found = self._models[name] = ModelMetrics()
        return found

    def refusal(self, code: str) -> None:
        """Count one refusal of the gateway's table."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def watch(self, depths: Callable[[], Iterable[Depth]]) -> None:
        """Have the gauges read from `depths` at every scrape."""
        self._depths = depths

    def text(self) -> bytes:
        """The Prometheus text, format 0.0.4."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """No families ahead of time: registering must not read the gauges."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every family of GATEWAY with its samples."""
        rows = [("", self.none), *sorted(self._models.items())]
        yield from _answers(rows, self.refused)
        yield from _failures(rows)
        yield from _durations(rows)
        yield from _gauges(self._depths(), self.connections)


Rows = list[tuple[str, ModelMetrics]]


def _family(of: Described) -> CounterMetricFamily:
    return CounterMetricFamily(of.name, of.help, labels=of.labels)


def _answers(rows: Rows, refused: dict[str, int]) -> Iterator[Metric]:
    answered = _family(REQUESTS)
    for name, numbers in rows:
        for (surface, status), count in sorted(numbers.requests.items()):
            answered.add_metric((name, surface, str(status)), count)
    yield answered
    refusals = _family(REFUSED)
    for code, count in sorted(refused.items()):
        refusals.add_metric((code,), count)
    yield refusals


def _failures(rows: Rows) -> Iterator[Metric]:
    families = [_family(of) for of in (TRIES_FAILED, RETRIES, CANCELLED)]
    for name, numbers in rows[1:]:
        tables = (numbers.failures, numbers.retries, numbers.cancelled)
        for family, table in zip(families, tables, strict=True):
            for kind, count in table.items():
                family.add_metric((name, kind), count)
    yield from families
    broken, tokens = _family(BROKEN), _family(TOKENS)
    for name, numbers in rows[1:]:
        broken.add_metric((name,), numbers.broken)
        tokens.add_metric((name, "prompt"), numbers.prompt_tokens)
        tokens.add_metric((name, "completion"), numbers.completion_tokens)
    yield from (broken, tokens)


def _durations(rows: Rows) -> Iterator[Metric]:
    for of, field in (
        (QUEUE_SECONDS, "queue"),
        (FIRST_SECONDS, "first"),
        (REQUEST_SECONDS, "request"),
        (GAP_SECONDS, "gap"),
    ):
        family = HistogramMetricFamily(of.name, of.help, labels=of.labels)
        for name, numbers in rows[1:]:
            spread: Distribution = getattr(numbers, field)
            family.add_metric((name,), spread.buckets(), spread.sum)
        yield family


def _gauges(depths: Iterable[Depth], connections: int) -> Iterator[Metric]:
    queued, in_flight, replicas = (
        GaugeMetricFamily(of.name, of.help, labels=of.labels)
        for of in (QUEUED, IN_FLIGHT, REPLICAS)
    )
    for depth in depths:
        queued.add_metric((depth.model,), depth.queued)
        in_flight.add_metric((depth.model,), depth.in_flight)
        replicas.add_metric((depth.model,), depth.replicas)
    yield from (queued, in_flight, replicas)
    yield GaugeMetricFamily(CONNECTIONS.name, CONNECTIONS.help, value=connections)
