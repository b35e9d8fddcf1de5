"""Providers: other people's APIs that may take a request, and what they charge."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from plimsoll.fleet.credentials import Credential
from plimsoll.fleet.fields import Items, Name, Namespace, Table
from plimsoll.fleet.kinds import Number, Text
from plimsoll.fleet.quantities import Count, Duration
from plimsoll.fleet.tenants import Limits

Task = Literal["chat", "completion", "embedding"]
Region = Annotated[
    str,
    Text(
        what="a region",
        shape=r"[a-z0-9]([a-z0-9-]*[a-z0-9])?",
        hint="use small letters, digits and `-`, such as `eu` or `eu-west-1`",
        longest=63,
    ),
]
Dollars = Annotated[float, Number(minimum=0, maximum=1e6)]


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars per million tokens.

    input        tokens of the prompt
    cachedInput  tokens of the prompt that the provider had in its cache; by default as `input`
    output       tokens of the answer
    """

    input: Dollars
    cached_input: Dollars | None = None
    output: Dollars


class ProviderModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a provider serves.

    name       its name here: `provider/name` in fallbacks and tenants
    upstream   its name at the provider; by default the same
    task       what it is for
    context    tokens that one request may hold
    maxOutput  tokens that one answer may have
    prices     what it costs; unknown when left out, and then no budget can include it
    """

    name: Annotated[
        str,
        Text(
            what="a model name",
            shape=r"[A-Za-z0-9]([A-Za-z0-9._:/-]*[A-Za-z0-9])?",
            hint="use letters, digits, `.`, `_`, `:`, `/` and `-`",
            longest=128,
        ),
    ]
    upstream: Annotated[str, Text(what="a model name", shape=r"[^\s]+", longest=256)] | None = None
    task: Task = "chat"
    context: Annotated[int, Count(minimum=1, maximum=10**9)] | None = None
    max_output: Annotated[int, Count(minimum=1, maximum=10**9)] | None = None
    prices: Prices | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """An API outside the fleet; naming it here approves it.

    name       what fallbacks and tenants call it
    namespace  namespace of the Secret in `apiKey`; by default the fleet's
    protocol   how it is spoken to
    baseURL    address up to the version, such as `https://api.example.com/v1`
    apiKey     where the key is; callers never see it
    headers    further headers of every request, in the open
    region     where it handles data; what data residency looks at
    models     what it serves
    timeout    longest silence before a request has failed
    limits     what the fleet as a whole may ask of it
    """

    name: Name
    namespace: Namespace | None = None
    protocol: Literal["openai", "anthropic"]
    base_url: Annotated[
        str,
        Text(
            what="an address",
            shape=r"https?://[A-Za-z0-9.\[\]:-]+(/[^\s?#]*)?",
            hint="write `https://host/v1`, without user, password or query",
            longest=512,
        ),
    ]
    api_key: Credential | None = None
    headers: Annotated[Table, Items(most=16)] = Table()
    region: Region | None = None
    models: Annotated[tuple[ProviderModel, ...], Items(most=256, key="name")] = ()
    timeout: Annotated[float, Duration(minimum=0.1, maximum=3600)] = 60.0
    limits: Limits = Limits()
