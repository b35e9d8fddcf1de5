"""The adapter: every failure told apart, retried only where that does no harm, never for ever."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plimsoll.errors import InputError, PlimsollError
from plimsoll.worlds.cluster.client import Event, Kube, Patience, login
from plimsoll.worlds.cluster.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Forbidden,
    Immutable,
    Invalid,
    MissingApi,
    NotFound,
    QuotaExceeded,
    ServerFault,
    Terminating,
    Throttled,
    Unauthorized,
    Unreachable,
)
from tests.worlds.cluster.api import Api, Fault
from tests.worlds.cluster.apply.manifests import IMPATIENT, deployment, scaled_object, talk

NOBODY = "http://127.0.0.1:1"


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def here(manifest: dict[str, Any]) -> dict[str, Any]:
    manifest["metadata"]["namespace"] = "default"
    return manifest


def fails(api: Api, kind: type[PlimsollError], work: Any, patience: Patience = IMPATIENT) -> Any:
    """What `work` raises."""
    caught: list[Any] = []

    async def scene(kube: Kube) -> None:
        with pytest.raises(kind) as found:
            await work(kube)
        caught.append(found.value)

    talk(api, scene, patience)
    assert type(caught[0]) is kind
    return caught[0]


# -- objects


def test_what_is_applied_is_read_back_and_nothing_changes_twice(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        assert await kube.get("v1", "ConfigMap", "a") is None
        made = await kube.apply(config_map(x="1"))
        assert made["metadata"]["managedFields"][0]["manager"] == "plimsoll"
        assert await kube.get("v1", "ConfigMap", "a") == made
        assert await kube.apply(config_map(x="1")) == made

    talk(api, scene)


def test_a_dry_run_writes_nothing(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        assert (await kube.apply(config_map(x="1"), dry_run=True))["data"] == {"x": "1"}
        assert (await kube.create(config_map(x="1"), dry_run=True))["data"] == {"x": "1"}
        assert await kube.get("v1", "ConfigMap", "a") is None

    talk(api, scene)
    assert api.writes == 0


def test_a_list_is_whole_however_many_pages_it_has(api: Api) -> None:
    for number in range(1203):
        api.create(config_map(f"a{number}"))

    async def scene(kube: Kube) -> None:
        listed = await kube.list("v1", "ConfigMap", namespace="default")
        assert len({one["metadata"]["name"] for one in listed.items}) == 1203
        assert {(one["apiVersion"], one["kind"]) for one in listed.items} == {("v1", "ConfigMap")}
        assert int(listed.resource_version) > 0

    talk(api, scene)
    assert sum("/configmaps" in line for line in api.requests) == 3


def test_a_list_whose_pages_expire_is_read_at_once(api: Api) -> None:
    for number in range(600):
        api.create(config_map(f"a{number}"))
    api.faults.append(Fault(match="continue=", status=410))

    async def scene(kube: Kube) -> None:
        assert len((await kube.list("v1", "ConfigMap")).items) == 600

    talk(api, scene)


@pytest.mark.parametrize(
    ("labels", "fields", "names"),
    [
        ("app=x", "", {"a"}),
        ("app!=x", "", {"b", "c"}),
        ("app in (x,y)", "", {"a", "b"}),
        ("!app", "", {"c"}),
        ("", "metadata.name=b", {"b"}),
    ],
)
def test_selectors_choose(api: Api, labels: str, fields: str, names: set[str]) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "")):
        one = config_map(name)
        one["metadata"]["labels"] = {"app": app} if app else {}
        api.create(one)

    async def scene(kube: Kube) -> None:
        listed = await kube.list("v1", "ConfigMap", labels=labels, fields=fields)
        assert {one["metadata"]["name"] for one in listed.items} == names

    talk(api, scene)


def test_an_update_of_an_old_version_is_a_conflict(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        old = await kube.create(config_map(x="1"))
        newer = await kube.update({**old, "data": {"x": "2"}})
        assert newer["data"] == {"x": "2"}
        with pytest.raises(Conflict):
            await kube.update({**old, "data": {"x": "3"}})

    talk(api, scene)


def test_status_and_scale_leave_the_rest_alone(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        made = await kube.apply(here(deployment("chat")))
        await kube.patch_status("apps/v1", "Deployment", "chat", None, {"replicas": 3})
        scaled = await kube.scale("apps/v1", "Deployment", "chat", None, 3)
        assert scaled["spec"]["replicas"] == 3
        found = await kube.get("apps/v1", "Deployment", "chat")
        assert found is not None
        assert found["status"] == {"replicas": 3}
        assert found["spec"] == {**made["spec"], "replicas": 3}
        managers = {one["manager"] for one in found["metadata"]["managedFields"]}
        assert managers == {"plimsoll", "plimsoll-status", "plimsoll-operator"}

    talk(api, scene)


def test_a_delete_says_whether_there_was_one_and_spares_another_of_that_name(api: Api) -> None:
    api.create(config_map())

    async def scene(kube: Kube) -> None:
        with pytest.raises(Conflict):
            await kube.delete("v1", "ConfigMap", "a", uid="another")
        assert await kube.delete("v1", "ConfigMap", "a")
        assert not await kube.delete("v1", "ConfigMap", "a")

    talk(api, scene)


def test_an_event_lands_beside_what_it_is_about(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        about = await kube.apply(config_map(x="1"))
        await kube.event(about, "Scaled", "n" * 3000, "Warning")

    talk(api, scene)
    (event,) = api.objects("events.k8s.io/v1", "Event", "default")
    assert (event["reason"], event["type"], len(event["note"])) == ("Scaled", "Warning", 1024)
    assert event["regarding"]["name"] == "a"


def test_the_version_of_the_server_is_told_without_its_v(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        assert await kube.version() == "1.34.2"

    talk(api, scene)


# -- failures


def test_a_field_of_somebody_else_is_a_conflict_that_names_both(api: Api) -> None:
    api.create(config_map(x="theirs", y="same"), manager="helm")

    async def apply(kube: Kube) -> None:
        await kube.apply(config_map(x="ours", y="same"))

    (field,) = fails(api, Conflict, apply).fields
    assert (field.field, field.manager) == (".data.x", "helm")

    async def scene(kube: Kube) -> None:
        assert (await kube.apply(config_map(x="ours"), force=True))["data"]["x"] == "ours"

    talk(api, scene)


def test_a_kind_that_is_not_there_is_told_and_found_once_it_is(api: Api) -> None:
    kept = dict(api.store.kinds)
    api.uninstall("keda.sh/v1alpha1")

    async def scene(kube: Kube) -> None:
        with pytest.raises(MissingApi, match="ScaledObject"):
            await kube.apply(here(scaled_object("a")))
        api.store.kinds.update(kept)
        await kube.apply(here(scaled_object("a")))
        api.uninstall("keda.sh/v1alpha1")
        with pytest.raises(MissingApi):
            await kube.get("keda.sh/v1alpha1", "ScaledObject", "a")

    talk(api, scene)


def status(code: int, reason: str, message: str, *causes: dict[str, str]) -> dict[str, Any]:
    details = {"causes": list(causes)}
    return {
        "kind": "Status", "code": code, "reason": reason, "message": message, "details": details,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "body", "kind", "words"),
    [
        (
            403,
            status(403, "Forbidden", 'User "u" cannot patch resource "configmaps"'),
            Forbidden,
            "kubectl auth can-i patch configmaps -n default",
        ),
        (
            403,
            status(403, "Forbidden", "exceeded quota: gpus, requested: x=1, used: x=1"),
            QuotaExceeded,
            "`gpus`",
        ),
        (
            403,
            status(
                403,
                "Forbidden",
                "namespace is going",
                {"reason": "NamespaceTerminating", "message": "m"},
            ),
            Terminating,
            "wait",
        ),
        (
            422,
            status(422, "Invalid", "m", {"field": "spec.x", "message": "field is immutable"}),
            Immutable,
            "spec.x: field is immutable",
        ),
        (
            422,
            status(422, "Invalid", "m", {"field": "spec.x", "message": "must be positive"}),
            Invalid,
            "spec.x: must be positive",
        ),
        (
            400,
            status(400, "BadRequest", 'strict decoding error: unknown field "spec.y"'),
            Invalid,
            "spec.y",
        ),
        (404, status(404, "NotFound", 'namespaces "default" not found'), NotFound, "make the"),
        (409, status(409, "AlreadyExists", "it exists"), AlreadyExists, "it exists"),
        (401, status(401, "Unauthorized", "Unauthorized"), Unauthorized, "log in again"),
        (500, status(500, "InternalError", "etcd is slow"), ServerFault, "etcd is slow"),
        (429, status(429, "TooManyRequests", "slow down"), Throttled, "slow down"),
    ],
)
def test_every_refusal_is_an_error_of_its_own_with_what_to_do(
    api: Api, code: int, body: dict[str, Any], kind: type[PlimsollError], words: str
) -> None:
    api.faults.append(Fault(match="PATCH", times=None, status=code, body=body))
    error = fails(api, kind, lambda kube: kube.apply(config_map()))
    assert words in str(error)
    assert error.code.startswith("cluster.")


def test_an_answer_that_is_not_from_the_api_server_is_told(api: Api) -> None:
    api.faults.append(Fault(match="/version", times=None, status=502, body={"oops": True}))
    fails(api, ServerFault, lambda kube: kube.version())


def test_nobody_there_is_told_with_the_command_that_looks() -> None:
    async def play() -> None:
        async with await Kube.connect(url=NOBODY, patience=IMPATIENT) as kube:
            with pytest.raises(Unreachable, match="kubectl cluster-info"):
                await kube.version()

    asyncio.run(play())


# -- patience


def test_what_fails_in_passing_is_tried_again(api: Api) -> None:
    api.faults.append(Fault(match="PATCH", status=500))
    api.faults.append(Fault(match="PATCH", status=429, headers={"Retry-After": "0"}))

    async def scene(kube: Kube) -> None:
        assert (await kube.apply(config_map(x="1")))["data"] == {"x": "1"}

    talk(api, scene)


def test_an_apply_whose_answer_is_lost_is_repeated(api: Api) -> None:
    api.faults.append(Fault(match="PATCH", drop=True, after=True))

    async def scene(kube: Kube) -> None:
        assert (await kube.apply(config_map(x="1")))["data"] == {"x": "1"}

    talk(api, scene)
    assert api.writes == 2


def test_a_create_whose_answer_is_lost_is_not_repeated(api: Api) -> None:
    api.faults.append(Fault(match="POST", drop=True, after=True))
    fails(api, Unreachable, lambda kube: kube.create(config_map()))
    assert api.writes == 1


def test_a_race_inside_the_server_is_tried_again(api: Api) -> None:
    api.faults.append(Fault(match="PATCH", times=2, status=409))

    async def scene(kube: Kube) -> None:
        await kube.apply(config_map(x="1"))

    talk(api, scene)


def test_a_longer_wait_than_we_have_is_left_to_the_caller(api: Api) -> None:
    api.faults.append(
        Fault(match="/version", times=None, status=429, headers={"Retry-After": "60"})
    )
    error = fails(api, Throttled, lambda kube: kube.version())
    assert error.retry_after == 60
    assert api.faults[0].hits == 1


def test_tries_come_to_an_end(api: Api) -> None:
    api.faults.append(Fault(match="/version", times=None, status=503))
    fails(api, ServerFault, lambda kube: kube.version())
    assert api.faults[0].hits == IMPATIENT.attempts


def test_a_server_that_does_not_answer_is_given_up(api: Api) -> None:
    api.faults.append(Fault(match="/version", times=None, delay=5))
    began = time.monotonic()
    fails(api, Unreachable, lambda k: k.version(), replace(IMPATIENT, timeout=0.2, attempts=1))
    assert time.monotonic() - began < 3


def test_a_server_that_comes_back_is_found_again(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        await kube.version()
        await asyncio.to_thread(api.down)
        with pytest.raises(Unreachable):
            await kube.version()
        await asyncio.to_thread(api.up)
        await kube.version()

    talk(api, scene)


# -- watches


async def take(events: AsyncGenerator[Event, None], count: int) -> list[tuple[str, str]]:
    """The next events: type and name."""
    found = []
    async with asyncio.timeout(10):
        for _ in range(count):
            event = await anext(events)
            found.append((event.type, event.object["metadata"]["name"]))
    return found


def test_a_watch_tells_every_change_since_the_list(api: Api) -> None:
    api.create(config_map("old"))

    async def scene(kube: Kube) -> None:
        since = (await kube.list("v1", "ConfigMap")).resource_version
        await kube.apply(config_map("a", x="1"))
        events = kube.watch("v1", "ConfigMap", resource_version=since)
        assert await take(events, 1) == [("ADDED", "a")]
        await kube.apply(config_map("a", x="2"))
        await kube.delete("v1", "ConfigMap", "old")
        assert await take(events, 2) == [("MODIFIED", "a"), ("DELETED", "old")]
        await events.aclose()

    talk(api, scene)


def test_what_leaves_a_selector_is_deleted_to_its_watch(api: Api) -> None:
    one = config_map()
    one["metadata"]["labels"] = {"app": "x"}

    async def scene(kube: Kube) -> None:
        await kube.apply(one)
        listed = await kube.list("v1", "ConfigMap", labels="app=x")
        events = kube.watch(
            "v1", "ConfigMap", labels="app=x", resource_version=listed.resource_version
        )
        await kube.apply(config_map())
        assert await take(events, 1) == [("DELETED", "a")]
        await events.aclose()

    talk(api, scene)


def test_a_version_that_is_gone_has_expired(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        since = (await kube.list("v1", "ConfigMap")).resource_version
        await kube.apply(config_map(x="1"))
        api.expire()
        with pytest.raises(Expired):
            await take(kube.watch("v1", "ConfigMap", resource_version=since), 1)

    talk(api, scene)


def test_a_watch_that_is_cut_is_told(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        since = (await kube.list("v1", "ConfigMap")).resource_version
        waiting = asyncio.create_task(
            take(kube.watch("v1", "ConfigMap", resource_version=since), 1)
        )
        await api.watched("configmaps")
        api.drop_watches()
        with pytest.raises(Unreachable):
            await waiting

    talk(api, scene)


def test_a_watch_that_stays_silent_is_lost_and_bookmarks_keep_it_alive(api: Api) -> None:
    async def scene(kube: Kube) -> None:
        since = (await kube.list("v1", "ConfigMap")).resource_version
        api.server.bookmark_every = 30
        with pytest.raises(Unreachable):
            await take(kube.watch("v1", "ConfigMap", resource_version=since), 1)
        api.server.bookmark_every = 0.1
        events = kube.watch("v1", "ConfigMap", resource_version=since)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 1.2)

    talk(api, scene, replace(IMPATIENT, idle=0.4))


def test_a_term_that_ends_is_followed_by_the_next(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plimsoll.worlds.cluster.client import watching

    monkeypatch.setattr(watching, "_SHORTEST_TERM", 1)
    monkeypatch.setattr(watching, "_LONGEST_TERM", 1)

    async def scene(kube: Kube) -> None:
        since = (await kube.list("v1", "ConfigMap")).resource_version
        events = kube.watch("v1", "ConfigMap", resource_version=since)
        first = asyncio.create_task(take(events, 1))
        await asyncio.sleep(1.3)
        await kube.apply(config_map(x="1"))
        assert await first == [("ADDED", "a")]
        await events.aclose()

    talk(api, scene, replace(IMPATIENT, idle=5))
    assert sum("watch=true" in line for line in api.requests) == 2


# -- logging in


def kubeconfig(folder: Path, server: str, user: dict[str, Any] | None = None, **more: Any) -> str:
    context = {"cluster": "c", "user": "u", "namespace": "team"}
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [
            {"name": "here", "context": context},
            {"name": "there", "context": {**context, "namespace": "other"}},
        ],
        **more,
    }  # fmt: skip
    path = folder / "config"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def connected(**options: Any) -> Kube:
    """A connection that was opened and closed."""

    async def play() -> Kube:
        async with await Kube.connect(**options) as kube:
            return kube

    return asyncio.run(play())


def asked(api: Api, path: str) -> list[str]:
    """The `Authorization` headers that the server got."""

    async def play() -> None:
        async with await Kube.connect(kubeconfig=path, patience=IMPATIENT) as kube:
            await kube.version()

    asyncio.run(play())
    return [
        request.headers.get("Authorization", "")
        for request in api.server._requests
        if "version" in str(request.url)
    ]


def test_the_namespace_is_that_of_the_context_that_was_asked_for(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, NOBODY)
    assert connected(kubeconfig=path).namespace == "team"
    assert connected(kubeconfig=path, context="there").namespace == "other"


def test_a_token_is_sent(api: Api, tmp_path: Path) -> None:
    assert asked(api, kubeconfig(tmp_path, api.url, {"token": "t1"})) == ["Bearer t1"]


def test_a_token_file_is_read(api: Api, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t2\n")
    user = {"tokenFile": str(tmp_path / "token")}
    assert asked(api, kubeconfig(tmp_path, api.url, user)) == ["Bearer t2"]


def plugin(folder: Path, script: str) -> dict[str, Any]:
    (folder / "plugin.py").write_text(script)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable,
            "args": [str(folder / "plugin.py")],
        }
    }  # fmt: skip


COUNTING = """
import json, pathlib
count = pathlib.Path(__file__).with_name("count")
number = len(count.read_text()) + 1 if count.exists() else 1
count.write_text("x" * number)
print(json.dumps({"status": {"token": f"t{number}"}}))
"""


def test_a_plugin_is_run_again_when_its_token_has_expired(api: Api, tmp_path: Path) -> None:
    api.faults.append(Fault(match="/version", status=401))
    path = kubeconfig(tmp_path, api.url, plugin(tmp_path, COUNTING))
    assert asked(api, path) == ["Bearer t1", "Bearer t2"]


def test_a_plugin_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    script = "import sys; sys.exit('the session has expired')"
    path = kubeconfig(tmp_path, NOBODY, plugin(tmp_path, script))
    with pytest.raises(Unauthorized, match="the session has expired"):
        connected(kubeconfig=path)


def test_a_plugin_that_is_not_there_is_told(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin"}}
    with pytest.raises(InputError, match="no-such-plugin"):
        connected(kubeconfig=kubeconfig(tmp_path, NOBODY, user))


def test_credentials_that_stay_wrong_are_told(api: Api, tmp_path: Path) -> None:
    api.faults.append(Fault(match="/version", times=None, status=401))
    with pytest.raises(Unauthorized):
        asked(api, kubeconfig(tmp_path, api.url, {"token": "t1"}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "kubeconfig cannot be used"),
        ("{", "kubeconfig cannot be used"),
        ("[]", "kubeconfig cannot be used"),
        ("apiVersion: v1\nkind: Config\nclusters: null\ncontexts: null\n", "kubeconfig"),
        ("contexts: 7\n", "kubeconfig"),
    ],
)
def test_a_broken_kubeconfig_is_told(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        connected(kubeconfig=str(path))


def test_a_kubeconfig_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such kubeconfig"):
        connected(kubeconfig=str(tmp_path / "nowhere"))


def test_a_context_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no context `nowhere`"):
        connected(kubeconfig=kubeconfig(tmp_path, NOBODY), context="nowhere")


def test_without_a_current_context_no_cluster_is_guessed(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, NOBODY, **{"current-context": ""})
    with pytest.raises(InputError, match="no current context"):
        connected(kubeconfig=path)
    assert connected(kubeconfig=path, context="there").namespace == "other"


def test_no_cluster_at_all_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="no cluster is named"):
        connected()


def test_a_wrong_certificate_is_told(tmp_path: Path) -> None:
    wrong = base64.b64encode(b"no certificate").decode()
    cluster = {"server": NOBODY, "certificate-authority-data": wrong}
    path = kubeconfig(tmp_path, NOBODY, clusters=[{"name": "c", "cluster": cluster}])
    with pytest.raises(InputError, match="certificates"):
        connected(kubeconfig=path)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tester")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (folder / "tls.crt").write_bytes(signed.public_bytes(pem))
    (folder / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    )
    return folder / "tls.crt", folder / "tls.key"


def test_a_key_that_the_kubeconfig_holds_is_left_nowhere_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, key = certificate(tmp_path)
    user = {
        "client-certificate-data": base64.b64encode(own.read_bytes()).decode(),
        "client-key-data": base64.b64encode(key.read_bytes()).decode(),
    }
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert connected(kubeconfig=kubeconfig(tmp_path, NOBODY, user)).server == NOBODY
    assert list(temporary.iterdir()) == []


def test_in_a_pod_the_service_account_is_used_and_its_new_token_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = certificate(tmp_path)
    (tmp_path / "ca.crt").write_bytes(own.read_bytes())
    (tmp_path / "token").write_text("old")
    (tmp_path / "namespace").write_text("serving\n")
    monkeypatch.setattr(login, "_SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    async def play() -> list[str]:
        pod = await login.Login.open()
        assert (pod.server, pod.namespace) == ("https://[fd00::1]:443", "serving")
        sent = []
        for token in ("old", "new"):
            (tmp_path / "token").write_text(token)
            await pod.renew()
            async with await pod.session(5) as session:
                sent.append(session.headers["Authorization"])
        return sent

    assert asyncio.run(play()) == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("library", ["kr8s", "httpx"])
def test_a_missing_library_is_told_with_the_extra_that_brings_it(library: str) -> None:
    script = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from plimsoll.errors import MissingExtra\n"
        "try:\n    import plimsoll.worlds.cluster.client\n"
        "except MissingExtra as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert library in done.stdout
    assert "pip install 'plimsoll[kube]'" in done.stdout
