"""A model as a product team wishes it: what it is, what is asked of it, how it may scale."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from plimsoll.fleet.credentials import Credential
from plimsoll.fleet.engines import (
    Adapter,
    CacheType,
    Draft,
    EngineName,
    EngineOptions,
    Parallelism,
    Quantization,
    Resources,
    Startup,
    Storage,
)
from plimsoll.fleet.fields import (
    Called,
    Derived,
    Items,
    Name,
    Namespace,
    Reference,
    Seconds,
    Sha256,
    SourceField,
    Table,
)
from plimsoll.fleet.kinds import Integer, Number, Text
from plimsoll.fleet.quantities import Auto, Count, Duration

Task = Literal["chat", "completion", "embedding"]
Sharing = Literal["none", "mig", "timeSlicing", "mps", "dra"]
Isolation = Literal["shared", "strict"]

Tokens = Annotated[int, Count(minimum=1, maximum=10**9)]
Replicas = Annotated[int, Integer(minimum=0, maximum=10_000)]
Cron = Annotated[
    str,
    Text(
        what="a cron expression",
        shape=r"[0-9*/,-]+( [0-9A-Za-z*/,-]+){4}",
        hint='five fields: minute, hour, day, month, weekday, such as "0 8 * * 1-5"',
        longest=100,
    ),
]


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """The load that is expected; the plan and the simulator size for it.

    requestsPerSecond   requests per second, on average
    promptTokens        tokens of a prompt, on average
    outputTokens        tokens of an answer, on average
    sharedPrefixTokens  leading tokens that most prompts have in common (a system prompt)
    peakFactor          busiest minute over the average
    """

    requests_per_second: Annotated[float, Number(minimum=0, maximum=1e6, above=True)]
    prompt_tokens: Tokens
    output_tokens: Tokens
    shared_prefix_tokens: Annotated[int, Count(minimum=0, maximum=10**9)] = 0
    peak_factor: Annotated[float, Number(minimum=1, maximum=1000)] = 1.0


class Objectives(msgspec.Struct, frozen=True, kw_only=True):
    """What callers may expect, at a percentile of requests.

    ttft        time to first token
    tpot        time per output token after the first
    endToEnd    time of the whole answer
    percentile  share of requests, in percent, for which the times hold
    """

    ttft: Seconds | None = None
    tpot: Seconds | None = None
    end_to_end: Seconds | None = None
    percentile: Annotated[float, Number(minimum=1, maximum=99.99)] = 95.0


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where replicas may run.

    pools       names of pools, the preferred first; empty: any pool that fits
    sharing     how an accelerator is shared with other replicas
    isolation   `strict`: never on an accelerator that another tenant uses
    migProfile  MIG profile such as `3g.40gb`; by default the smallest that fits
    spread      keep replicas apart: on different nodes, in different zones, or not
    """

    pools: Annotated[tuple[Name, ...], Items(most=32)] = ()
    sharing: Sharing = "none"
    isolation: Isolation = "shared"
    mig_profile: (
        Annotated[
            str,
            Text(
                what="a MIG profile",
                shape=r"[1-9]g\.[1-9][0-9]*gb(\+me(\.all)?)?",
                hint="write it like `3g.40gb`",
                longest=20,
            ),
        ]
        | None
    ) = None
    spread: Literal["none", "node", "zone"] = "none"


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Other bounds for the number of replicas during part of the week.

    name      unique among the model's schedules
    start     cron expression of the beginning
    end       cron expression of the end
    timezone  name in the IANA time zone database
    min       fewest replicas meanwhile
    max       most replicas meanwhile; by default the model's own
    """

    name: Name
    start: Cron
    end: Cron
    timezone: Annotated[
        str,
        Text(
            what="a time zone",
            shape=r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*",
            hint="write it like `Europe/Dublin`",
            longest=64,
        ),
    ] = "UTC"
    min: Replicas
    max: Annotated[int, Integer(minimum=1, maximum=10_000)] | None = None


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas there are, and when that changes.

    min            fewest replicas; 0 stops an idle model, its next request waits for a start
    max            most replicas
    policy         the signal that decides: `plimsoll` (predictive, knows cold starts), waiting
                   requests, KV cache in use, or requests in flight
    driver         who carries it out in a cluster: Plimsoll's operator, KEDA or the plain HPA
    target         what one replica should carry, in the policy's own measure: waiting requests,
                   share of the KV cache (0 to 1), requests in flight; by default from the plan
    cooldown       how long a model with `min: 0` must have had no request before its last replica
                   is stopped
    stabilization  how long fewer replicas must have been enough before the number goes down
    warm           ready replicas kept beyond those that the load needs
    whenBlind      replicas while the signal cannot be read; by default as many as there are
    schedules      other bounds at certain times
    """

    min: Replicas = 1
    max: Annotated[
        int, Integer(minimum=1, maximum=10_000), Derived(words="the larger of 1 and `min`")
    ] = 0
    policy: Literal["plimsoll", "queueDepth", "kvCache", "concurrency"] = "plimsoll"
    driver: Literal["auto", "operator", "keda", "hpa"] = "auto"
    target: Annotated[float, Number(minimum=0, maximum=1e6, above=True)] | None = None
    cooldown: Annotated[float, Duration(minimum=0, maximum=7 * 86400)] = 300.0
    stabilization: Annotated[float, Duration(minimum=0, maximum=3600)] = 60.0
    warm: Replicas = 0
    when_blind: Replicas | None = None
    schedules: Annotated[tuple[Schedule, ...], Items(most=16, key="name")] = ()

    def __post_init__(self) -> None:
        if self.max == 0:
            msgspec.structs.force_setattr(self, "max", max(1, self.min))


