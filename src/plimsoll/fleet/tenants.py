"""Tenants: who may call which models, how much, and where their data may go."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from plimsoll.fleet.credentials import Credential
from plimsoll.fleet.fields import REFERENCE_SHAPE, Items, Name, Namespace
from plimsoll.fleet.kinds import Integer, Number, Text
from plimsoll.fleet.quantities import Count

Allowed = Annotated[
    str,
    Text(
        what="a model, `provider/model`, `provider/*` or `*`",
        shape=rf"\*|{REFERENCE_SHAPE}|[a-z0-9]([a-z0-9-]*[a-z0-9])?/\*",
        hint="name a model, or write `provider/model`, `provider/*` or `*`",
        longest=256,
    ),
]
Limit = Annotated[int, Count(minimum=1, maximum=10**12)]


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Money that may be spent.

    usd  US dollars
    per  period after which it starts again, by the calendar in UTC
    """

    usd: Annotated[float, Number(minimum=0, maximum=1e9)]
    per: Literal["day", "week", "month", "forever"] = "month"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be asked; unlimited where left out.

    requestsPerMinute  requests that may begin in a minute
    tokensPerMinute    prompt and answer tokens in a minute
    concurrency        requests at once
    promptTokens       tokens of one prompt
    outputTokens       tokens of one answer
    gpus               accelerators that replicas in the tenant's own namespace may hold
    budget             money
    """

    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    concurrency: Annotated[int, Count(minimum=1, maximum=10**6)] | None = None
    prompt_tokens: Limit | None = None
    output_tokens: Limit | None = None
    gpus: Annotated[int, Integer(minimum=0, maximum=100_000)] | None = None
    budget: Budget | None = None


class Residency(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tenant's data may go; holds over route, fallback, retry, cache, logs and traces.

    allow  `cluster`, names of providers, and regions of providers or pools; nothing else is used
    """

    allow: Annotated[
        tuple[
            Annotated[
                str,
                Text(
                    what="`cluster`, a provider or a region",
                    shape=r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?",
                    hint="write `cluster`, the name of a provider, or a region",
                    longest=63,
                ),
            ],
            ...,
        ],
        Items(most=64, least=1),
    ]


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual key; the key itself is never in the file.

    name     what usage and logs call it
    sha256   SHA-256 sum of the key
    from     where the key is, instead of `sha256`
    models   models it may call; those of the tenant when empty
    limits   its own limits, beside those of the tenant
    expires  day after whose end (UTC) it is refused, `YYYY-MM-DD`
    """

    name: Name
    sha256: (
        Annotated[
            str,
            Text(
                what="a SHA-256 sum",
                shape=r"[0-9a-f]{64}",
                hint="64 hexadecimal digits; the key itself never stands in the file",
                longest=64,
                hidden=True,
            ),
        ]
        | None
    ) = None
    from_: Credential | None = None
    models: Annotated[tuple[Allowed, ...], Items(most=256)] = ()
    limits: Limits = Limits()
    expires: (
        Annotated[
            str,
            Text(
                what="a day",
                shape=r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
                hint="write it like `2027-06-30`",
                longest=10,
            ),
        ]
        | None
    ) = None


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A team or customer with its own keys, limits and walls.

    name       what usage and logs call it
    namespace  namespace of its own; none when left out
    models     what it may call; `*` is every model of the fleet, no provider
    keys       its virtual keys
    limits     how much it may ask
    residency  where its data may go; anywhere when left out
    pools      pools on which its requests may run; any when empty
    isolation  `strict`: its requests share no accelerator with another tenant's
    priority   who goes first when requests wait; higher first
    weight     share among tenants of the same priority
    """

    name: Name
    namespace: Namespace | None = None
    models: Annotated[tuple[Allowed, ...], Items(most=256)] = ("*",)
    keys: Annotated[tuple[Key, ...], Items(most=256, key="name")] = ()
    limits: Limits = Limits()
    residency: Residency | None = None
    pools: Annotated[tuple[Name, ...], Items(most=32)] = ()
    isolation: Literal["shared", "strict"] = "shared"
    priority: Annotated[int, Integer(minimum=-1000, maximum=1000)] = 0
    weight: Annotated[int, Integer(minimum=1, maximum=1000)] = 1
