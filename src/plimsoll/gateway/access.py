"""Who may call: the guard of a gateway, and the fleet's own keys as one.

Keys are known by their SHA-256 sums only. Accounts plug in here: whatever has `admit` can guard.
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from plimsoll.fleet import Fleet, Tenant
from plimsoll.fleet.tenants import Key
from plimsoll.gateway.errors import Refused

_LONGEST: Final = 1024  # bytes of a key; longer ones are not worth a sum
_BEARER: Final = b"bearer "
EVERYTHING: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever sends a request.

    tenant    name of the tenant; empty: none
    key       what the fleet calls the key; empty: none
    weight    share among tenants of the same priority
    priority  who goes first when requests wait; higher first
    words     what may stand in `model`; None: every name of the fleet
    scope     set before ids of its requests, so that nobody finds another tenant's
    """

    tenant: str = ""
    key: str = ""
    weight: int = 1
    priority: int = 0
    words: frozenset[str] | None = None
    scope: bytes = b""

    def may(self, word: str) -> bool:
        """Whether a word for a model may be used; to others there is no such model."""
        return self.words is None or word in self.words

    def among(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Those of some words that may be used."""
        allowed = self.words
        return words if allowed is None else tuple(word for word in words if word in allowed)


ANYONE = Caller()
"""A caller without a key, where none is needed."""


class Access(Protocol):
    """Guards a gateway."""

    def admit(self, authorization: bytes | None, api_key: bytes | None) -> Caller:
        """Who sends a request with these values of `Authorization` and `x-api-key`.

        Raises Refused `bad_key`, the same for a missing, an unknown and an expired key.
        """
        ...


class Open:
    """Lets everybody in."""

    def admit(self, authorization: bytes | None, api_key: bytes | None) -> Caller:
        """Anyone."""
        return ANYONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One key that is accepted.

    digest  SHA-256 sum of the key
    caller  whose it is
    ends    when it is no longer accepted, in seconds since 1970 UTC; None: never
    """

    digest: bytes
    caller: Caller
    ends: float | None = None


class StaticAccess:
    """Keys that stand in the fleet.

    A key that is looked for by its sum can be guessed neither from the time that takes nor from
    what is kept here. In an open gateway a known key names its tenant, and all others are ANYONE.
    """

    def __init__(
        self, grants: Iterable[Grant], *, clock: Callable[[], float], everybody: bool = False
    ) -> None:
        """`clock` gives seconds since 1970 UTC; `everybody`: a key is not needed."""
        self._grants: Mapping[bytes, Grant] = {grant.digest: grant for grant in grants}
        self._clock = clock
        self._everybody = everybody

    def admit(self, authorization: bytes | None, api_key: bytes | None) -> Caller:
        """See Access. `Authorization: Bearer KEY` is looked at before `x-api-key: KEY`."""
        grant = None
        if authorization is not None and authorization[:7].lower() == _BEARER:
            grant = self._find(authorization[7:])
        if grant is None and api_key is not None:
            grant = self._find(api_key)
        if grant is not None and (grant.ends is None or self._clock() < grant.ends):
            return grant.caller
        if self._everybody:
            return ANYONE
        raise Refused(
            "bad_key",
            "the request has no key that is accepted here",
            hint="send `Authorization: Bearer KEY`, or `x-api-key: KEY`",
        )

    def _find(self, key: bytes) -> Grant | None:
        if len(key) > _LONGEST:
            return None
        return self._grants.get(sha256(key.strip()).digest())


def guarded(fleet: Fleet) -> bool:
    """Whether callers of a fleet need a key."""
    access = fleet.gateway.access
    return access == "keys" or (access == "auto" and bool(fleet.tenants))


def static_access(
    fleet: Fleet, secret: Callable[[Tenant, Key], str | None], *, clock: Callable[[], float]
) -> tuple[Access, tuple[str, ...]]:
    """The guard that a fleet wishes, and what is wrong with keys that it does not accept.

    secret  the key itself where the fleet says only where it is, None where it is not there; it
            is summed and forgotten
    clock   seconds since 1970 UTC
    """
    grants: dict[bytes, Grant] = {}
    problems: list[str] = []
    words = _Words(fleet.called())
    for tenant in fleet.tenants:
        for key in tenant.keys:
            name = f"key `{key.name}` of tenant `{tenant.name}`"
            digest = _digest(key.sha256, secret(tenant, key) if key.sha256 is None else None)
            if digest is None:
                problems.append(f"{name} is not accepted: it is not there, or empty")
            elif digest in grants:
                first = grants[digest].caller
                problems.append(
                    f"{name} is not accepted: it is also key `{first.key}` of tenant "
                    f"`{first.tenant}`"
                )
            else:
                caller = Caller(
                    tenant=tenant.name,
                    key=key.name,
                    weight=tenant.weight,
                    priority=tenant.priority,
                    words=words.of(tenant, key),
                    scope=f"{tenant.name}/".encode(),  # no request's id has a `/`
                )
                ends = _end_of_day(key.expires) if key.expires is not None else None
                grants[digest] = Grant(digest=digest, caller=caller, ends=ends)
    if not guarded(fleet):
        everybody = StaticAccess(grants.values(), clock=clock, everybody=True)
        return (everybody if grants else Open()), tuple(problems)
    if not grants:
        problems.append("a key is needed, and none is accepted: nobody is served")
    return StaticAccess(grants.values(), clock=clock), tuple(problems)


def _digest(written: str | None, clear: str | None) -> bytes | None:
    """The sum of a key, as it is written or made here; None where neither is known."""
    if written is not None:
        return bytes.fromhex(written)
    key = (clear or "").strip().encode()
    return sha256(key).digest() if key else None


def _end_of_day(day: str) -> float:
    """When a UTC day `YYYY-MM-DD` is over, in seconds since 1970; a fleet has no other days."""
    year, month, number = map(int, day.split("-"))
    return float(timegm((year, month, number, 24, 0, 0)))


class _Words:
    """What callers of a fleet may put in `model`, with the models that answer to it."""

    def __init__(self, called: Mapping[str, tuple[str, ...]]) -> None:
        self._called = called

    def of(self, tenant: Tenant, key: Key) -> frozenset[str] | None:
        """The words of a key: its tenant's walls hold for it, too. None: all."""
        tenants = self._allowed(tenant.models)
        keys = self._allowed(key.models) if key.models else None
        if tenants is None or keys is None:
            return keys if tenants is None else tenants
        return tenants & keys

    def _allowed(self, names: Iterable[str]) -> frozenset[str] | None:
        """Those named, and those to which only models that are named answer; None: all."""
        allowed = frozenset(names)
        if EVERYTHING in allowed:
            return None
        return frozenset(
            word
            for word, models in self._called.items()
            if word in allowed or allowed.issuperset(models)
        )
