"""What the state machine of requests works on: models, replicas, tickets, places, instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from plimsoll.facts.engines import Counter
from plimsoll.policy.route import Report, limit, others

Affinity = Literal["none", "prefix", "session", "tenant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One ready replica.

    replica   its name, unique in the world
    host      address it listens on; empty in a simulation
    port      port it listens on
    capacity  requests it works on at once; may change while it stays the same replica
    gateways  that send it requests, this one included; may change too
    """

    replica: str
    host: str
    port: int
    capacity: int = field(compare=False)
    gateways: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One model that is offered.

    name             as callers name it
    aliases          other names for it; several models may share one
    tier             a word that stands for any model of the tier; empty: none
    weight           share of the requests to a shared name; None: 1
    adapters         names of adapters that the same replicas serve
    task             chat | completion | embedding
    context          tokens one request may hold
    fallbacks        models that take a request which this one cannot, in their order
    hold             seconds that a request waits while no replica is ready; None: as for any
                     other wait
    affinity         which replica a request prefers, so that it finds its KV cache there
    affinity_header  lower-case header that names the session, for `session`
    affinity_ttl     seconds that a session is remembered after its last request
    prefill_rate     tokens of a prompt that a replica reads per second; None: not known before
                     it is observed
    kv_tokens        tokens that the KV cache of a replica holds; None: not known
    assemble         whether whole answers are read from the engine as a stream, because it
                     notices a caller that left only when it writes
    stream_fields    fields added to every streamed request, so that the engine writes while it
                     reads the prompt; what it writes then is not passed on
    continues        whether an answer that broke off can be continued elsewhere
    continue_fields  fields added to a chat whose last message is to be continued; empty: the
                     engine does so by itself
    completion_tokens  tokens of a completion that names no limit; 0: as many as fit
    renamed_fields   request field that the engine would silently ignore -> the one it knows now,
                     with a dot before one inside an object; empty: it has none
    cuts_answers     whether the engine cuts an answer off where its context ends, however many
                     tokens were asked for; else it refuses to begin
    chat_counter     how the engine counts the tokens of a chat; None: it cannot
    text_counter     how it counts those of a text, or cuts a text into them; None: it cannot
    """

    name: str
    aliases: tuple[str, ...] = ()
    tier: str = ""
    weight: int | None = None
    adapters: tuple[str, ...] = ()
    task: str
    context: int
    fallbacks: tuple[str, ...] = ()
    hold: float | None = None
    affinity: Affinity = "prefix"
    affinity_header: str = "x-session-id"
    affinity_ttl: float = 600.0
    prefill_rate: float | None = None
    kv_tokens: int | None = None
    assemble: bool = False
    stream_fields: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    continues: bool = False
    continue_fields: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    completion_tokens: int = 0
    renamed_fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cuts_answers: bool = False
    chat_counter: Counter | None = None
    text_counter: Counter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait per model: requests, and bytes of their bodies."""

    requests: int
    bytes: int


class Place:
    """One replica of one model as the machine counts it.

    capacity   requests it works on at once, whoever sends them
    in_flight  tickets that hold a place here
    others     requests of others here, as far as it was told
    limit      tickets that may hold a place here
    prefill    uncached prompt tokens of tickets here whose answer has not begun
    context    tokens that tickets here hold: prompt, and answer so far
    kv_usage   share of its KV cache in use as it said last, 0..1; None: not known
    suspect    no new work before this time, or 0.0
    routing    what the model's router keeps about it; nobody else reads it
    """

    __slots__ = (
        "_gateways", "_report", "capacity", "context", "in_flight", "kv_usage", "limit", "others",
        "prefill", "routing", "suspect", "upstream",
    )  # fmt: skip

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.in_flight = 0
        self.prefill = 0
        self.context = 0
        self.kv_usage: float | None = None
        self.suspect = 0.0
        self.routing: object = None
        self._report: Report | None = None
        self.describe(upstream)

    def describe(self, upstream: Upstream) -> None:
        """Take another capacity, or number of gateways, of the same replica."""
        self.capacity = upstream.capacity
        self._gateways = upstream.gateways
        self._weigh()

    def told(self, requests: int | None, own: int, kv_usage: float | None = None) -> None:
        """It says that it has so many requests, whoever sent them; None: nobody knows.

        own       it had from here when it was asked
        kv_usage  share of its KV cache in use
        """
        before, self._report = self._report, None
        if requests is not None:
            last = before.requests if before is not None else requests
            own = max(own, self.in_flight)
            self._report = Report(requests=requests, own=own, before=last)
        self.kv_usage = kv_usage
        self._weigh()

    def _weigh(self) -> None:
        self.others = others(self._report)
        self.limit = limit(self.capacity, self._gateways, self._report)


