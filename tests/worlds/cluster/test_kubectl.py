"""kubectl and its kustomize take the rendered tree as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from plimsoll.worlds.cluster.tree import write_tree
from tests.worlds.cluster.fleets import EVERY
from tests.worlds.cluster.kubectl_server import serving
from tests.worlds.cluster.looking import name_of
from tests.worlds.cluster.sites import rendered

KUBECTL = shutil.which("kubectl")
pytestmark = pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")
# One of each kind of tree; each call of kubectl takes about a second.
TREES = ("production.yaml", "plans/405b-over-two-nodes.yaml", "on-nodes", "rayserve", "long-names")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as address:
        yield address


def kubectl(home: Path, *words: str) -> str:
    assert KUBECTL is not None
    environment = {**os.environ, "HOME": str(home), "KUBECONFIG": str(home / "none")}
    done = subprocess.run(
        [KUBECTL, *words], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tree(folder: Path, fleet: str) -> Path:
    write_tree(folder / "tree", rendered(EVERY[fleet]).files)
    return folder / "tree"


@pytest.mark.parametrize("fleet", TREES)
def test_kustomize_builds_the_tree_and_changes_nothing(fleet: str, tmp_path: Path) -> None:
    text = kubectl(tmp_path, "kustomize", str(tree(tmp_path, fleet)))
    built = {name_of(found): found for found in yaml.safe_load_all(text)}
    made = {name_of(found): found for found in rendered(EVERY[fleet]).manifests}
    assert built == made


@pytest.mark.parametrize("fleet", TREES)
def test_kubectl_would_create_every_object(fleet: str, tmp_path: Path, server: str) -> None:
    said = kubectl(
        tmp_path, "apply", "--dry-run=client", "--server", server, "-k", str(tree(tmp_path, fleet))
    )  # fmt: skip
    created = Counter(
        line.partition("/")[2].partition(" ")[0]
        for line in said.splitlines()
        if line.endswith(" created (dry run)")
    )
    made = rendered(EVERY[fleet]).manifests
    assert created == Counter(found["metadata"]["name"] for found in made)


def test_kubectl_takes_one_file_alone(tmp_path: Path, server: str) -> None:
    folder = tree(tmp_path, "demo.yaml")
    files = [file for file in folder.rglob("*.yaml") if file.name != "kustomization.yaml"]
    for file in files:
        said = kubectl(tmp_path, "apply", "--dry-run=client", "--server", server, "-f", str(file))
        assert said.count("created (dry run)") == len([*yaml.safe_load_all(file.read_text())])
