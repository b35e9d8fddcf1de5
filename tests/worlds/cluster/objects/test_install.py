"""`deploy/base`: what `kubectl apply -k` installs is what the code says.

`PLIMSOLL_REGENERATE=1 pytest tests/worlds/cluster/objects/test_install.py` writes it anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from plimsoll.cli.main import COMMANDS
from plimsoll.cli.rendering import IMAGE
from plimsoll.worlds.cluster.objects.install import NAMESPACE, install_objects
from plimsoll.worlds.cluster.objects.render import File
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.tree import write_tree
from tests.worlds.cluster.schemas import problems

ROOT = Path(__file__).parents[4]
BASE = ROOT / "deploy" / "base"
FILES = {
    "Namespace": "namespace.yaml",
    "CustomResourceDefinition": "fleets.yaml",
    "ServiceAccount": "rights.yaml",
    "ClusterRole": "rights.yaml",
    "ClusterRoleBinding": "rights.yaml",
}


def files() -> tuple[File, ...]:
    by_path: dict[str, list[Manifest]] = {}
    for manifest in install_objects(IMAGE):
        by_path.setdefault(FILES.get(manifest["kind"], "operator.yaml"), []).append(manifest)
    return tuple(File(path=path, manifests=tuple(found)) for path, found in by_path.items())


def test_the_base_is_what_the_code_says(tmp_path: Path) -> None:
    if os.environ.get("PLIMSOLL_REGENERATE"):
        write_tree(BASE, files())
    write_tree(tmp_path / "base", files())
    made = {p.name: p.read_text() for p in (tmp_path / "base").iterdir()}
    kept = {p.name: p.read_text() for p in BASE.iterdir()}
    assert made == kept


@pytest.mark.parametrize("kubernetes", ["1.33", "1.34", "1.35", "1.36", "1.37"])
def test_every_object_of_the_base_is_valid(kubernetes: str) -> None:
    for manifest in install_objects(IMAGE):
        assert problems(manifest, kubernetes=kubernetes) == [], manifest["kind"]


def test_the_operator_is_started_with_a_command_that_there_is() -> None:
    deployment = next(m for m in install_objects(IMAGE) if m["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][0] in COMMANDS


def test_everything_that_lives_in_a_namespace_lives_in_plimsolls_own() -> None:
    namespaces = {m["metadata"].get("namespace") for m in install_objects(IMAGE)}
    assert namespaces == {None, NAMESPACE}


def test_the_image_is_pinned() -> None:
    assert re.fullmatch(r"[^:]+:[0-9][^:]*", IMAGE)


def test_the_dockerfile_runs_as_the_user_that_pods_are_given() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER 65532:65532$", text, re.MULTILINE)
    assert ":latest" not in text
    for extra in ("kube", "local", "s3", "plan"):
        assert extra in text.split("pip install")[1].split("\n")[0]


def test_the_base_can_be_read_as_a_kustomization() -> None:
    body = yaml.safe_load((BASE / "kustomization.yaml").read_text())
    assert body["kind"] == "Kustomization"
    assert all((BASE / name).is_file() for name in body["resources"])
