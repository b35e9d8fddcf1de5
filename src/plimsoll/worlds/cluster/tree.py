"""Rendered files on a disk: a folder that kustomize and GitOps tools take as it is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from plimsoll.errors import Failed, InputError
from plimsoll.worlds.cluster.objects.render import File
from plimsoll.worlds.cluster.yaml_text import to_yaml

KUSTOMIZATION = "kustomization.yaml"
_EXTRAS = "plimsoll.dev/extras"
_FIRST_LINE = "# Written by `plimsoll render`; change the fleet file, not these files."


def write_tree(
    folder: Path, files: tuple[File, ...], extras: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, int]:
    """Write the files and a kustomization that lists them; remove what an earlier render left.

    extras  texts for other tools, by path; kustomize does not read them

    The kustomization is written last, so that it never lists a file that is not there yet.

    Returns how many files changed and how many were removed. Raises InputError for a folder that
    holds something else, Failed where the disk refuses.
    """
    listed = _listed(folder)
    try:
        changed = sum(_write(folder / file.path, to_yaml(file.manifests)) for file in files)
        changed += sum(_write(folder / path, text) for path, text in extras.items())
        changed += _write(folder / KUSTOMIZATION, _kustomization(files, extras))
        stale = listed - {file.path for file in files} - extras.keys()
        for path in sorted(stale):
            (folder / path).unlink(missing_ok=True)
    except OSError as error:
        raise Failed(
            f"cannot be written: {error.strerror}",
            where=str(error.filename or folder),
            hint="run it again when there is room and the right to write",
            code="render.write",
        ) from error
    return changed, len(stale)


def _listed(folder: Path) -> set[str]:
    """The files of an earlier render. Raises InputError for a folder that is not ours."""
    index = folder / KUSTOMIZATION
    if folder.exists() and not folder.is_dir():
        raise InputError("is not a folder", where=str(folder), code="render.folder")
    if not index.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(
                "holds files that `plimsoll render` did not write",
                where=str(folder),
                hint="name an empty or a new folder",
                code="render.folder",
            )
        return set()
    text = index.read_text(encoding="utf-8")
    if not text.startswith(_FIRST_LINE):
        raise InputError(
            "was not written by `plimsoll render`",
            where=str(index),
            hint="name another folder, and this one as its base in a kustomization of yours",
            code="render.folder",
        )
    body = yaml.safe_load(text)
    extras = body.get("metadata", {}).get("annotations", {}).get(_EXTRAS, "")
    paths = [*body.get("resources", []), *extras.split()]
    return {path for path in paths if ".." not in Path(path).parts}


def _kustomization(files: tuple[File, ...], extras: Mapping[str, str]) -> str:
    body: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
    }
    if extras:
        # Kustomize ignores it; the next render reads it, to remove what is there no more.
        body["metadata"] = {"annotations": {_EXTRAS: " ".join(sorted(extras))}}
    body["resources"] = [file.path for file in files]
    return f"{_FIRST_LINE}\n{to_yaml([body])}"


def _write(path: Path, text: str) -> bool:
    """Replace a file at once where its text differs; whether it did."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True
