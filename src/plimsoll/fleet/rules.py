"""What must hold between the fields of one record: in Python, and in CEL for Kubernetes.

A test holds that both agree. A rule without CEL needs arithmetic on quantities, which CEL sees as
`int or string`; the decoder alone checks it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from plimsoll.fleet.credentials import Credential, Variable
from plimsoll.fleet.engines import Adapter, Draft, Storage
from plimsoll.fleet.gateway import AnswerStore, Gateway, Tls
from plimsoll.fleet.models import Model, Placement, Scaling, Schedule, Traffic
from plimsoll.fleet.pools import Cloud, Nodes, Pool, PoolSharing
from plimsoll.fleet.shapes import Record
from plimsoll.fleet.source import Source
from plimsoll.fleet.tenants import Key


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule.

    record   the record that it is about
    at       field to point at, Python name
    cel      the rule for Kubernetes, or None
    holds    the rule in Python, on the record or a View of it
    message  what is wrong when it does not hold
    hint     what to try
    """

    record: Record
    at: str
    cel: str | None
    holds: Callable[[Any], bool]
    message: str
    hint: str | None = None


_LOOPBACK = " || ".join(
    f"self.source.startsWith('http://{host}{end}')"
    for host in ("localhost", "127.0.0.1", "[::1]")
    for end in ":/"
)


def _protected(it: Any) -> bool:
    source: Source | None = it.source
    if source is None or source.scheme != "http":
        return True
    return it.sha256 is not None or source.loopback


def _one_file(it: Any) -> bool:
    source: Source | None = it.source
    if it.sha256 is None or source is None:
        return True
    if source.scheme in ("hf", "pvc"):
        return source.path not in ("", "/") and not source.path.endswith("/")
    return source.scheme != "oci" and not source.path.endswith("/")


# a maximum that is not written; 0 in Python, absent in CEL
_MOST = "(has(self.max) ? self.max : has(self.min) && self.min > 1 ? self.min : 1)"


def _most(it: Any) -> int:
    return int(it.max or max(1, it.min))


def _range(record: Record) -> Rule:
    return Rule(
        record=record,
        at="max",
        cel="!has(self.min) || !has(self.max) || self.min <= self.max",
        holds=lambda it: not it.max or it.min <= it.max,
        message="must be at least `min`",
    )


def _source_rules(record: Record) -> tuple[Rule, ...]:
    return (
        Rule(
            record=record,
            at="source",
            cel="!has(self.source) || !self.source.startsWith('http://') || has(self.sha256) || "
            + _LOOPBACK,
            holds=_protected,
            message="plain http from another machine needs `sha256`",
            hint="use https, or add the checksum that `sha256sum` prints",
        ),
        Rule(
            record=record,
            at="sha256",
            cel=None,
            holds=_one_file,
            message="is the checksum of one file, but `source` names a whole folder or image",
            hint="name the file in `source`, or remove `sha256`",
        ),
    )


