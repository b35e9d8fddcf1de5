"""The operator's own metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PASS_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0)


class OperatorMetrics:
    """The numbers of one operator.

    registry        what is scraped
    reconciles      passes over a Fleet, by result: changed, same, waiting, failed
    seconds         of one pass
    queue           Fleets that are due and that nobody works on
    delayed         Fleets that are to be looked at later
    leader          1 where this operator acts, else 0
    fleets          Fleet objects seen
    watch_restarts  lost or expired watches, by kind
    api_errors      answers of the API that were errors, by error code
    writes          writes to the API, by verb
    plans           plans made, by result
    silent          gateway pods that did not answer at the last look
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, label: str) -> Counter:
            return Counter(f"plimsoll_operator_{name}", text, (label,), registry=self.registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"plimsoll_operator_{name}", text, registry=self.registry)

        self.reconciles = counter("reconciles", "Passes over a Fleet, by result", "result")
        self.seconds = Histogram(
            "plimsoll_operator_reconcile_seconds",
            "Seconds of one pass over a Fleet",
            buckets=PASS_SECONDS,
            registry=self.registry,
        )
        self.queue = gauge("queue", "Fleets that are due and that nobody works on")
        self.delayed = gauge("delayed", "Fleets that are to be looked at later")
        self.leader = gauge("leader", "1 where this operator acts, else 0")
        self.fleets = gauge("fleets", "Fleet objects seen")
        self.watch_restarts = counter("watch_restarts", "Lost or expired watches, by kind", "kind")
        self.api_errors = counter("api_errors", "Errors of the Kubernetes API, by code", "code")
        self.writes = counter("writes", "Writes to the Kubernetes API, by verb", "verb")
        self.plans = counter("plans", "Plans made, by result", "result")
        self.silent = gauge("gateways_silent", "Gateway pods that did not answer at the last look")
