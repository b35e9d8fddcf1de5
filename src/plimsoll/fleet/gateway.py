"""The gateway: one door for every request, its limits, its memory and what it shows."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from plimsoll.fleet.credentials import Credential, SecretName
from plimsoll.fleet.fields import Items, Table
from plimsoll.fleet.kinds import Integer, Number, Text
from plimsoll.fleet.quantities import Count, Duration, Size

_HOST = r"[^\s:@/,]+(:[0-9]+)?"
STORE_SHAPE = rf"sqlite:[^\s]+|postgres(ql)?://([^\s:@/,]+@)?{_HOST}(,{_HOST})*/[^\s@]+"

Port = Annotated[int, Integer(minimum=0, maximum=65535)]
HostName = Annotated[
    str,
    Text(
        what="a host name",
        shape=r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?",
        hint="write it like `llm.example.com`",
        longest=253,
    ),
]
WebAddress = Annotated[
    str,
    Text(
        what="an address",
        shape=r"https?://[A-Za-z0-9.\[\]:-]+(/[^\s?#]*)?",
        hint="write `http://host:port`, without user, password or query",
        longest=512,
    ),
]
CounterAddress = Annotated[
    str,
    Text(
        what="an address of Redis or Valkey",
        shape=r"(redis|rediss|valkey|valkeys)://[A-Za-z0-9._\[\]:-]+(/[0-9]+)?",
        hint="write `redis://host:6379`; a password belongs in `countersPassword`",
        longest=512,
    ),
]


CacheAddress = Annotated[
    str,
    Text(
        what="an address of a cache",
        shape=r"sqlite:[^\s]+|(redis|rediss|valkey|valkeys)://[A-Za-z0-9._\[\]:-]+(/[0-9]+)?",
        hint="write `redis://host:6379` or `sqlite:path`",
        longest=512,
    ),
]


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's certificate.

    secret       Secret of type kubernetes.io/tls, in the cluster
    certificate  path of the certificate chain (PEM), on a machine
    key          path of its private key (PEM), on a machine
    """

    secret: SecretName | None = None
    certificate: Annotated[str, Text(what="a path", longest=1024)] | None = None
    key: Annotated[str, Text(what="a path", longest=1024)] | None = None


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """Where the gateway listens.

    host  address; by default this machine only, and every address in a cluster
    port  TCP port; 0 lets the system choose
    tls   certificate; plain HTTP when left out
    """

    host: (
        Annotated[
            str,
            Text(
                what="an address",
                shape=r"[A-Za-z0-9.:-]+",
                hint="write it like `0.0.0.0`",
                longest=253,
            ),
        ]
        | None
    ) = None
    port: Port = 8080
    tls: Tls | None = None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that wait for a replica; a full queue refuses at once.

    requests  most requests that wait
    bytes     most memory that their bodies take
    wait      longest wait
    """

    requests: Annotated[int, Count(minimum=0, maximum=10**6)] = 1000
    bytes: Annotated[int, Size(minimum=0, maximum=2**40)] = 64 * 2**20
    wait: Annotated[float, Duration(minimum=0, maximum=86400)] = 60.0


class RequestLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client connection may send; more is refused at once.

    body         bytes of a request body
    headers      bytes of all request headers together
    headerTime   from the first byte of a request to the end of its headers
    bodyTime     from the end of the headers to the end of the body
    idleTime     silence between requests on a kept connection
    connections  connections at once
    """

    body: Annotated[int, Size(minimum=1024, maximum=2**32)] = 16 * 2**20
    headers: Annotated[int, Size(minimum=1024, maximum=2**20)] = 32 * 2**10
    header_time: Annotated[float, Duration(minimum=0.1, maximum=3600)] = 10.0
    body_time: Annotated[float, Duration(minimum=0.1, maximum=3600)] = 30.0
    idle_time: Annotated[float, Duration(minimum=0.1, maximum=86400)] = 75.0
    connections: Annotated[int, Count(minimum=1, maximum=10**6)] = 10_000


