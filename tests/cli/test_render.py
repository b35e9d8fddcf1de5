"""`plimsoll render` on every example, against golden trees.

`PLIMSOLL_REGENERATE=1 pytest tests/cli/test_render.py` writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from plimsoll.cli.main import main

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "rendered"
REFUSED = {"fits-nowhere", "impossible-objective"}
CLUSTERS = {"claims": ROOT / "examples" / "cluster" / "claims.cluster.json"}


def _examples() -> list[Path]:
    found = [
        ROOT / "examples" / "demo.yaml",
        ROOT / "examples" / "production.yaml",
        ROOT / "examples" / "two-teams",
        *sorted((ROOT / "examples" / "cluster").glob("*.yaml")),
        *sorted((ROOT / "examples" / "plans").glob("*.yaml")),
    ]
    return [path for path in found if path.stem not in REFUSED]


EXAMPLES = _examples()


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def options(path: Path) -> list[str]:
    info = CLUSTERS.get(path.stem)
    return ["--cluster-info", str(info)] if info else []


def test_there_are_at_least_fifteen_examples() -> None:
    assert len(EXAMPLES) >= 15


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_rendered_as_its_golden_text_says(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(capsys, "render", str(path), *options(path))
    assert code == 0, err
    golden = GOLDEN / f"{path.stem}.yaml"
    notes = GOLDEN / f"{path.stem}.notes.txt"
    if os.environ.get("PLIMSOLL_REGENERATE"):
        golden.write_text(out)
        notes.write_text(err)
    assert out == golden.read_text()
    assert err == notes.read_text()


def test_the_same_fleet_gives_the_same_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    example = str(ROOT / "examples" / "cluster" / "shared-volume.yaml")
    assert outcome(capsys, "render", example, "-o", str(folder))[0] == 0
    first = {path: path.read_bytes() for path in folder.rglob("*.yaml")}
    code, out, _ = outcome(capsys, "render", example, "-o", str(folder), "--json")
    assert code == 0
    assert json.loads(out)["written"] == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.yaml")} == first


def test_the_kustomization_lists_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome(capsys, "render", str(ROOT / "examples" / "demo.yaml"), "-o", str(tmp_path / "out"))
    listed = yaml.safe_load((tmp_path / "out" / "kustomization.yaml").read_text())["resources"]
    files = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.yaml")}
    assert set(listed) == files - {"kustomization.yaml"}


def test_what_an_earlier_render_left_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "out")
    cluster = ROOT / "examples" / "cluster"
    outcome(capsys, "render", str(cluster / "every-engine.yaml"), "-o", folder)
    assert (tmp_path / "out" / "models" / "engines-on-sglang.yaml").exists()
    code, out, _ = outcome(
        capsys, "render", str(cluster / "processors.yaml"), "-o", folder, "--json"
    )
    assert code == 0
    assert json.loads(out)["removed"] >= 5
    assert not (tmp_path / "out" / "models" / "engines-on-sglang.yaml").exists()


def test_a_folder_with_other_files_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    code, _, err = outcome(
        capsys, "render", str(ROOT / "examples" / "demo.yaml"), "-o", str(tmp_path)
    )
    assert code == 2
    assert "did not write" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_kustomization_of_somebody_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "kustomization.yaml"
    mine.write_text("resources: []\n")
    code, _, err = outcome(
        capsys, "render", str(ROOT / "examples" / "demo.yaml"), "-o", str(tmp_path)
    )
    assert code == 2
    assert "was not written by" in err
    assert mine.read_text() == "resources: []\n"


def test_inference_pools_are_made_where_a_picker_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    example = str(ROOT / "examples" / "cluster" / "shared-volume.yaml")
    code, out, err = outcome(capsys, "render", example, "--inference-pools", "epp:9002")
    assert code == 0, err
    pools = [one for one in yaml.safe_load_all(out) if one["kind"] == "InferencePool"]
    assert [pool["spec"]["endpointPickerRef"]["name"] for pool in pools] == ["epp"]


@pytest.mark.parametrize("text", ["epp", ":9002", "epp:http", "epp:0", "epp:70000"])
def test_a_picker_that_is_none_is_named(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = outcome(
        capsys, "render", str(ROOT / "examples" / "demo.yaml"), "--inference-pools", text
    )
    assert code == 2
    assert "picker" in err


@pytest.mark.parametrize("text", ["{", "[]", '{"kubernetes": 5}', '{"unknown": 1}', "\xff"])
def test_a_cluster_info_that_is_none_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    info = tmp_path / "cluster.json"
    info.write_bytes(text.encode("latin-1"))
    code, _, err = outcome(
        capsys, "render", str(ROOT / "examples" / "demo.yaml"), "--cluster-info", str(info)
    )
    assert code == 2
    assert "doctor" in err


def test_claims_are_refused_where_the_cluster_does_not_offer_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = ROOT / "examples" / "cluster" / "claims.yaml"
    code, _, err = outcome(capsys, "render", str(path))
    assert code == 2
    assert "gpu.nvidia.com" in err
    assert "--cluster-info" in err
