"""Where keys of tenants are found, and what is said of those that are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import cast

import pytest

from plimsoll.cli import cluster_gateway, up
from plimsoll.cli.cluster_gateway import ClusterGateway, Door
from plimsoll.cli.gateway_keys import access_of, not_kept
from plimsoll.cli.gateway_limits import look_pace
from plimsoll.fleet import Document, Fleet, load_fleet
from plimsoll.gateway.access import Access
from plimsoll.gateway.errors import Refused
from plimsoll.telemetry.watch_metrics import WatchMetrics
from plimsoll.worlds.cluster.replicas import Replicas
from plimsoll.worlds.cluster.served import GatewayConfiguration

FLEET = """
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata: {name: f}
spec:
  tenants:
    - name: acme
      keys:
        - {name: here, from: {env: ACME_KEY}}
        - {name: there, from: {secret: acme, key: token}}
        - {name: summed, sha256: %s}
"""


def fleet(text: str = "") -> Fleet:
    summed = FLEET % sha256(b"sk-summed").hexdigest()
    return load_fleet([Document(file="fleet.yaml", text=summed + text)])


def accepted(access: Access, *keys: str) -> list[str]:
    """The names of those keys that are accepted."""
    names = []
    for key in keys:
        try:
            names.append(access.admit(f"Bearer {key}".encode(), None).key)
        except Refused:
            names.append("")
    return names


def test_on_a_machine_keys_are_in_variables() -> None:
    access, problems = access_of(fleet(), environment={"ACME_KEY": "sk-here"})
    assert accepted(access, "sk-here", "sk-summed", "sk-there") == ["here", "summed", ""]
    assert problems == ("key `there` of tenant `acme` is not accepted: it is not there, or empty",)


def test_in_a_pod_keys_are_files_that_count_before_variables(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "there").write_text("sk-there\n")
    environment = {"ACME_KEY": "sk-variable"}
    access, _ = access_of(fleet(), environment=environment, folder=tmp_path)
    assert accepted(access, "sk-there", "sk-variable") == ["there", "here"]
    (tmp_path / "acme" / "here").write_text("sk-file")
    access, problems = access_of(fleet(), environment=environment, folder=tmp_path)
    assert accepted(access, "sk-file", "sk-variable") == ["here", ""]
    assert problems == ()


def test_a_file_that_is_no_text_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "there").write_bytes(b"\xff\xfe")
    _, problems = access_of(fleet(), environment={"ACME_KEY": "x"}, folder=tmp_path)
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("", ""),
        ("limits: {concurrency: 3}", "`limits` of tenants are not kept yet"),
        ("keys: [{name: k, from: {env: K}, limits: {concurrency: 3}}]",
         "`limits` of tenants are not kept yet"),
        ("residency: {allow: [cluster]}", ""),
    ],
)  # fmt: skip
def test_what_is_not_kept_is_said(wish: str, words: str) -> None:
    tenant = f"    - {{name: other, {wish}}}\n" if wish else ""
    assert not_kept(fleet(tenant)) == words


def test_a_key_that_is_changed_in_its_secret_counts_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cluster_gateway, "_KEYS_SECONDS", 0.01)
    guards: list[Access] = []

    class Followed:
        """Replicas of a cluster that nobody asks."""

        def follow(self, namespaces: set[str]) -> None:
            """Nothing is there."""

    async def nothing() -> AsyncIterator[GatewayConfiguration]:
        return
        yield

    async def main() -> None:
        door = Door(host="", port=0, certificate=None, namespace="n", service="")
        gateway = ClusterGateway(
            door=door, configurations=nothing(), replicas=lambda _: cast(Replicas, Followed()),
            metrics=WatchMetrics(), pace=look_pace(lambda: 0.5), keys=tmp_path,
        )  # fmt: skip
        monkeypatch.setattr(gateway._gateway, "guard", guards.append)
        gateway._apply(GatewayConfiguration(fleet=fleet(), models=()))
        assert accepted(guards[-1], "sk-old", "sk-new") == ["", ""]
        task = asyncio.create_task(gateway._reread_keys())
        (tmp_path / "acme").mkdir()
        for key, names in (("sk-old", ["there", ""]), ("sk-new", ["", "there"])):
            (tmp_path / "acme" / "there").write_text(key)
            async with asyncio.timeout(10):
                while accepted(guards[-1], "sk-old", "sk-new") != names:  # noqa: ASYNC110 -- a poll
                    await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "key `there`" in line]) <= 1


def test_a_local_run_says_which_keys_it_does_not_accept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-here")
    access = up._access(fleet("    - {name: other, limits: {concurrency: 2}}\n"))
    assert accepted(access, "sk-here") == ["here"]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "warning: key `there` of tenant `acme` is not accepted: it is not there, or empty\n"
        "warning: `limits` of tenants are not kept yet\n"
    )
