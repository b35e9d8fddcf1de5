from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.fleet import Document, Fleet, Tenant, load_fleet
from plimsoll.fleet.tenants import Key
from plimsoll.gateway.access import ANYONE, Access, Caller, Open, static_access
from plimsoll.gateway.errors import Refused, error_body

MIDNIGHT = 1_830_297_600.0  # the end of 2027-12-31, UTC
FLEET = """
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata: {name: f}
spec:
  models:
    - {name: small, source: "builtin:demo", aliases: [talk, cheap], tier: fast, weight: 1}
    - {name: large, source: "builtin:demo", aliases: [talk], tier: slow, weight: 1}
  tenants:
    - name: acme
      weight: 3
      priority: 7
      keys:
        - {name: summed, sha256: %s}
        - {name: named, from: {env: ACME_KEY}, expires: "2027-12-31"}
        - {name: narrow, from: {env: NARROW_KEY}, models: [small]}
    - name: other
      models: [large]
      keys:
        - {name: wide, from: {secret: other, key: wide}, models: ["*"]}
        - {name: crossed, from: {secret: other, key: crossed}, models: [small]}
"""
CLEAR = {
    "named": "sk-acme-named",
    "narrow": "sk-acme-narrow\n",
    "wide": "sk-other-wide",
    "crossed": "sk-other-crossed",
}


def fleet(gateway: str = "") -> Fleet:
    text = FLEET % sha256(b"sk-acme-summed").hexdigest() + gateway
    return load_fleet([Document(file="fleet.yaml", text=text)])


def secret(_tenant: Tenant, key: Key) -> str | None:
    return CLEAR.get(key.name)


def guard(gateway: str = "", *, now: float = 0.0) -> Access:
    access, problems = static_access(fleet(gateway), secret, clock=lambda: now)
    assert problems == ()
    return access


def bearer(key: str) -> bytes:
    return f"Bearer {key}".encode()


def refusal(access: Access, authorization: bytes | None, api_key: bytes | None = None) -> bytes:
    with pytest.raises(Refused) as refused:
        access.admit(authorization, api_key)
    assert (refused.value.code, refused.value.status) == ("bad_key", 401)
    return error_body(refused.value)


def test_a_key_names_its_tenant_whether_its_sum_or_its_place_is_written() -> None:
    access = guard()
    for name in ("summed", "named"):
        caller = access.admit(bearer(f"sk-acme-{name}"), None)
        assert caller == Caller(tenant="acme", key=name, weight=3, priority=7, scope=b"acme/")


@pytest.mark.parametrize(
    ("authorization", "api_key"),
    [
        (b"Bearer sk-acme-summed", None),
        (b"bearer  sk-acme-summed ", None),
        (None, b"sk-acme-summed"),
        (b"Basic c2stYWNtZS1zdW1tZWQ=", b"sk-acme-summed"),
        (b"Bearer unused", b"sk-acme-summed"),
        (b"Bearer sk-acme-summed", b"unused"),
    ],
)
def test_a_key_comes_as_either_api_sends_it(
    authorization: bytes | None, api_key: bytes | None
) -> None:
    assert guard().admit(authorization, api_key).key == "summed"


def test_no_refusal_tells_one_bad_key_from_another() -> None:
    access = guard(now=MIDNIGHT)
    bodies = {
        refusal(access, None),
        refusal(access, b""),
        refusal(access, b"sk-acme-summed"),
        refusal(access, bearer("sk-unknown")),
        refusal(access, bearer("sk-acme-named")),  # expired
        refusal(access, bearer("x" * 100_000)),
        refusal(access, b"Bearer \xff\x00", b"\xff"),
        refusal(access, None, sha256(b"sk-acme-summed").hexdigest().encode()),
    }
    assert len(bodies) == 1


@given(key=st.binary(max_size=80))
def test_no_other_key_is_accepted(key: bytes) -> None:
    known = {b"sk-acme-summed", *(clear.strip().encode() for clear in CLEAR.values())}
    access = guard()
    if key.strip() not in known:
        refusal(access, b"Bearer " + key, key)


