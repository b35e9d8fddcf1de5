"""`apply`, `diff`, `delete`, `status` and `doctor` against an API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from plimsoll.cli.main import main
from tests.worlds.cluster.api import Api, Fault, api

__all__ = ["api"]

ROOT = Path(__file__).parents[2]
EXAMPLE = str(ROOT / "examples" / "cluster" / "processors.yaml")  # in namespace `small`
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    api: Api,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command with a kubeconfig that names the test's API server."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": api.url}}],
        "users": [{"name": "me", "user": {"token": "none"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
        "current-context": "test",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(file))

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return command


def kinds(api: Api) -> set[str]:
    return {key.split("/")[0] for key in api.everything()}


def test_a_fleet_is_applied_and_then_nothing_differs(api: Api, run: Run) -> None:
    api.namespace("small")
    assert run("diff", EXAMPLE)[0] == 1
    code, out, err = run("apply", EXAMPLE, "--yes", "--json")
    assert code == 0, err
    assert json.loads(out)["applied"] is True
    assert {"Deployment", "Service", "NetworkPolicy"} <= kinds(api)
    code, out, err = run("diff", EXAMPLE, "--json")
    assert code == 0, out + err


def test_apply_makes_the_namespace_only_when_told(api: Api, run: Run) -> None:
    code, _, err = run("apply", EXAMPLE, "--yes")
    assert code != 0
    assert "small" in err
    assert api.writes == 0
    code, _, err = run("apply", EXAMPLE, "--yes", "--create-namespace")
    assert code == 0, err
    assert "Namespace//small" in api.everything()


def test_nobody_to_ask_means_nothing_is_changed(api: Api, run: Run) -> None:
    api.namespace("small")
    before = api.writes
    code, _, err = run("apply", EXAMPLE)
    assert code == 2
    assert "--yes" in err
    assert api.writes == before


def test_what_leaves_the_file_leaves_the_cluster(api: Api, run: Run, tmp_path: Path) -> None:
    api.namespace("small")
    run("apply", EXAMPLE, "--yes")
    smaller = yaml.safe_load(Path(EXAMPLE).read_text())
    del smaller["spec"]["models"][1]
    file = tmp_path / "smaller.yaml"
    file.write_text(yaml.safe_dump(smaller))
    code, out, err = run("apply", str(file), "--yes", "--json")
    assert code == 0, err
    assert json.loads(out)["deleted"]
    assert "Deployment/small/processors-demo-embedding" not in api.everything()
    assert "Deployment/small/processors-demo" in api.everything()


def test_delete_leaves_nothing_of_ours_and_everything_of_others(api: Api, run: Run) -> None:
    api.namespace("small")
    theirs = {"apiVersion": "v1", "kind": "ConfigMap",
              "metadata": {"name": "theirs", "namespace": "small"}, "data": {"a": "b"}}  # fmt: skip
    api.create(theirs)
    before = api.everything()
    run("apply", EXAMPLE, "--yes")
    assert api.everything() != before
    code, _, err = run("delete", EXAMPLE, "--yes")
    assert code == 0, err
    assert api.everything() == before


def test_an_api_server_that_fails_in_the_middle_is_an_error_and_no_more(api: Api, run: Run) -> None:
    api.namespace("small")
    api.faults.append(Fault(match=r"^PATCH .*/deployments/(?!.*dryRun)", status=500, times=None))
    code, _, err = run("apply", EXAMPLE, "--yes")
    assert code == 1
    assert "Traceback" not in err
    api.faults.clear()
    assert run("apply", EXAMPLE, "--yes")[0] == 0
    assert run("diff", EXAMPLE)[0] == 0


def test_status_tells_what_is_wanted_and_what_is_missing(api: Api, run: Run) -> None:
    api.namespace("small")
    code, out, _ = run("status", EXAMPLE)
    assert code == 1
    assert "not there" in out
    run("apply", EXAMPLE, "--yes")
    code, out, _ = run("status", EXAMPLE, "--json")
    body = json.loads(out)
    assert code == 1  # nothing runs the pods here
    assert {model["name"] for model in body["models"]} == {"demo", "demo-embedding"}
    assert all(model["kind"] == "Deployment" for model in body["models"])


def test_what_doctor_prints_is_what_render_takes(api: Api, run: Run, tmp_path: Path) -> None:
    code, out, err = run("doctor", "--json")
    assert code in (0, 1), err
    info = tmp_path / "cluster.json"
    info.write_text(out)
    code, _, err = run("render", EXAMPLE, "--cluster-info", str(info))
    assert code == 0, err


def test_doctor_says_what_a_bare_cluster_lacks(api: Api, run: Run) -> None:
    api.uninstall("keda.sh/v1alpha1")
    code, out, _ = run("doctor")
    assert code == 1
    assert "KEDA" in out


def test_a_cluster_that_is_not_there_is_named(
    api: Api, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run("diff", EXAMPLE, "--context", "elsewhere")
    assert code == 2
    assert "elsewhere" in err
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    code, _, err = run("diff", EXAMPLE)
    assert code == 2
    assert "KUBECONFIG" in err