_MODEL = (
    Rule(
        record=Model,
        at="engine",
        cel="!has(self.engine) || self.engine != 'custom' || has(self.engineOptions) && "
        "(has(self.engineOptions.image) || has(self.engineOptions.command))",
        holds=lambda it: (
            it.engine != "custom" or bool(it.engine_options.image or it.engine_options.command)
        ),
        message="`custom` needs `engineOptions.image` (in a cluster) or `engineOptions.command`",
    ),
    Rule(
        record=Model,
        at="engine_options",
        cel="!has(self.engineOptions) || !has(self.engineOptions.backend) || "
        "has(self.engine) && self.engine == 'triton'",
        holds=lambda it: it.engine_options.backend is None or it.engine == "triton",
        message="`backend` is for `engine: triton`",
    ),
    Rule(
        record=Model,
        at="engine_options",
        cel="!has(self.engineOptions) || !has(self.engineOptions.server) || "
        "has(self.engine) && self.engine in ['triton', 'rayserve']",
        holds=lambda it: it.engine_options.server is None or it.engine in ("triton", "rayserve"),
        message="`server` is for `engine: triton` and `engine: rayserve`",
    ),
    Rule(
        record=Model,
        at="draft",
        cel="!has(self.draft) || !has(self.task) || self.task != 'embedding'",
        holds=lambda it: it.draft is None or it.task != "embedding",
        message="an embedding model has no next token to guess",
        hint="remove `draft`",
    ),
    Rule(
        record=Model,
        at="weight",
        cel="!has(self.weight) || has(self.aliases) && size(self.aliases) > 0",
        holds=lambda it: it.weight is None or bool(it.aliases),
        message="a share is of the requests to an alias, and there is none",
        hint="add `aliases`, or remove `weight`",
    ),
    *_source_rules(Model),
    *_source_rules(Adapter),
    *_source_rules(Draft),
    Rule(
        record=Draft,
        at="method",
        cel="has(self.source) || has(self.method) && self.method in ['ngram', 'mtp']",
        holds=lambda it: it.source is not None or it.method in ("ngram", "mtp"),
        message="this method needs `source`",
        hint="name the draft model, or use `ngram`",
    ),
    Rule(
        record=Traffic,
        at="shared_prefix_tokens",
        cel=None,
        holds=lambda it: it.shared_prefix_tokens <= it.prompt_tokens,
        message="must be at most `promptTokens`",
    ),
    Rule(
        record=Placement,
        at="isolation",
        cel="!has(self.isolation) || self.isolation != 'strict' || !has(self.sharing) || "
        "!(self.sharing in ['timeSlicing', 'mps'])",
        holds=lambda it: it.isolation != "strict" or it.sharing not in ("timeSlicing", "mps"),
        message="`strict` contradicts this `sharing`, which does not wall off memory",
        hint="use `sharing: none` or `mig`",
    ),
    Rule(
        record=Placement,
        at="mig_profile",
        cel="!has(self.migProfile) || has(self.sharing) && self.sharing == 'mig'",
        holds=lambda it: it.mig_profile is None or it.sharing == "mig",
        message="needs `sharing: mig`",
    ),
    Rule(
        record=Storage,
        at="strategy",
        cel="!(has(self.claim) || has(self.class) || has(self.accessMode)) || "
        "has(self.strategy) && self.strategy == 'volume'",
        holds=lambda it: it.strategy == "volume" or not (it.claim or it.class_ or it.access_mode),
        message="`claim`, `class` and `accessMode` need `strategy: volume`",
    ),
)

_SCALING = (
    _range(Scaling),
    Rule(
        record=Scaling,
        at="target",
        cel="!has(self.target) || !has(self.policy) || self.policy != 'kvCache' || "
        "self.target <= 1.0",
        holds=lambda it: it.target is None or it.policy != "kvCache" or it.target <= 1,
        message="is a share of the KV cache for `policy: kvCache`, so at most 1",
        hint="write 80 % as 0.8",
    ),
    Rule(
        record=Scaling,
        at="when_blind",
        cel=f"!has(self.whenBlind) || self.whenBlind <= {_MOST}",
        holds=lambda it: it.when_blind is None or it.when_blind <= _most(it),
        message="must be at most `max`",
    ),
    Rule(
        record=Scaling,
        at="schedules",
        cel=f"!has(self.schedules) || self.schedules.all(s, has(s.max) || s.min <= {_MOST})",
        holds=lambda it: all(s.max is not None or s.min <= _most(it) for s in it.schedules),
        message="the `min` of one is more than `max`",
        hint="give the schedule a `max` too",
    ),
    Rule(
        record=Schedule,
        at="max",
        cel="!has(self.max) || self.min <= self.max",
        holds=lambda it: it.max is None or it.min <= it.max,
        message="must be at least `min`",
    ),
)

