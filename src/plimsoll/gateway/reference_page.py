"""The reference page of the gateway, made from its tables of paths, errors and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import Field, fields

from plimsoll.gateway.errors import TABLE
from plimsoll.gateway.exchange import CLIENT_LEFT
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.surfaces import SURFACES
from plimsoll.telemetry.access_log import AccessLine
from plimsoll.telemetry.engine_metrics import ENGINE
from plimsoll.telemetry.exposition import Described
from plimsoll.telemetry.metrics import GATEWAY
from plimsoll.telemetry.watch_metrics import WATCH
from plimsoll.telemetry.worker_metrics import WORKER

_INTRODUCTION = """\
# The gateway

<!-- Made from src/plimsoll/gateway; edit that, then see tests/gateway/test_reference.py. -->

What callers and operators meet, from the tables that the gateway itself uses. How to use it is in
[the guide](../guides/gateway.md); the fields of the fleet file are in [fleet.md](fleet.md#gateway).
"""
_SPOKEN = {
    "chat": "OpenAI chat completions",
    "completions": "OpenAI completions",
    "embeddings": "OpenAI embeddings",
    "responses": "OpenAI responses, without a memory of earlier ones",
    "messages": "Anthropic Messages",
    "count_tokens": "Anthropic token counting",
}
_PAGES = (
    ("GET /v1/models", "yes", "the models that the caller may use"),
    ("GET /v1/models/{name}", "yes", "one of them, by any of its names"),
    ("GET /plimsoll/requests/{id}", "yes", "what became of a request of the caller's tenant"),
    ("GET /health", "no", "200 while requests are taken, 503 while the gateway drains"),
    ("GET /metrics", "no", "everything under [metrics](#metrics)"),
)  # fmt: skip
_ERRORS = """\
## Errors

`{"error": {"message", "type", "param", "code"}}`, or what Anthropic's API says instead where that
is spoken. In a stream that has begun, the same is its last event. `Retry-After` is measured from
how fast the queue drains, where that is known.

`engine_refused` has the engine's own status where that is a 4xx.
"""
_METRICS = """\
## Metrics

Text format 0.0.4 at `/metrics`. Values of labels are names of the fleet, of replicas that are ready
now, and of the tables on this page, so that there is an end to their number.
"""
WISHED = {
    "max_body": "gateway.limits.body",
    "max_head": "gateway.limits.headers",
    "max_connections": "gateway.limits.connections",
    "head_seconds": "gateway.limits.headerTime",
    "body_seconds": "gateway.limits.bodyTime",
    "idle_seconds": "gateway.limits.idleTime",
    "queue_requests": "gateway.queue.requests",
    "queue_bytes": "gateway.queue.bytes",
    "queue_wait": "gateway.queue.wait",
    "max_stream": "gateway.maxStream",
    "tries": "gateway.retries.attempts",
    "continuation": "gateway.retries.continuation",
    "session_headers": "models[].affinity.header",
}
"""Limits that the fleet file sets, and its field for each."""
_LIMITS = """\
## Limits

Bytes and seconds. Those with a dot are fields of the fleet file, and [fleet.md](fleet.md) has their
defaults.
"""
_LOG = """\
## Access log

In a cluster, one JSON object a line on standard output for each request for a model and for each
refusal; what is empty is left out. No text of a request or an answer, and no key, is ever in it.
"""


def reference() -> str:
    """The page docs/reference/gateway.md, as Markdown."""
    parts = (_INTRODUCTION, _paths(), _errors(), _metrics(), _log(), _limits())
    return "\n".join(parts)


def _paths() -> str:
    spoken = (
        (
            f"`POST {surface.path.decode()}`",
            _SPOKEN[surface.name],
            f"`{surface.name}`",
            ", ".join(sorted(surface.tasks)),
            "yes" if surface.streams else "no",
        )
        for surface in SURFACES.values()
    )
    own = ((f"`{path}`", key, what) for path, key, what in _PAGES)
    return "\n".join(
        (
            "## Paths\n",
            _table(("path", "what", "in metrics and logs", "models for", "streams"), spoken),
            _table(("path", "key", "what"), own),
        )
    )


def _errors() -> str:
    rows = (
        (str(row.status), f"`{code}`", row.help, f"`{row.type}`", "yes" if row.retry else "")
        for code, row in sorted(TABLE.items(), key=lambda each: (each[1].status, each[0]))
    )
    head = ("status", "code", "when", "type", "`Retry-After`")
    left = f"Metrics and logs show {CLIENT_LEFT} for a request whose caller left before the end.\n"
    return "\n".join((_ERRORS, _table(head, rows), left))


def _metrics() -> str:
    groups = (
        ("Requests and replicas", GATEWAY),
        ("What engines say of themselves, in a cluster", ENGINE),
        ("What the gateway follows, in a cluster", WATCH),
        ("Worker processes, where there are several", WORKER),
    )
    return "\n".join((_METRICS, *(part for group in groups for part in _families(*group))))


def _families(title: str, families: Iterable[Described]) -> Iterator[str]:
    rows = (
        (
            f"`{each.name}{'_total' if each.kind == 'counter' else ''}`",
            each.kind,
            ", ".join(f"`{label}`" for label in each.labels),
            each.help,
        )
        for each in families
    )
    yield f"### {title}\n"
    yield _table(("name", "kind", "labels", "what"), rows)


def _log() -> str:
    rows = ((f"`{name}`", what) for name, what in _described(AccessLine))
    return "\n".join((_LOG, _table(("field", "what"), rows)))


def _limits() -> str:
    described = dict(_described(GatewaySettings))
    rows = (
        (f"`{WISHED.get(field.name, field.name)}`", described[field.name], _default(field))
        for field in fields(GatewaySettings)
    )
    return "\n".join((_LIMITS, _table(("limit", "what", "is"), rows)))


def _default(field: Field[object]) -> str:
    if field.name in WISHED:
        return "as the fleet file says"
    assert isinstance(field.default, int | float)
    return f"{field.default:,}"


def _described(record: type) -> Iterator[tuple[str, str]]:
    """The fields that a class's docstring describes: a name, then words over one or more lines."""
    name, words = "", ""
    for line in (record.__doc__ or "").partition("\n\n")[2].splitlines():
        if not line.strip():
            continue
        if line.startswith("    ") and line[4] != " ":
            if name:
                yield name, words
            name, _, words = line.strip().partition(" ")
            words = words.strip()
        else:
            words = f"{words} {line.strip()}"
    yield name, words


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += (f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows)
    return "\n".join((*lines, ""))
