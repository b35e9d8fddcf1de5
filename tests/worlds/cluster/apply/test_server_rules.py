"""Rules of real API servers that the mocked one does not hold by itself."""

from __future__ import annotations

import asyncio
import base64
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.errors import InputError
from plimsoll.worlds.cluster.apply import apply_all, plan_changes
from plimsoll.worlds.cluster.changes import Blocked
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.errors import Forbidden
from tests.worlds.cluster.api import Api, Fault
from tests.worlds.cluster.apply.manifests import LLM, SCOPE, made, talk

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
RBAC = "rbac.authorization.k8s.io"
ROLE = made(f"{RBAC}/v1", "Role", "gateway", rules=[])
BINDING = made(
    f"{RBAC}/v1",
    "RoleBinding",
    "gateway",
    roleRef={"apiGroup": RBAC, "kind": "Role", "name": "gateway"},
    subjects=[],
)


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return made("v1", "ConfigMap", name, "default", data=data)


def refused(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message}


@pytest.mark.parametrize("name", ["a", f"{'x' * 229}-{'y' * 20}", f"{'x.' * 126}z"])
def test_an_event_has_a_name_that_is_allowed_and_no_other_has(api: Api, name: str) -> None:
    """Validation takes no `generateName` that ends in a point, and no name of 254 characters."""

    async def scene(kube: Kube) -> None:
        about = await kube.apply(config_map(name))
        await kube.event(about, "Scaled", "one")
        await kube.event(about, "Scaled", "two")

    talk(api, scene)
    names = [one["metadata"]["name"] for one in api.objects("events.k8s.io/v1", "Event")]
    assert len(set(names)) == 2
    for each in names:
        assert SUBDOMAIN.fullmatch(each)
        assert len(each) <= 253


def test_a_note_is_cut_by_bytes_between_characters(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        await kube.event(await kube.apply(config_map()), "Scaled", "a" + "é" * 1000)

    talk(api, scene)
    (event,) = api.objects("events.k8s.io/v1", "Event")
    assert event["note"] == "a" + "é" * 511


@pytest.mark.parametrize("character", ["\u0085", "\u2028", "\u2029"])
def test_line_ends_within_a_text_do_not_end_a_line_of_a_watch(api: Api, character: str) -> None:
    """Go writes U+0085 as it is."""

    async def scene(kube: Kube) -> None:
        since = (await kube.list("v1", "ConfigMap")).resource_version
        await kube.apply(config_map(x=f"one{character}two" + "z" * 100_000))
        events = kube.watch("v1", "ConfigMap", resource_version=since)
        event = await anext(events)
        await events.aclose()
        assert event.object["data"]["x"].startswith(f"one{character}two")

    talk(api, scene)


def test_what_was_throttled_was_not_done_and_is_tried_again(api: Api) -> None:
    api.faults.append(Fault(match="POST", status=429, headers={"Retry-After": "0"}))
    api.faults.append(Fault(match="PUT", status=429, headers={"Retry-After": "0"}))

    async def scene(kube: Kube) -> None:
        await kube.update({**await kube.create(config_map(x="1")), "data": {"x": "2"}})

    talk(api, scene)
    assert api.writes == 2


@pytest.mark.parametrize(
    "message",
    [
        'admission webhook "validate.kyverno.svc-fail" denied the request: no latest',
        "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: z",
        'pods "a" is forbidden: violates PodSecurity "restricted:latest": hostPath',
    ],
)
def test_a_policy_that_refuses_is_not_taken_for_a_missing_right(api: Api, message: str) -> None:
    api.faults.append(Fault(match="PATCH", status=403, body=refused(403, "Forbidden", message)))

    async def scene(kube: Kube) -> None:
        with pytest.raises(Forbidden) as caught:
            await kube.apply(config_map())
        assert "can-i" not in str(caught.value)
        assert "policy" in str(caught.value)

    talk(api, scene)


def test_a_binding_whose_role_comes_with_it_is_not_missing_it(api: Api) -> None:
    """A caller without `bind` has the role looked up in a dry run, before it can be there."""
    api.namespace(LLM)
    missing = refused(404, "NotFound", 'roles.rbac.authorization.k8s.io "gateway" not found')
    api.faults.append(
        Fault(match="PATCH .*rolebindings.*dryRun", times=None, status=404, body=missing)
    )

    async def scene(kube: Kube) -> None:
        found = await plan_changes(kube, [BINDING, ROLE], SCOPE)
        assert {change.key.kind: change.note for change in found.changes} == {
            "Role": "",
            "RoleBinding": "its role comes first",
        }
        await apply_all(kube, [BINDING, ROLE], SCOPE, changes=found)
        with pytest.raises(Blocked):
            await apply_all(kube, [BINDING], SCOPE)

    talk(api, scene)
    assert [one["kind"] for one in api.objects(f"{RBAC}/v1", "RoleBinding")] == ["RoleBinding"]


def test_a_webhook_that_takes_no_dry_run_keeps_nothing_from_being_applied(api: Api) -> None:
    api.namespace(LLM)
    words = 'admission webhook "a.example.com" does not support dry run'
    api.faults.append(
        Fault(match="dryRun", times=None, status=400, body=refused(400, "BadRequest", words))
    )

    async def scene(kube: Kube) -> None:
        await apply_all(kube, [ROLE], SCOPE)

    talk(api, scene)
    assert api.objects(f"{RBAC}/v1", "Role")


@pytest.mark.parametrize(
    ("entry", "field", "value"),
    [
        ("cluster", "server", 1.5),
        ("cluster", "server", "://"),
        ("cluster", "server", "https://host:65536"),
        ("cluster", "server", "localhost:6443"),
        ("cluster", "proxy-url", "ftp://proxy"),
        ("cluster", "proxy-url", "http://proxy:65536"),
        ("cluster", "proxy-url", "http://[::1"),
        ("cluster", "proxy-url", "socks4://proxy"),
        ("user", "token", 1.5),
        ("user", "tokenFile", ["a"]),
        ("user", "client-key-data", "aGVsbG8="),
    ],
)
def test_what_a_kubeconfig_cannot_mean_is_told_and_leaves_no_key_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, field: str, value: object
) -> None:
    inline = base64.b64encode(b"not a key").decode()
    cluster: dict[str, object] = {"server": "https://127.0.0.1:1"}
    user: dict[str, object] = {"client-certificate-data": inline}
    if field == "client-key-data":
        value = inline
    {"cluster": cluster, "user": user}[entry][field] = value
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config))

    async def scene() -> None:
        async with await Kube.connect(kubeconfig=str(file)):
            pass

    with pytest.raises(InputError):
        asyncio.run(scene())
    assert not list(copies.iterdir())


def test_an_address_that_is_none_is_told() -> None:
    async def scene() -> None:
        async with await Kube.connect(url="127.0.0.1:8001"):
            pass

    with pytest.raises(InputError, match="not the address of a server"):
        asyncio.run(scene())
