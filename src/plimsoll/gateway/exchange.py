"""One request for a model, from its whole body to the end of its answer.

It waits for a place, tries a replica, relays the answer, and tries again where policy says so.
It owns its ticket and its upstream connection and gives both up in one place, `_over`.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from time import monotonic
from typing import Final

from msgspec import structs

from plimsoll.gateway.answers import (
    Answer,
    AssembledAnswer,
    CountAnswer,
    StreamedAnswer,
    TryFailed,
    answer_to,
    body_for_engine,
    garbage,
)
from plimsoll.gateway.bodies import too_deep
from plimsoll.gateway.carrying import Carrying
from plimsoll.gateway.continuation_splice import DivergedError
from plimsoll.gateway.engine_json import Usage
from plimsoll.gateway.errors import Refused
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.one_try import Means
from plimsoll.gateway.record import Record
from plimsoll.gateway.reply import Client, Reply
from plimsoll.gateway.resuming import Resuming
from plimsoll.gateway.surfaces import Call, fitted
from plimsoll.gateway.upstream import Head
from plimsoll.policy.requests.types import Reason, Ticket, Upstream
from plimsoll.policy.retry import MOST_BREAKS, Failure
from plimsoll.units import duration

_MOST_TOKENS: Final = 1 << 24  # of an answer that an engine is believed
CLIENT_LEFT: Final = 499
"""Status in metrics and logs of a request whose caller left; never sent."""


class Exchange(Resuming):
    """See the module's docstring."""

    def __init__(
        self, means: Means, client: Client, request: Request, request_id: bytes, call: Call
    ) -> None:
        super().__init__(means, client, request, request_id)
        # Not on the class: compiled, an attribute of a type that is not would have no value.
        self._answer = None
        self._last = None
        self._call = call
        self._path = call.surface.engine_path
        self._asked = request.body
        self._reply = Reply(client, request, request_id, call.surface.translation)
        self._record = Record(means.metrics, means.log, call, request_id, monotonic())
        caller = call.caller
        self._ticket = Ticket(
            self,
            call.served.name,
            deadline=self._record.arrived + self._patience(),
            request_id=caller.scope + request_id,
            tenant=caller.tenant,
            weight=caller.weight,
            priority=caller.priority,
            prompt=call.prompt,
            answer=call.answer,
            size=len(request.body),
            blocks=call.blocks,
            session=call.session,
            fallbacks=caller.among(call.served.fallbacks),
        )

    def begin(self) -> None:
        """Ask for a place."""
        try:
            self._fit()
        except Refused as refused:
            self._refuse(refused)
            return
        self._client.deadline = inf  # the machine ends a wait that is too long
        self._means.board.arrive(self._ticket, self._record.arrived)

    def _fit(self) -> None:
        """Write the body for the engine. Raises Refused."""
        try:
            self._asked = fitted(self._call)
            self._body = body_for_engine(self._call, self._asked)
        except RecursionError as error:
            raise too_deep() from error

    def _patience(self) -> float:
        served, board = self._call.served, self._means.board
        if served.hold is None or board.places(served.name):
            return self._means.settings.queue_wait
        return served.hold

    # What follows is told by the board.

    def granted(self) -> None:
        """A place is ours."""
        place = self._ticket.place
        assert place is not None
        if self._ticket.model != self._call.served.name:
            try:
                self._fall_back(self._ticket.model)
            except Refused as refused:  # its engine has no word for a field of the request
                self._refuse(refused)
                return
        now = monotonic()
        self._record.granted(place.upstream.replica, now)
        self._go(place.upstream, now)

    def _fall_back(self, model: str) -> None:
        """Another model answers."""
        call, served = self._call, self._means.board.served(model)
        assert served is not None
        self._call = structs.replace(call, served=served, named=call.named or call.served.name)
        self._record.moved(self._call)
        self._fit()

    def refused(self, reason: Reason, retry_after: float) -> None:
        """There is no place for it, or no other try."""
        self._refuse(self._in_words(reason), retry_after)

    def _in_words(self, reason: Reason) -> Refused:
        name = self._call.served.name
        if reason is Reason.WITHDRAWN:
            return Refused("model_not_found", f"`{name}` is no longer offered", param="model")
        if reason is Reason.QUEUE_FULL:
            return Refused(
                "queue_full", f"too many requests wait for `{name}`", hint="try again later"
            )
        if reason is Reason.GIVE_UP and self._last is not None:
            return self._last
        waited = duration(monotonic() - self._record.since)
        return Refused("no_replica", f"no replica was free in {waited}")

    def _sends(self) -> None:
        self._record.sent += 1

    # What follows is told by the upstream connection.

    def upstream_head(self, head: Head) -> None:
        """The replica's headers are whole."""
        if self._counting:
            self._answer = CountAnswer(head, self._means.settings)
            return
        try:
            self._answer = answer_to(head, self._call, self._asked, self._means.settings)
        except TryFailed as failed:
            self._try_failed(failed)

    def upstream_data(self, data: bytes) -> None:
        """More of the replica's answer."""
        assert self._answer is not None
        try:
            out = self._answer.data(data)
        except TryFailed as failed:
            self._try_failed(failed)
            return
        if self._counting:
            return
        now, means = monotonic(), self._means
        if self.phase == "waiting":
            self.phase = "answering"
            means.board.machine.began(self._ticket, now)
        means.board.machine.chunk(self._ticket, 1)
        self._record.read(now)
        if out and not self._relay(out, now):
            return
        settings = means.settings
        patience = settings.write_seconds if self._client.paused else settings.between_seconds
        deadline, end = now + patience, self._end
        self._client.deadline = deadline if deadline < end else end  # noqa: FURB136 -- every read

    def _relay(self, events: bytes, now: float) -> bool:
        """Send events on; False when the try failed by them."""
        carrying = self._carrying
        if not self._answering:
            self._answering = True
            if self._means.settings.continuation:
                carrying = self._carrying = Carrying(
                    self._body, self._call.served, self._means.kept
                )
        if carrying is not None:
            if carrying.splicing:
                try:
                    events = carrying.spliced(events)
                except DivergedError:
                    self._rejoin()
                    return False
                except ValueError:
                    self._answer = None  # whatever it says of its end
                    self._try_failed(garbage("the engine's stream has events of no known shape"))
                    return False
                if not events:
                    self._tries = 0  # it says again what the caller has
                    return True
            carrying.keep(events)
        self._tries = 0
        begun = self._reply.begun
        if not self._say(events):
            return False
        if not begun and self._reply.begun:
            self._record.began(now)
        return True

    def _say(self, events: bytes) -> bool:
        """Have the caller get events; False when that ended the exchange."""
        try:
            self._reply.events(events)
        except ValueError:
            self._refuse(Refused("bad_answer", "the engine's stream cannot be translated"))
            return False
        return True

    def upstream_done(self) -> None:
        """The replica's answer is whole, and its connection given back."""
        self._connection = None
        assert self._answer is not None
        try:
            body = self._answer.end()
        except TryFailed as failed:
            self._try_failed(failed)
            return
        if self._counting:
            self._counted(body)
        elif self._call.stream:
            self._streamed(self._answer.usage)
        else:
            self._whole(body, self._answer.usage)

    def _streamed(self, usage: Usage | None) -> None:
        """The stream is whole."""
        carrying = self._carrying
        self._settle((carrying and carrying.usage) or usage)
        self._end_stream(code="")

    # What follows ends a try or the exchange.

    def _try_failed(self, failed: TryFailed) -> None:
        self._failed(failed.failure, failed.refused)

    def _failed(self, failure: Failure, refused: Refused) -> None:
        """A try failed: another one, or tell the caller."""
        self._drop_connection()
        answer, self._answer = self._answer, None
        if isinstance(answer, StreamedAnswer) and answer.done:  # it broke off behind its end
            answer.end()
            self._streamed(answer.usage)
            return
        self._record.failed(failure)
        ticket = self._ticket
        now = monotonic()
        if failure is Failure.STALE and ticket.place is not None:
            self._again(ticket.place.upstream)
            return
        self._whole_failed(failure, answer)
        self._last = refused
        resumable = False
        reached = failure is not Failure.CONNECT
        went_on = self._answering and reached and not self._tries and not self._counting
        if self._answering:
            if failure is Failure.REFUSED and self._carrying and self._carrying.retreats():
                self._rejoin()
                return
            resumable = self._resumes(refused, reached=reached)
            if self.phase == "over":
                return
            ticket.fallbacks = ()  # another model would tell another story
        self._record.since = now
        self.phase = "queued"
        self._client.deadline = inf
        if reached:  # it may wait anew
            ticket.deadline = now + self._patience()
            if self._answering:
                ticket.deadline = min(ticket.deadline, self._end)
        self._means.board.failed(
            ticket, failure, now, sent=self._tries, answering=self._answering, resumable=resumable
        )
        if self.phase != "over":
            self._record.retried(failure)
            if resumable and went_on:
                self._record.broke_off()

    def _whole_failed(self, failure: Failure, answer: Answer | None) -> None:
        """A try at an answer that is not streamed failed: it does not count if it was answering,
        as for a stream, for then its replica went. Lost twice, it is read as a stream, so that
        this is seen.
        """
        call = self._call
        if isinstance(answer, AssembledAnswer):
            if answer.begun and self._record.sent < MOST_BREAKS:
                self._tries = 0
            return
        lost_again = failure is Failure.LOST and self._tries > 1
        if lost_again and call.surface.streams and not (call.stream or call.served.assemble):
            self._call = structs.replace(call, served=replace(call.served, assemble=True))
            self._body = body_for_engine(self._call, self._asked)

    def _again(self, upstream: Upstream) -> None:
        """A kept connection was closed: the same on a new one, as if nothing had been sent."""
        self._record.retried(Failure.STALE)
        if not self._counting:
            self._record.sent -= 1
            self._tries -= 1
        self._open(upstream)

    def cut(self, refused: Refused) -> None:
        """End it now with an error, because the gateway must."""
        self._refuse(refused)

    def cancel(self) -> None:
        """The caller has left: stop the work at once, wherever it is."""
        if self.phase == "over":
            return
        self._record.cancelled(self.phase)
        self._over(CLIENT_LEFT, "cancelled")

    def _refuse(self, refused: Refused, retry_after: float = 0.0) -> None:
        reply = self._reply
        self._record.refused(refused.code, broken=reply.begun)
        if reply.begun:
            reply.fail(refused)
            self._end_stream(code=refused.code)
            return
        keep_alive = reply.error(refused, retry_after or self._means.settings.retry_after)
        self._over(refused.status, refused.code)
        reply.done(keep_alive=keep_alive)

    def _whole(self, body: bytes, usage: Usage | None) -> None:
        try:
            keep_alive = self._reply.whole(body)
        except ValueError:
            self._try_failed(garbage("the engine's answer cannot be translated"))
            return
        self._settle(usage)
        self._over(200, "")
        self._reply.done(keep_alive=keep_alive)

    def _settle(self, usage: Usage | None) -> None:
        """The answer may have stated its tokens. A read brings one or many, so that the caller's
        share would be charged too little without them.
        """
        self._record.tokens(usage)
        if usage is not None:
            uncounted = min(usage.completion_tokens, _MOST_TOKENS) - self._ticket.tokens
            if uncounted > 0:
                self._means.board.machine.chunk(self._ticket, uncounted)

    def _end_stream(self, *, code: str) -> None:
        self._reply.last()
        self._over(200, code)
        self._reply.done_streaming()

    def _over(self, status: int, code: str) -> None:
        """Release everything, and count and log what it was."""
        self.phase = "over"
        now = monotonic()
        self._drop_connection()
        if self._carrying is not None:
            self._carrying.release()
        if status == 200 and not code:
            self._means.board.end(self._ticket, now)
        else:
            self._means.board.cancel(self._ticket, now)
        self._record.over(status, code, now)
        self._ticket.owner = None  # else both wait for the garbage collector, with their body