class ResponseCache(msgspec.Struct, frozen=True, kw_only=True):
    """Answers kept for equal requests.

    responses  how long an answer is kept; not kept when left out
    perTenant  a tenant sees only answers to its own requests
    """

    responses: Seconds | None = None
    per_tenant: bool = True


class Affinity(msgspec.Struct, frozen=True, kw_only=True):
    """Which replica a request prefers, so that it finds its KV cache there.

    by      `prefix`: the beginning of the prompt; `session`: a header; `tenant`: the caller's
            tenant; `none`: only the load counts
    header  header that names the session, for `session`
    ttl     how long a session is remembered after its last request
    """

    by: Literal["none", "prefix", "session", "tenant"] = "prefix"
    header: Annotated[
        str,
        Text(
            what="a header name",
            shape=r"[A-Za-z0-9][A-Za-z0-9-]*",
            hint="write it like `x-session-id`",
            longest=64,
        ),
    ] = "x-session-id"
    ttl: Seconds = 600.0


class WorkQueue(msgspec.Struct, frozen=True, kw_only=True):
    """A message broker whose backlog is work for the model.

    type         kind of broker
    address      `host:port` or URL of the broker
    queue        queue, topic, stream or subscription
    credentials  where the broker's password or token is
    """

    type: Literal["kafka", "rabbitmq", "redis", "nats", "sqs", "pubsub", "servicebus"]
    address: Annotated[
        str,
        Text(
            what="an address", shape=r"[^\s@]+", hint="write `host:port`, no password", longest=512
        ),
    ]
    queue: Annotated[str, Text(what="a queue", shape=r"[^\s]+", longest=256)]
    credentials: Credential | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Work without a waiting caller: the Batch API and work queues.

    window    how long a batch may take
    capacity  nodes that batch work prefers
    backlog   waiting items per replica that scaling aims at
    queue     a broker to take work from, beside the Batch API
    """

    window: Annotated[float, Duration(minimum=60, maximum=30 * 86400)] = 86400.0
    capacity: Literal["any", "spot", "onDemand"] = "spot"
    backlog: Annotated[int, Count(minimum=1, maximum=10**6)] = 100
    queue: WorkQueue | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that callers can name.

    name           what callers put in `model`
    aliases        further names; several models may share one when each has a `weight`
    weight         share of the requests to an alias that this model has in common with others
    tier           a word such as `fast` or `powerful`; a request for that word goes to any model
                   of the tier
    namespace      namespace in which replicas run; by default the fleet's
    source         where the weights come from
    baseModel      well-known model of the same shape, such as `meta-llama/Llama-3.1-8B`, to plan
                   with where the weights cannot be read (a fine-tune in a volume or an image)
    sha256         checksum of a single-file source; a download that differs is refused
    credentials    where the token for the source is
    task           what it is for
    engine         program that runs it; `auto` chooses by weights and hardware
    engineOptions  what to say to the engine beside what the plan derives
    quantization   weight format; `none` keeps the source's own, `auto` lets the plan choose
    kvCacheType    element type of the KV cache
    context        tokens that one request may hold, prompt and answer together; `auto`: the plan
                   chooses, from what the model was trained for and from memory
    concurrency    requests that one replica works on at once; `auto`: from memory and objectives
    batchTokens    tokens per engine step; `auto`: from the objectives
    parallelism    how a replica is split over accelerators
    resources      processor, memory and disk of a replica
    draft          speculative decoding
    adapters       LoRA adapters served beside it
    traffic        expected load
    objectives     latencies that callers may expect
    placement      where replicas may run
    scaling        how many replicas
    startup        how long a start may take
    storage        where the weights lie in the cluster
    affinity       which replica a request prefers
    cache          answers kept for equal requests
    batch          work without a waiting caller; refused when left out
    fallbacks      models, or `provider/model`, that take a request when this one cannot
    labels         labels put on everything that is made for the model
    """

    name: Called
    aliases: Annotated[tuple[Called, ...], Items(most=32)] = ()
    weight: Annotated[int, Integer(minimum=0, maximum=1000)] | None = None
    tier: Called | None = None
    namespace: Namespace | None = None
    source: SourceField
    base_model: (
        Annotated[
            str,
            Text(
                what="a model",
                shape=r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)?",
                hint="write it like `meta-llama/Llama-3.1-8B`",
                longest=200,
            ),
        ]
        | None
    ) = None
    sha256: Sha256 | None = None
    credentials: Credential | None = None
    task: Task = "chat"
    engine: EngineName = "auto"
    engine_options: EngineOptions = EngineOptions()
    quantization: Quantization = "auto"
    kv_cache_type: CacheType = "auto"
    context: Annotated[int | None, Auto(of=Count(minimum=16, maximum=10**8))] = None
    concurrency: Annotated[int | None, Auto(of=Integer(minimum=1, maximum=65_536))] = None
    batch_tokens: Annotated[int | None, Auto(of=Count(minimum=1, maximum=10**7))] = None
    parallelism: Parallelism = Parallelism()
    resources: Resources = Resources()
    draft: Draft | None = None
    adapters: Annotated[tuple[Adapter, ...], Items(most=64, key="name")] = ()
    traffic: Traffic | None = None
    objectives: Objectives = Objectives()
    placement: Placement = Placement()
    scaling: Scaling = Scaling()
    startup: Startup = Startup()
    storage: Storage = Storage()
    affinity: Affinity = Affinity()
    cache: ResponseCache = ResponseCache()
    batch: Batch | None = None
    fallbacks: Annotated[tuple[Reference, ...], Items(most=16)] = ()
    labels: Annotated[Table, Items(most=32)] = Table()
