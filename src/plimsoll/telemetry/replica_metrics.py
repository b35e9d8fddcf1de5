"""Metrics of single replicas, as long as their gateway knows them, and of tenants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from plimsoll.telemetry.exposition import Described, escaped, family

_LABELS = ("model", "replica")
EJECTED = ("broken", "outlier")
"""Why a replica gets no new work for a while: failures in a row, or more of them than its peers."""


def _family(kind: str, name: str, text: str, *labels: str) -> Described:
    return Described(
        name=f"plimsoll_gateway_{name}", kind=kind, labels=labels or _LABELS, help=text
    )


IN_FLIGHT = _family("gauge", "replica_in_flight", "Requests at the replica now")
SHUT_OUT = Described(
    name="plimsoll_gateway_replica_ejected",
    kind="gauge",
    labels=_LABELS,
    help="1 while the replica gets no new work because of failures",
    across="max",
)
EJECTIONS = _family(
    "counter", "replica_ejections",
    "Times that the replica got no new work for a while, by why: broken connections, or an outlier "
    "among its peers",
    "kind", "model", "replica",
)  # fmt: skip
TRIES = _family("counter", "replica_tries", "Tries that were given to the replica")
FAILURES = _family("counter", "replica_failures", "Tries that failed at the replica")
CONTINUED = _family(
    "counter", "replica_continuations", "Streams that broke off at the replica and were carried on"
)
LEFT = _family("counter", "replica_cancelled", "Requests at the replica whose caller left")
TOKENS = _family(
    "counter", "replica_tokens", "Tokens of the replica's answers: prompt, completion",
    "kind", "model", "replica",
)  # fmt: skip
FIRST = _family(
    "summary", "replica_first_byte_seconds", "Seconds from a request to the first of its answer"
)
GAP = _family("summary", "replica_chunk_gap_seconds", "Seconds between two reads of an answer")
TENANT_REQUESTS = _family("counter", "tenant_requests", "Requests of the tenant", "tenant")
TENANT_TOKENS = _family(
    "counter", "tenant_tokens", "Tokens of the tenant's requests: prompt, completion",
    "kind", "tenant",
)  # fmt: skip

REPLICA = (
    IN_FLIGHT, SHUT_OUT, EJECTIONS, TRIES, FAILURES, CONTINUED, LEFT, TOKENS, FIRST, GAP,
    TENANT_REQUESTS, TENANT_TOKENS,
)  # fmt: skip
"""Every metric family of this module, in the order of the text."""


class ReplicaMetrics:
    """The numbers of one replica; whoever serves a request adds to them.

    first, firsts  seconds to the first of an answer, and how many answers
    gap, gaps      seconds between reads, and how many
    """

    __slots__ = (
        "cancelled", "completion_tokens", "continued", "failures", "first", "firsts", "gap",
        "gaps", "prompt_tokens", "tries",
    )  # fmt: skip

    def __init__(self) -> None:
        self.tries = 0
        self.failures = 0
        self.continued = 0
        self.cancelled = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.first = 0.0
        self.firsts = 0
        self.gap = 0.0
        self.gaps = 0


class TenantMetrics:
    """The numbers of one tenant."""

    __slots__ = ("completion_tokens", "prompt_tokens", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDepth:
    """The gauges of one replica, read when somebody scrapes.

    ejected    whether it gets no new work because of failures
    ejections  how often that was so, in the order of EJECTED
    """

    replica: str
    in_flight: int
    ejected: bool
    ejections: tuple[int, int] = (0, 0)


Labelled = tuple[str, str, ReplicaMetrics]
Seen = tuple[str, ReplicaDepth]


def replica_parts(
    numbers: Sequence[Labelled],
    depths: Sequence[Seen],
    tenants: Sequence[tuple[str, TenantMetrics]],
) -> Iterator[bytes]:
    """Every family of REPLICA; each row of `numbers` and `depths` begins with its model's name."""
    for gauge, now in (
        (IN_FLIGHT, lambda it: it.in_flight),
        (SHUT_OUT, lambda it: int(it.ejected)),
    ):
        yield from family(gauge, depths, _gauge(gauge, now))
    yield from family(EJECTIONS, depths, _ejections)
    for counter, read in (
        (TRIES, lambda it: it.tries),
        (FAILURES, lambda it: it.failures),
        (CONTINUED, lambda it: it.continued),
        (LEFT, lambda it: it.cancelled),
    ):
        yield from family(counter, numbers, _counter(counter, read))
    yield from family(TOKENS, numbers, _tokens)
    for summary, spent in (
        (FIRST, lambda it: (it.firsts, it.first)),
        (GAP, lambda it: (it.gaps, it.gap)),
    ):
        yield from family(summary, numbers, _summary(summary, spent))
    yield from family(TENANT_REQUESTS, tenants, _tenant_requests)
    yield from family(TENANT_TOKENS, tenants, _tenant_tokens)


def _labels(model: str, replica: str) -> str:
    return f'model="{escaped(model)}",replica="{escaped(replica)}"'


def _gauge(of: Described, read: Callable[[ReplicaDepth], int]) -> Callable[[Seen], Iterator[str]]:
    def sample(row: Seen) -> Iterator[str]:
        yield f"{of.name}{{{_labels(row[0], row[1].replica)}}} {read(row[1])}.0\n"

    return sample


def _ejections(row: Seen) -> Iterator[str]:
    labels = _labels(row[0], row[1].replica)
    for kind, count in zip(EJECTED, row[1].ejections, strict=True):
        yield f'{EJECTIONS.name}_total{{kind="{kind}",{labels}}} {count}.0\n'


def _counter(
    of: Described, read: Callable[[ReplicaMetrics], int]
) -> Callable[[Labelled], Iterator[str]]:
    def sample(row: Labelled) -> Iterator[str]:
        yield f"{of.name}_total{{{_labels(row[0], row[1])}}} {read(row[2])}.0\n"

    return sample


def _tokens(row: Labelled) -> Iterator[str]:
    labels, it = _labels(row[0], row[1]), row[2]
    yield f'{TOKENS.name}_total{{kind="prompt",{labels}}} {it.prompt_tokens}.0\n'
    yield f'{TOKENS.name}_total{{kind="completion",{labels}}} {it.completion_tokens}.0\n'


def _summary(
    of: Described, read: Callable[[ReplicaMetrics], tuple[int, float]]
) -> Callable[[Labelled], Iterator[str]]:
    def samples(row: Labelled) -> Iterator[str]:
        labels, (count, total) = _labels(row[0], row[1]), read(row[2])
        if count:
            yield f"{of.name}_count{{{labels}}} {count}.0\n"
            yield f"{of.name}_sum{{{labels}}} {total!r}\n"

    return samples


def _tenant_requests(row: tuple[str, TenantMetrics]) -> Iterator[str]:
    yield f'{TENANT_REQUESTS.name}_total{{tenant="{escaped(row[0])}"}} {row[1].requests}.0\n'


def _tenant_tokens(row: tuple[str, TenantMetrics]) -> Iterator[str]:
    tenant, it = escaped(row[0]), row[1]
    for kind, count in (("prompt", it.prompt_tokens), ("completion", it.completion_tokens)):
        yield f'{TENANT_TOKENS.name}_total{{kind="{kind}",tenant="{tenant}"}} {count}.0\n'