def test_a_key_expires_when_its_day_has_ended() -> None:
    assert guard(now=MIDNIGHT - 0.001).admit(bearer("sk-acme-named"), None).tenant == "acme"
    refusal(guard(now=MIDNIGHT), bearer("sk-acme-named"))


def test_a_key_may_say_the_words_to_which_only_its_models_answer() -> None:
    narrow = guard().admit(bearer("sk-acme-narrow"), None)
    assert {word for word in ("small", "large", "talk", "cheap", "fast", "slow", "none")
            if narrow.may(word)} == {"small", "cheap", "fast"}  # fmt: skip


def test_a_key_never_reaches_over_the_walls_of_its_tenant() -> None:
    access = guard()
    wide = access.admit(bearer("sk-other-wide"), None)
    assert wide.words == {"large", "slow"}
    assert access.admit(bearer("sk-other-crossed"), None).words == frozenset()


def test_an_open_gateway_lets_everybody_in_and_still_knows_its_tenants() -> None:
    access = guard("  gateway: {access: open}\n", now=MIDNIGHT)
    assert access.admit(None, None) == ANYONE
    assert access.admit(bearer("sk-unknown"), None) == ANYONE
    assert access.admit(bearer("sk-acme-named"), None) == ANYONE  # expired
    assert access.admit(bearer("sk-acme-narrow"), None).tenant == "acme"


@pytest.mark.parametrize(
    ("wish", "tenants", "needed"),
    [("auto", False, False), ("auto", True, True), ("keys", False, True), ("open", True, False)],
)
def test_a_key_is_needed_as_the_fleet_wishes(wish: str, tenants: bool, needed: bool) -> None:
    whole = fleet(f"  gateway: {{access: {wish}}}\n")
    some = Fleet(name="f", gateway=whole.gateway, tenants=whole.tenants if tenants else ())
    access, problems = static_access(some, secret, clock=lambda: 0.0)
    if needed:
        refusal(access, None)
    else:
        assert access.admit(None, None) == ANYONE
    assert bool(problems) == (needed and not tenants)


def test_without_tenants_nothing_is_looked_at() -> None:
    access, problems = static_access(Fleet(name="f"), secret, clock=lambda: 0.0)
    assert isinstance(access, Open)
    assert problems == ()


def test_a_key_that_is_not_there_is_refused_and_said() -> None:
    access, problems = static_access(
        fleet(), lambda _, key: {"named": " ", "narrow": "twice", "wide": "twice"}.get(key.name),
        clock=lambda: 0.0,
    )  # fmt: skip
    assert problems == (
        "key `named` of tenant `acme` is not accepted: it is not there, or empty",
        "key `wide` of tenant `other` is not accepted: it is also key `narrow` of tenant `acme`",
        "key `crossed` of tenant `other` is not accepted: it is not there, or empty",
    )
    assert access.admit(bearer("twice"), None).tenant == "acme"
    refusal(access, bearer(""))
    refusal(access, bearer(" "))


@pytest.mark.interpreted
def test_no_key_is_kept_in_clear() -> None:
    access = guard()
    access.admit(bearer("sk-acme-named"), None)

    def held(value: object, seen: set[int]) -> str:
        if id(value) in seen:
            return ""
        seen.add(id(value))
        if isinstance(value, (str, bytes, float, int)) or value is None:
            return repr(value)
        if isinstance(value, dict):
            return "".join(held(each, seen) for pair in value.items() for each in pair)
        if isinstance(value, (frozenset, tuple, list)):
            return "".join(held(each, seen) for each in value)
        slots = getattr(type(value), "__slots__", None) or vars(value)
        return "".join(held(getattr(value, name), seen) for name in slots if name != "_clock")

    told = held(access, set())
    assert "acme" in told
    assert "sk-" not in told
