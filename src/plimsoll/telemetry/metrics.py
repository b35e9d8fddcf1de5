"""The gateway's metrics: every name, what it means, and the text that Prometheus reads.

The hot path adds to plain numbers bound to a model beforehand; names, labels and buckets meet
them only when somebody scrapes. Label values come from the fleet and from our own tables, never
from a caller, so their number is bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from plimsoll.policy.retry import Failure
from plimsoll.telemetry.exposition import Described, Source, escaped, family
from plimsoll.telemetry.recent import Recent
from plimsoll.telemetry.replica_metrics import (
    REPLICA,
    Labelled,
    ReplicaDepth,
    ReplicaMetrics,
    Seen,
    TenantMetrics,
    replica_parts,
)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0,
)  # fmt: skip
"""Bucket bounds of every duration, in seconds."""

_MODELS: Final = 50  # whose numbers are gathered at once

R = TypeVar("R")
_BOUNDS = (*map(str, SECONDS), "+Inf")

PHASES = ("queued", "connecting", "waiting", "answering")
"""Phases of a request's life in which its caller can leave."""


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
CONTINUED = _counter(
    "continuations", ("model",), "Streams that broke off at a replica and were carried on"
)
FELL_BACK = _counter(
    "fallbacks", ("model", "to"), "Requests for a model that another one of the fleet answered"
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
QUEUED_BYTES = _gauge("queued_bytes", ("model",), "Bytes of the bodies of requests that wait now")
HELD = _gauge("held", ("model",), "Requests that wait now while no replica is ready")
IN_FLIGHT = _gauge("in_flight", ("model",), "Requests at replicas now")
REPLICAS = Described(
    name="plimsoll_gateway_replicas_ready",
    kind="gauge",
    labels=("model",),
    help="Replicas that get new work now",
    across="max",
)
CONNECTIONS = _gauge("connections", (), "Client connections open now")

GATEWAY = (
    REQUESTS, REFUSED, TRIES_FAILED, RETRIES, CANCELLED, TOKENS, BROKEN, CONTINUED, FELL_BACK,
    QUEUE_SECONDS, FIRST_SECONDS, REQUEST_SECONDS, GAP_SECONDS,
    QUEUED, QUEUED_BYTES, HELD, IN_FLIGHT, REPLICAS, CONNECTIONS, *REPLICA,
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

    def buckets(self) -> list[tuple[str, int]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        running, rows = 0, []
        for bound, count in zip(_BOUNDS, self.counts, strict=True):
            running += count
            rows.append((bound, running))
        return rows


class ModelMetrics:
    """The numbers of one model; whoever serves a request adds to them.

    requests   (surface, status) -> answered
    failures   kind of failure -> tries
    retries    kind of failure -> tries that followed
    cancelled  phase -> callers that left
    broken     streams that ended with an error event
    continued  streams that went on at another replica
    fallbacks  other model -> requests that it answered
    replicas   ready replicas, and those that have had a request since they were
    """

    __slots__ = (
        "broken", "cancelled", "completion_tokens", "continued", "failures", "fallbacks", "first",
        "gap", "prompt_tokens", "queue", "replicas", "request", "requests", "retries",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.failures = {str(kind): 0 for kind in Failure}
        self.retries = {str(kind): 0 for kind in Failure}
        self.cancelled = dict.fromkeys(PHASES, 0)
        self.broken = 0
        self.continued = 0
        self.fallbacks: dict[str, int] = {}
        self.replicas: dict[str, ReplicaMetrics] = {}
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

    def replica(self, name: str) -> ReplicaMetrics:
        """The numbers of a replica, made on first use."""
        found = self.replicas.get(name)
        if found is None:
            found = self.replicas[name] = ReplicaMetrics()
        return found

    def keep(self, ready: Iterable[str]) -> None:
        """Show these replicas and no others from now on, so that their number is bounded."""
        before = self.replicas
        self.replicas = {name: before.get(name) or ReplicaMetrics() for name in ready}


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The gauges of one model, read when somebody scrapes.

    queued        requests that wait for a replica
    queued_bytes  bytes of their bodies
    held          those that wait while no replica is ready
    in_flight     requests at replicas
    replicas      ready replicas
    each          of them
    """

    model: str
    queued: int
    queued_bytes: int = 0
    held: int = 0
    in_flight: int
    replicas: int
    each: tuple[ReplicaDepth, ...] = ()


class GatewayMetrics:
    """All numbers of one gateway.

    none         numbers of requests that name no known model
    refused      error code -> refusals
    connections  open client connections
    recent       what the last requests did
    """

    def __init__(self) -> None:
        self.none = ModelMetrics()
        self.refused: dict[str, int] = {}
        self.connections = 0
        self.recent = Recent()
        self._models: dict[str, ModelMetrics] = {}
        self._tenants: dict[str, TenantMetrics] = {}
        self._depths: Callable[[], Iterable[Depth]] = tuple
        self._sources: list[Source] = []
        self._registry = CollectorRegistry()

    def model(self, name: str) -> ModelMetrics:
        """The numbers of a model, made on first use; `name` is the fleet's, never a caller's."""
        found = self._models.get(name)
        if found is None:
            found = self._models[name] = ModelMetrics()
        return found

    def tenant(self, name: str) -> TenantMetrics:
        """The numbers of a tenant, made on first use; `name` is the fleet's."""
        found = self._tenants.get(name)
        if found is None:
            found = self._tenants[name] = TenantMetrics()
        return found

    def refusal(self, code: str) -> None:
        """Count one refusal of the gateway's table."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def watch(self, depths: Callable[[], Iterable[Depth]]) -> None:
        """Have the gauges read from `depths` at every scrape."""
        self._depths = depths

    def add(self, collector: Collector) -> None:
        """Show another collector's families in the same text; it must have few samples."""
        self._registry.register(collector)

    def follow(self, source: Source) -> None:
        """Show a source's families in the same text."""
        self._sources.append(source)

    def text(self) -> bytes:
        """The Prometheus text, format 0.0.4."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """The text in parts of some milliseconds of work at most.

        Between two of them other work may be done, which may add to the numbers: every sample is
        right when it is written. A histogram of a model is whole in one part. It is shown from its
        first value on, while counters and gauges of a model are there from the beginning.
        """
        rows = [("", self.none), *sorted(self._models.items())]
        yield from _answers(rows, self.refused)
        yield from _failures(rows[1:])
        yield from _durations(rows[1:])
        depths: list[Depth] = []
        seen: list[Seen] = []
        for depth in self._depths():
            depths.append(depth)
            seen += ((depth.model, each) for each in depth.each)
            if not len(depths) % _MODELS:
                yield b""
        yield from _gauges(depths, self.connections)
        labelled: list[Labelled] = []
        for number, (model, numbers) in enumerate(rows[1:], 1):
            labelled += ((model, *each) for each in numbers.replicas.items())
            if not number % _MODELS:
                yield b""
        yield from replica_parts(labelled, seen, sorted(self._tenants.items()))
        for source in self._sources:
            yield from source.parts()
        yield generate_latest(self._registry)


Rows = list[tuple[str, ModelMetrics]]


def _answers(rows: Rows, refused: dict[str, int]) -> Iterator[bytes]:
    def requests(row: tuple[str, ModelMetrics]) -> Iterator[str]:
        model, name = escaped(row[0]), f"{REQUESTS.name}_total"
        for (surface, status), count in sorted(row[1].requests.items()):
            yield f'{name}{{model="{model}",status="{status}",surface="{surface}"}} {count}.0\n'

    def refusal(row: tuple[str, int]) -> Iterator[str]:
        yield f'{REFUSED.name}_total{{code="{escaped(row[0])}"}} {row[1]}.0\n'

    yield from family(REQUESTS, rows, requests)
    yield from family(REFUSED, sorted(refused.items()), refusal)


def _failures(rows: Rows) -> Iterator[bytes]:
    for of, label, numbers in (
        (TRIES_FAILED, "kind", lambda each: each.failures),
        (RETRIES, "kind", lambda each: each.retries),
        (CANCELLED, "phase", lambda each: each.cancelled),
        (TOKENS, "kind", _tokens),
    ):
        yield from family(of, rows, _table(of, label, numbers))
    yield from family(BROKEN, rows, _one(BROKEN, lambda row: (row[0], row[1].broken)))
    yield from family(CONTINUED, rows, _one(CONTINUED, lambda row: (row[0], row[1].continued)))
    yield from family(FELL_BACK, rows, _table(FELL_BACK, "to", lambda each: each.fallbacks))


def _tokens(numbers: ModelMetrics) -> dict[str, int]:
    return {"prompt": numbers.prompt_tokens, "completion": numbers.completion_tokens}


def _table(
    of: Described, label: str, numbers: Callable[[ModelMetrics], dict[str, int]]
) -> Callable[[tuple[str, ModelMetrics]], Iterator[str]]:
    """Samples of a model, one for each value of a label; labels in the order of the alphabet."""
    before = label < "model"

    def samples(row: tuple[str, ModelMetrics]) -> Iterator[str]:
        model, name = f'model="{escaped(row[0])}"', f"{of.name}_total"
        for value, count in numbers(row[1]).items():
            own = f'{label}="{escaped(value)}"'
            labels = f"{own},{model}" if before else f"{model},{own}"
            yield f"{name}{{{labels}}} {count}.0\n"

    return samples


def _one(of: Described, read: Callable[[R], tuple[str, int]]) -> Callable[[R], Iterator[str]]:
    """The only sample of a model."""
    name = f"{of.name}_total" if of.kind == "counter" else of.name

    def sample(row: R) -> Iterator[str]:
        model, count = read(row)
        yield f'{name}{{model="{escaped(model)}"}} {count}.0\n'

    return sample


def _durations(rows: Rows) -> Iterator[bytes]:
    for of, spread in (
        (QUEUE_SECONDS, lambda each: each.queue),
        (FIRST_SECONDS, lambda each: each.first),
        (REQUEST_SECONDS, lambda each: each.request),
        (GAP_SECONDS, lambda each: each.gap),
    ):
        yield from family(of, rows, _histogram_of(of, spread))


def _histogram_of(
    of: Described, spread: Callable[[ModelMetrics], Distribution]
) -> Callable[[tuple[str, ModelMetrics]], Iterator[str]]:
    def samples(row: tuple[str, ModelMetrics]) -> Iterator[str]:
        told = spread(row[1])
        model, total = f'model="{escaped(row[0])}"', 0
        if not any(told.counts):
            return
        for bound, total in told.buckets():
            yield f'{of.name}_bucket{{le="{bound}",{model}}} {total}.0\n'
        yield f"{of.name}_count{{{model}}} {total}.0\n"
        yield f"{of.name}_sum{{{model}}} {told.sum!r}\n"

    return samples


def _gauges(depths: list[Depth], connections: int) -> Iterator[bytes]:
    for of, read in (
        (QUEUED, lambda each: (each.model, each.queued)),
        (QUEUED_BYTES, lambda each: (each.model, each.queued_bytes)),
        (HELD, lambda each: (each.model, each.held)),
        (IN_FLIGHT, lambda each: (each.model, each.in_flight)),
        (REPLICAS, lambda each: (each.model, each.replicas)),
    ):
        yield from family(of, depths, _one(of, read))
    yield from family(CONNECTIONS, [connections], lambda now: [f"{CONNECTIONS.name} {now}.0\n"])