class Reason(StrEnum):
    """Why a request is given up."""

    QUEUE_FULL = "queue-full"  # too many wait for its model
    NO_REPLICA = "no-replica"  # its longest wait passed
    WITHDRAWN = "withdrawn"  # its model is no longer offered
    GIVE_UP = "give-up"  # a try failed, and policy has no other


class Do(StrEnum):
    """What an instruction asks for."""

    START = "start"  # send the ticket's request to `ticket.place`
    REFUSE = "refuse"  # tell its caller why not; the ticket is over
    WAKE = "wake"  # somebody waits for a model without replicas


class Ticket:
    """One request's claim on one model: it waits, or holds a place, or is over.

    What whoever runs the machine says:
    owner        who is told; the machine only hands it back
    request_id   under which its routing can be explained
    model        the model that it asks for, resolved; the machine sets a fallback's name here
    tenant       whose share it takes; empty where there are no tenants
    weight       share among tenants of the same priority
    priority     who goes first; higher first
    prompt       tokens of its prompt, as far as anybody knows
    answer       tokens that its answer may have at most, 0: unknown
    size         bytes that wait with it
    deadline     seconds of the machine's clock after which it is not worth beginning
    blocks       chained hashes of its prompt's beginning, a whole block each, the first one first
    session      what names its conversation or tenant for affinity; empty: nothing does
    fallbacks    models still to be tried, in their order

    What the machine says:
    place        where it holds a place, else None
    tried        places where an earlier try failed
    cached       prompt tokens that its place is believed to hold already
    tokens       tokens of the answer so far
    began        whether the answer has begun
    over         whether it ended, in any way
    line         the machine's own: where it waits, and what it was charged
    """

    __slots__ = (
        "answer", "began", "blocks", "cached", "deadline", "fallbacks", "line", "model", "over",
        "owner", "place", "priority", "prompt", "request_id", "session", "size", "tenant", "tokens",
        "tried", "weight",
    )  # fmt: skip

    def __init__(
        self,
        owner: Any,
        model: str,
        *,
        deadline: float,
        request_id: str | bytes = "",
        tenant: str = "",
        weight: int = 1,
        priority: int = 0,
        prompt: int = 0,
        answer: int = 0,
        size: int = 0,
        blocks: Sequence[int] = (),
        session: str = "",
        fallbacks: tuple[str, ...] = (),
    ) -> None:
        self.owner = owner
        self.model = model
        self.deadline = deadline
        self.request_id = request_id
        self.tenant = tenant
        self.weight = weight
        self.priority = priority
        self.prompt = prompt
        self.answer = answer
        self.size = size
        self.blocks = blocks
        self.session = session
        self.fallbacks = fallbacks
        self.place: Place | None = None
        self.tried: tuple[Place, ...] = ()
        self.cached = 0
        self.tokens = 0
        self.began = False
        self.over = False
        self.line: object = None


class Instruction(NamedTuple):
    """One thing to be done by whoever runs the machine.

    do           what
    ticket       for which request
    reason       of a refusal
    retry_after  seconds after which it may be worth asking again; 0: no word
    model        to be woken; the ticket may wait for another meanwhile
    """

    do: Do
    ticket: Ticket
    reason: Reason | None = None
    retry_after: float = 0.0
    model: str = ""


Instructions = Sequence[Instruction]
NOTHING: Instructions = ()