_POOL = (
    _range(Nodes),
    Rule(
        record=PoolSharing,
        at="mps",
        cel="!(has(self.mig) && has(self.mps))",
        holds=lambda it: it.mig is None or it.mps is None,
        message="MPS does not work on MIG instances",
        hint="remove one of the two",
    ),
    Rule(
        record=PoolSharing,
        at="time_slicing",
        cel="!(has(self.timeSlicing) && has(self.mps))",
        holds=lambda it: it.time_slicing is None or it.mps is None,
        message="a node's device plugin offers either `timeSlicing` or `mps`",
        hint="remove one of the two",
    ),
    Rule(
        record=Pool,
        at="spot_percent",
        cel="!has(self.spotPercent) || has(self.capacity) && self.capacity == 'mixed'",
        holds=lambda it: it.spot_percent is None or it.capacity == "mixed",
        message="needs `capacity: mixed`",
    ),
    Rule(
        record=Cloud,
        at="project",
        cel="!has(self.project) || self.provider == 'gcp'",
        holds=lambda it: it.project is None or it.provider == "gcp",
        message="is for `provider: gcp`",
    ),
    Rule(
        record=Cloud,
        at="resource_group",
        cel="!has(self.resourceGroup) || self.provider == 'azure'",
        holds=lambda it: it.resource_group is None or it.provider == "azure",
        message="is for `provider: azure`",
    ),
)

_SECRETS = (
    Rule(
        record=Credential,
        at="env",
        cel="has(self.env) ? !has(self.secret) && !has(self.key) : "
        "has(self.secret) && has(self.key)",
        holds=lambda it: (
            (it.secret is None and it.key is None)
            if it.env is not None
            else (it.secret is not None and it.key is not None)
        ),
        message="must be either `{secret, key}` or `{env}`",
    ),
    Rule(
        record=Variable,
        at="value",
        cel="has(self.value) != has(self.valueFrom)",
        holds=lambda it: (it.value is None) != (it.value_from is None),
        message="needs either `value` or `valueFrom`",
    ),
    Rule(
        record=Key,
        at="sha256",
        cel="has(self.sha256) != has(self.from)",
        holds=lambda it: (it.sha256 is None) != (it.from_ is None),
        message="needs either `sha256` or `from`",
    ),
    Rule(
        record=Tls,
        at="secret",
        cel="has(self.secret) ? !has(self.certificate) && !has(self.key) : "
        "has(self.certificate) && has(self.key)",
        holds=lambda it: (
            (it.certificate is None and it.key is None)
            if it.secret is not None
            else (it.certificate is not None and it.key is not None)
        ),
        message="must be either `{secret}` or `{certificate, key}`",
    ),
)

_GATEWAY = (
    Rule(
        record=Gateway,
        at="store_password",
        cel="!has(self.storePassword) || has(self.store)",
        holds=lambda it: it.store_password is None or it.store is not None,
        message="there is no `store` that it could open",
    ),
    Rule(
        record=Gateway,
        at="counters_password",
        cel="!has(self.countersPassword) || has(self.counters)",
        holds=lambda it: it.counters_password is None or it.counters is not None,
        message="there are no `counters` that it could open",
    ),
    Rule(
        record=AnswerStore,
        at="password",
        cel="!has(self.password) || has(self.address)",
        holds=lambda it: it.password is None or it.address is not None,
        message="there is no `address` that it could open",
    ),
    Rule(
        record=Gateway,
        at="store",
        cel="!has(self.replicas) || self.replicas <= 1 || !has(self.store) || "
        "!self.store.startsWith('sqlite:')",
        holds=lambda it: it.replicas <= 1 or not (it.store or "").startswith("sqlite:"),
        message="one SQLite file cannot serve several gateway replicas",
        hint="use `postgresql://`, or `replicas: 1`",
    ),
    Rule(
        record=Gateway,
        at="limits",
        cel=None,
        holds=lambda it: (
            not it.queue.bytes or not it.queue.requests or it.limits.body <= it.queue.bytes
        ),
        message="`body` is larger than `queue.bytes`: the largest requests could never wait",
        hint="raise `queue.bytes` or lower `limits.body`",
    ),
)

RULES: tuple[Rule, ...] = (*_MODEL, *_SCALING, *_POOL, *_SECRETS, *_GATEWAY)


def rules_of(record: Record) -> tuple[Rule, ...]:
    """The rules about one record."""
    return tuple(rule for rule in RULES if rule.record is record)
