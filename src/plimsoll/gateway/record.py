"""What one request did, kept while it runs, then added to the metrics and the access log."""

from __future__ import annotations

from plimsoll.gateway.answers import Usage
from plimsoll.gateway.surfaces import Call
from plimsoll.policy.retry import Failure
from plimsoll.telemetry.access_log import AccessLine, AccessLog, utc_now
from plimsoll.telemetry.metrics import GatewayMetrics


class Record:
    """The figures of one request. Times are seconds of the monotonic clock.

    arrived  when its body was whole
    since    since when it waits for a place
    chunk    when the replica last sent something, 0.0 before
    first    seconds from `arrived` to the first byte for the caller, or None
    queued   seconds in the queue
    sent     tries that reached a replica
    replica  the last one tried, or empty
    """

    chunk = 0.0
    first: float | None = None
    queued = 0.0
    sent = 0
    replica = ""

    def __init__(
        self,
        metrics: GatewayMetrics,
        log: AccessLog | None,
        call: Call,
        request_id: bytes,
        now: float,
    ) -> None:
        self._metrics = metrics
        self._log = log
        self._call = call
        self._request_id = request_id
        self._numbers = metrics.model(call.queue.served.name)
        self.arrived = self.since = now

    def granted(self, replica: str, now: float) -> None:
        """The wait for a place is over."""
        waited = now - self.since
        self.since = now
        self.queued += waited
        self._numbers.queue.observe(waited)
        self.replica = replica

    def read(self, now: float) -> None:
        """The replica sent something."""
        if self.chunk:
            self._numbers.gap.observe(now - self.chunk)
        self.chunk = now

    def began(self, now: float) -> None:
        """The first byte of a stream goes to the caller."""
        self.first = now - self.arrived
        self._numbers.first.observe(self.first)

    def failed(self, failure: Failure) -> None:
        """A try failed."""
        self.chunk = 0.0
        self._numbers.failures[failure] += 1

    def retried(self, failure: Failure) -> None:
        """A try follows a failed one."""
        self._numbers.retries[failure] += 1

    def cancelled(self, phase: str) -> None:
        """The caller left."""
        self._numbers.cancelled[phase] += 1

    def refused(self, code: str, *, broken: bool) -> None:
        """The caller is told an error; `broken` when that is inside a stream."""
        if broken:
            self._numbers.broken += 1
        else:
            self._metrics.refusal(code)

    def tokens(self, usage: Usage | None) -> None:
        """The answer stated its usage."""
        if usage is not None:
            self._numbers.prompt_tokens += usage.prompt_tokens
            self._numbers.completion_tokens += usage.completion_tokens

    def over(self, status: int, code: str, now: float) -> None:
        """The request is over."""
        self._numbers.request.observe(now - self.arrived)
        self._numbers.answered(self._call.surface.name, status)
        if self._log is not None:
            self._write(self._log, status, code, now)

    def _write(self, log: AccessLog, status: int, code: str, now: float) -> None:
        call = self._call
        log.write(
            AccessLine(
                time=utc_now(),
                request_id=self._request_id.decode(),
                surface=call.surface.name,
                model=call.queue.served.name,
                replica=self.replica,
                status=status,
                code=code,
                streamed=call.stream,
                seconds=round(now - self.arrived, 6),
                queued=round(self.queued, 6),
                first_byte=None if self.first is None else round(self.first, 6),
                tries=self.sent,
            )
        )
