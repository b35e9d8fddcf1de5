"""What one request did, kept while it runs, then added to the metrics and the access log."""

from __future__ import annotations

from plimsoll.gateway.engine_json import Usage
from plimsoll.gateway.surfaces import Call
from plimsoll.policy.retry import Failure
from plimsoll.telemetry.access_log import AccessLine, AccessLog, utc_now
from plimsoll.telemetry.metrics import GatewayMetrics
from plimsoll.telemetry.recent import Story
from plimsoll.telemetry.replica_metrics import ReplicaMetrics


class Record:
    """The figures of one request. Times are seconds of the monotonic clock.

    arrived  when its body was whole
    since    since when it waits for a place
    chunk    when the replica last sent something, 0.0 before
    first    seconds from `arrived` to the first byte for the caller, or None
    queued   seconds in the queue
    sent     tries that reached a replica
    replica  the last one tried, or empty
    continued  times that the answer went on elsewhere
    """

    chunk = 0.0
    first: float | None = None
    queued = 0.0
    sent = 0
    replica = ""
    continued = 0
    _of: ReplicaMetrics | None = None
    _broken: ReplicaMetrics | None = None  # of the last replica that failed

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
        self._numbers = metrics.model(call.served.name)
        tenant = call.caller.tenant
        self._tenant = metrics.tenant(tenant) if tenant else None
        self.arrived = self.since = now

    def granted(self, replica: str, now: float) -> None:
        """The wait for a place is over."""
        waited = now - self.since
        self.since = now
        self.queued += waited
        numbers = self._numbers
        numbers.queue.observe(waited)
        self.replica = replica
        self._of = of = numbers.replica(replica)
        of.tries += 1

    def moved(self, call: Call) -> None:
        """Another model answers."""
        fallbacks, name = self._numbers.fallbacks, call.served.name
        fallbacks[name] = fallbacks.get(name, 0) + 1
        self._call = call
        self._numbers = self._metrics.model(name)

    def read(self, now: float) -> None:
        """The replica sent something."""
        of = self._of
        if self.chunk:
            gap = now - self.chunk
            self._numbers.gap.observe(gap)
            if of is not None:
                of.gap += gap
                of.gaps += 1
        elif of is not None:
            of.first += now - self.since
            of.firsts += 1
        self.chunk = now

    def began(self, now: float) -> None:
        """The first byte of a stream goes to the caller."""
        self.first = now - self.arrived
        self._numbers.first.observe(self.first)

    def failed(self, failure: Failure) -> None:
        """A try failed."""
        self.chunk = 0.0
        self._numbers.failures[failure] += 1
        self._broken = self._of
        if self._of is not None:
            self._of.failures += 1

    def retried(self, failure: Failure) -> None:
        """A try follows a failed one."""
        self._numbers.retries[failure] += 1

    def broke_off(self) -> None:
        """A stream broke off at its replica, and goes on elsewhere."""
        self.continued += 1
        self._numbers.continued += 1
        if self._broken is not None:
            self._broken.continued += 1

    def cancelled(self, phase: str) -> None:
        """The caller left."""
        self._numbers.cancelled[phase] += 1
        if self._of is not None and phase != "queued":
            self._of.cancelled += 1

    def refused(self, code: str, *, broken: bool) -> None:
        """The caller is told an error; `broken` when that is inside a stream."""
        if broken:
            self._numbers.broken += 1
        else:
            self._metrics.refusal(code)

    def tokens(self, usage: Usage | None) -> None:
        """The answer stated its usage."""
        if usage is None:
            return
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        numbers, of = self._numbers, self._of
        numbers.prompt_tokens += prompt
        numbers.completion_tokens += completion
        if of is not None:
            of.prompt_tokens += prompt
            of.completion_tokens += completion
        tenant = self._tenant
        if tenant is not None:
            tenant.prompt_tokens += prompt
            tenant.completion_tokens += completion

    def over(self, status: int, code: str, now: float) -> None:
        """The request is over."""
        call, seconds = self._call, now - self.arrived
        self._numbers.request.observe(seconds)
        self._numbers.answered(call.surface.name, status)
        if self._tenant is not None:
            self._tenant.requests += 1
        self._metrics.recent.add(
            Story(
                key=call.caller.scope + self._request_id,
                surface=call.surface.name,
                model=call.served.name,
                replica=self.replica,
                status=status,
                code=code,
                streamed=call.stream,
                seconds=seconds,
                queued=self.queued,
                first_byte=self.first,
                tries=self.sent,
                continued=self.continued,
            )
        )
        if self._log is not None:
            self._write(self._log, status, code, now)

    def _write(self, log: AccessLog, status: int, code: str, now: float) -> None:
        call = self._call
        log.write(
            AccessLine(
                time=utc_now(),
                request_id=self._request_id.decode(),
                tenant=call.caller.tenant,
                key=call.caller.key,
                surface=call.surface.name,
                model=call.served.name,
                replica=self.replica,
                status=status,
                code=code,
                streamed=call.stream,
                seconds=round(now - self.arrived, 6),
                queued=round(self.queued, 6),
                first_byte=None if self.first is None else round(self.first, 6),
                tries=self.sent,
                continued=self.continued,
            )
        )