class AnswerStore(msgspec.Struct, frozen=True, kw_only=True):
    """Where cached answers are kept, for models that have `cache`.

    size      most bytes
    address   Redis, Valkey or `sqlite:path`; in memory when left out
    password  where the password of `address` is
    """

    size: Annotated[int, Size(minimum=2**20, maximum=2**44)] = 256 * 2**20
    address: CacheAddress | None = None
    password: Credential | None = None


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway does when a replica fails under a request.

    attempts      tries in all, the first one included
    continuation  go on with a stream on another replica from where it broke off
    """

    attempts: Annotated[int, Integer(minimum=1, maximum=10)] = 3
    continuation: bool = True


class Tracing(msgspec.Struct, frozen=True, kw_only=True):
    """OpenTelemetry traces.

    endpoint  OTLP over HTTP
    sampling  share of requests traced, 0 to 1
    headers   headers for the collector, in the open
    """

    endpoint: WebAddress
    sampling: Annotated[float, Number(minimum=0, maximum=1)] = 0.01
    headers: Annotated[Table, Items(most=16)] = Table()


class Logs(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's log.

    level    least severity written
    format   `auto`: text on a terminal, else JSON
    prompts  also write prompts and answers; holds for traces too
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    prompts: bool = False


class Monitoring(msgspec.Struct, frozen=True, kw_only=True):
    """What is made for Prometheus and Grafana.

    prometheus  address of Prometheus, for KEDA and the HPA
    labels      labels by which Prometheus finds monitors and rules
    dashboards  make Grafana dashboards
    alerts      make alert rules
    """

    prometheus: WebAddress | None = None
    labels: Annotated[Table, Items(most=16)] = Table()
    dashboards: bool = True
    alerts: bool = True


class Ingress(msgspec.Struct, frozen=True, kw_only=True):
    """How callers outside the cluster reach the gateway.

    hosts      host names
    kind       Kubernetes object that is made
    class      ingress class, or name of the Gateway
    tlsSecret  Secret with the certificate
    """

    hosts: Annotated[tuple[HostName, ...], Items(most=16, least=1)]
    kind: Literal["Ingress", "HTTPRoute"] = "Ingress"
    class_: HostName | None = None
    tls_secret: SecretName | None = None


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """The one door for requests; its defaults serve a single machine.

    replicas          gateways (pods in a cluster)
    workers           processes of each, on one port; more than one where a core is not enough
    listen            where it listens
    access            `keys`: only callers with a key; `open`: anyone; `auto`: keys as soon as
                      there are tenants
    maxStream         longest answer; drain, grace periods and spot handling follow from it
    queue             requests that wait
    limits            what one connection may send
    retries           what happens when a replica fails
    store             accounts: `sqlite:path` or `postgresql://user@host/name`; SQLite in the
                      state folder when left out
    storePassword     where the password of `store` is
    counters          limits shared by gateway replicas: `redis://host:port`; in memory when left
                      out
    countersPassword  where the password of `counters` is
    cache             where cached answers are kept
    tracing           traces; none when left out
    logs              the log
    monitoring        what is made for Prometheus and Grafana
    ingress           how callers outside the cluster reach it
    console           serve the console
    networkPolicies   make NetworkPolicies: only the gateway reaches the engines
    """

    replicas: Annotated[int, Integer(minimum=1, maximum=1000)] = 1
    workers: Annotated[int, Integer(minimum=1, maximum=64)] = 1
    listen: Listen = Listen()
    access: Literal["auto", "open", "keys"] = "auto"
    max_stream: Annotated[float, Duration(minimum=1, maximum=86400)] = 600.0
    queue: Queue = Queue()
    limits: RequestLimits = RequestLimits()
    retries: Retries = Retries()
    store: (
        Annotated[
            str,
            Text(
                what="a store",
                shape=STORE_SHAPE,
                hint="write `sqlite:path` or `postgresql://user@host/name`; "
                "a password belongs in `storePassword`",
                longest=512,
            ),
        ]
        | None
    ) = None
    store_password: Credential | None = None
    counters: CounterAddress | None = None
    counters_password: Credential | None = None
    cache: AnswerStore = AnswerStore()
    tracing: Tracing | None = None
    logs: Logs = Logs()
    monitoring: Monitoring = Monitoring()
    ingress: Ingress | None = None
    console: bool = True
    network_policies: bool = True
