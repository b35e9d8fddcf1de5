"""Tokens of prompts, counted by a replica of the model itself.

Done where a caller asks for the count, and where a prompt may be too long for its context: that
is then said with both numbers, before the prompt takes a place. Counting takes none.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Final

import msgspec

from plimsoll.facts.engines import Counter
from plimsoll.gateway.answers import TryFailed
from plimsoll.gateway.errors import Refused, too_long_for
from plimsoll.gateway.exchange import CLIENT_LEFT, Exchange
from plimsoll.gateway.http_request import Request
from plimsoll.gateway.one_try import Means
from plimsoll.gateway.record import Record
from plimsoll.gateway.reply import Client, Reply
from plimsoll.gateway.surfaces import Call
from plimsoll.gateway.token_question import Question, question_body
from plimsoll.policy.requests.types import Place, Reason, Ticket, Upstream
from plimsoll.policy.retry import Failure

_PATIENCE: Final = 10.0  # seconds for an engine to count; it has nothing to compute
_encode = msgspec.json.Encoder().encode


class Counted:
    """A request that waits for the count of its prompt; each kind says what is done with it.

    Its phases end in `_over`, where everything is given up.
    """

    def __init__(
        self, means: Means, client: Client, request: Request, request_id: bytes, call: Call
    ) -> None:
        self._means = means
        self._client = client
        self._request = request
        self._request_id = request_id
        self._call = call
        self._question: Question | None = None
        self._record = Record(means.metrics, means.log, call, request_id, monotonic())
        self._reply = Reply(client, request, request_id, call.surface.translation)

    def pause(self) -> None:
        """The client takes no more bytes for now; there are none before the count."""

    def resume(self) -> None:
        """The client takes bytes again."""

    def _ask(self, upstream: Upstream, counter: Counter, body: bytes) -> None:
        self._client.deadline = monotonic() + _PATIENCE
        self._question = Question(self._means, counter, upstream, self._told)
        self._question.ask(body, self._request, self._request_id)

    def _told(self, told: int | TryFailed) -> None:
        raise NotImplementedError

    def _drop_question(self) -> None:
        question, self._question = self._question, None
        if question is not None:
            question.drop()

    def _place(self, tried: tuple[Upstream, ...] = ()) -> Place | None:
        """The replica with the fewest requests, or None when none is ready."""
        places = self._means.board.places(self._call.served.name)
        untried = [place for place in places if place.upstream not in tried]
        return min(untried, key=lambda place: place.in_flight, default=None)


class TokenCount(Counted):
    """A caller's question for the tokens of a prompt.

    It asks one ready replica after another. Where none is ready it waits for one as any request
    does, which also wakes the model.
    """

    def __init__(
        self, means: Means, client: Client, request: Request, request_id: bytes, call: Call
    ) -> None:
        super().__init__(means, client, request, request_id, call)
        self._asked: tuple[Upstream, ...] = ()
        self._ticket: Ticket | None = None

    def begin(self) -> None:
        """Ask a ready replica, or wait for one."""
        place = self._place()
        if place is not None:
            self._ask_place(place)
            return
        call, now = self._call, self._record.arrived
        settings = self._means.settings
        hold = call.served.hold if call.served.hold is not None else settings.queue_wait
        self._ticket = Ticket(
            self,
            call.served.name,
            deadline=now + hold,
            request_id=call.caller.scope + self._request_id,
            tenant=call.caller.tenant,
            weight=call.caller.weight,
            priority=call.caller.priority,
            prompt=call.prompt,
            size=len(self._request.body),
        )
        self._client.deadline = inf
        self._means.board.arrive(self._ticket, now)

    def granted(self) -> None:
        """A replica is ready."""
        assert self._ticket is not None
        assert self._ticket.place is not None
        self._ask_place(self._ticket.place)

    def refused(self, reason: Reason, retry_after: float) -> None:
        """No replica was ready in time, or the model is gone."""
        if reason is Reason.WITHDRAWN:
            name = self._call.served.name
            self._refuse(
                Refused("model_not_found", f"`{name}` is no longer offered", param="model")
            )
            return
        code = "queue_full" if reason is Reason.QUEUE_FULL else "no_replica"
        self._refuse(Refused(code, "no replica was ready to count tokens"), retry_after)

    def _ask_place(self, place: Place) -> None:
        asking = question_body(self._call)
        if asking is None:
            name = self._call.served.name
            refused = Refused("not_supported", f"the engine of `{name}` does not count tokens")
            self._refuse(refused)
            return
        self._asked += (place.upstream,)
        self._record.replica = place.upstream.replica
        self._record.sent += 1
        self._ask(place.upstream, *asking)

    def _told(self, told: int | TryFailed) -> None:
        if isinstance(told, TryFailed):
            self._record.failed(told.failure)
            place = self._place(self._asked) if told.failure is not Failure.REFUSED else None
            if place is not None and len(self._asked) < self._means.settings.tries:
                self._record.retried(told.failure)
                self._ask_place(place)
            else:
                self._refuse(told.refused)
            return
        keep_alive = self._reply.whole(_encode({"input_tokens": told}))
        self._over(200, "")
        self._reply.done(keep_alive=keep_alive)

    def expire(self, now: float) -> None:
        """The engine did not answer."""
        self._drop_question()
        self._told(_silent())

    def cut(self, refused: Refused) -> None:
        """End it now with an error, because the gateway must."""
        self._refuse(refused)

    def cancel(self) -> None:
        """The caller has left."""
        self._record.cancelled("queued" if self._question is None else "waiting")
        self._over(CLIENT_LEFT, "cancelled")

    def _refuse(self, refused: Refused, retry_after: float = 0.0) -> None:
        self._record.refused(refused.code, broken=False)
        seconds = retry_after or self._means.settings.retry_after
        keep_alive = self._reply.error(refused, seconds)
        self._over(refused.status, refused.code)
        self._reply.done(keep_alive=keep_alive)

    def _over(self, status: int, code: str) -> None:
        now = monotonic()
        self._drop_question()
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            if status == 200:
                self._means.board.end(ticket, now)
            else:
                self._means.board.cancel(ticket, now)
        self._record.over(status, code, now)


class ContextCheck(Counted):
    """A request whose prompt may be too long for its model: counted, then refused or begun.

    What cannot be counted is begun all the same: its engine will know.
    """

    def __init__(
        self, means: Means, client: Client, request: Request, request_id: bytes, call: Call
    ) -> None:
        super().__init__(means, client, request, request_id, call)
        self._exchange: Exchange | None = None

    def begin(self) -> None:
        """Count the prompt."""
        place = self._place()
        asking = question_body(self._call) if place is not None else None
        if place is None or asking is None:
            self._go_on()
        else:
            self._ask(place.upstream, *asking)

    def _told(self, told: int | TryFailed) -> None:
        call = self._call
        self._drop_question()
        context = call.served.context
        answer = 0 if call.served.cuts_answers else call.answer // call.choices
        if isinstance(told, TryFailed) or told + max(answer, 1) <= context:
            self._go_on()
        else:
            self.cut(too_long_for(f"`{call.served.name}`", context, told, answer))

    def _go_on(self) -> None:
        exchange = Exchange(self._means, self._client, self._request, self._request_id, self._call)
        self._exchange = exchange
        exchange.begin()

    def pause(self) -> None:
        """The client takes no more bytes for now."""
        if self._exchange is not None:
            self._exchange.pause()

    def resume(self) -> None:
        """The client takes bytes again."""
        if self._exchange is not None:
            self._exchange.resume()

    def expire(self, now: float) -> None:
        """The client's deadline has passed."""
        if self._exchange is not None:
            self._exchange.expire(now)
        else:
            self._told(_silent())

    def cut(self, refused: Refused) -> None:
        """End it now with an error."""
        if self._exchange is not None:
            self._exchange.cut(refused)
            return
        self._record.refused(refused.code, broken=False)
        keep_alive = self._reply.error(refused, self._means.settings.retry_after)
        self._drop_question()
        self._record.over(refused.status, refused.code, monotonic())
        self._reply.done(keep_alive=keep_alive)

    def cancel(self) -> None:
        """The caller has left."""
        if self._exchange is not None:
            self._exchange.cancel()
            return
        self._drop_question()
        self._record.cancelled("queued")
        self._record.over(CLIENT_LEFT, "cancelled", monotonic())


def _silent() -> TryFailed:
    refused = Refused("upstream_timeout", "the engine did not count the tokens in time")
    return TryFailed(Failure.FIRST_BYTE, refused)


Work = Exchange | TokenCount | ContextCheck


def work_for(means: Means, client: Client, request: Request, request_id: bytes, call: Call) -> Work:
    """What answers a call."""
    if call.surface.counts:
        return TokenCount(means, client, request, request_id, call)
    if call.near:
        return ContextCheck(means, client, request, request_id, call)
    return Exchange(means, client, request, request_id, call)
