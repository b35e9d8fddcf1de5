from __future__ import annotations

import builtins
import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError, MissingExtra, SourceError
from plimsoll.worlds.local.sources import Cache, locate
from plimsoll.worlds.local.sources.selection import safe_path
from tests.worlds.sources.conftest import Fetch
from tests.worlds.sources.servers import Server
from tests.worlds.sources.test_hub import FOLDER, WEIGHTS

GGUF = b"GGUF" + b"\0" * 100


def test_the_built_in_model_is_used_in_place(get: Fetch) -> None:
    found = get("builtin:demo")
    assert found.path.name == "demo.gguf"
    assert (found.format, found.source) == ("gguf", "builtin:demo")
    assert found.bytes == found.path.stat().st_size


def test_an_unknown_built_in_model_gets_a_suggestion(get: Fetch) -> None:
    with pytest.raises(InputError) as caught:
        get("builtin:dem")
    assert caught.value.hint == "did you mean `builtin:demo`?"


@pytest.mark.parametrize("how", ["relative", "absolute", "home"])
def test_a_file_is_used_in_place(
    get: Fetch, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(GGUF)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = {"relative": "models/m.gguf", "absolute": f"{folder}/m.gguf", "home": "~/models/m.gguf"}
    found = get(f"file:{path[how]}", base=tmp_path)
    assert found.path == folder / "m.gguf"
    assert (found.format, found.bytes, found.sha256) == ("gguf", len(GGUF), None)


def test_a_file_that_is_not_there_gets_a_suggestion(get: Fetch, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(GGUF)
    with pytest.raises(SourceError, match="no file or folder") as caught:
        get("file:modle.gguf", base=tmp_path)
    assert caught.value.hint == "did you mean `model.gguf`?"


def test_a_folder_of_safetensors_is_used_in_place(get: Fetch, tmp_path: Path) -> None:
    for name, body in FOLDER.items():
        (tmp_path / name).write_bytes(body)
    found = get(f"file:{tmp_path}")
    assert (found.path, found.format) == (tmp_path, "safetensors")
    assert found.bytes == sum(map(len, FOLDER.values()))


def test_a_folder_with_one_gguf_is_that_model(get: Fetch, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(GGUF)
    assert get(f"file:{tmp_path}").path == tmp_path / "m.gguf"


def test_a_folder_with_several_ggufs_lists_them(get: Fetch, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(GGUF)
    with pytest.raises(SourceError, match=r"`a.gguf`.*`b.gguf`"):
        get(f"file:{tmp_path}")


def test_an_empty_folder_is_said(get: Fetch, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no GGUF and no safetensors"):
        get(f"file:{tmp_path}")


def test_a_split_model_is_opened_at_its_first_part(get: Fetch, tmp_path: Path) -> None:
    for i in (1, 2):
        (tmp_path / f"m-{i:05d}-of-00002.gguf").write_bytes(GGUF)
    found = get(f"file:{tmp_path}/m-00002-of-00002.gguf")
    assert found.path.name == "m-00001-of-00002.gguf"
    assert found.bytes == 2 * len(GGUF)


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("m.bin", GGUF, "gguf"),
        ("m.safetensors", WEIGHTS, "safetensors"),
        ("m.gguf", b"<html>", "unknown"),
        ("m.safetensors", b"\xff" * 8 + b"{", "unknown"),
        ("m.gguf", b"", "unknown"),
    ],
)
def test_the_format_is_read_from_the_content(
    get: Fetch, tmp_path: Path, name: str, body: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(body)
    assert get(f"file:{tmp_path}/{name}").format == expected


def test_a_checksum_of_a_local_file_is_checked(get: Fetch, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF)
    right = hashlib.sha256(GGUF).hexdigest()
    assert get(f"file:{path}", sha256=right).sha256 == right
    with pytest.raises(SourceError, match=right):
        get(f"file:{path}", sha256="0" * 64)
    assert path.read_bytes() == GGUF


def test_one_checksum_does_not_fit_several_files(get: Fetch, tmp_path: Path) -> None:
    for name, body in FOLDER.items():
        (tmp_path / name).write_bytes(body)
    with pytest.raises(InputError, match="one file"):
        get(f"file:{tmp_path}", sha256="0" * 64)


@pytest.mark.parametrize("source", ["pvc://claim/m.gguf", "oci://ghcr.io/a/b:c"])
def test_sources_of_the_cluster_say_so(get: Fetch, source: str) -> None:
    with pytest.raises(InputError, match="cluster") as caught:
        get(source)
    assert caught.value.code == "source.world"


@pytest.mark.parametrize(
    ("source", "package", "extra"),
    [
        ("https://example.com/m.gguf", "httpx", "local"),
        ("hf://a/b", "huggingface_hub", "local"),
        ("s3://bucket/m.gguf", "boto3", "s3"),
    ],
)
def test_a_missing_package_names_the_command_that_installs_it(
    get: Fetch, monkeypatch: pytest.MonkeyPatch, source: str, package: str, extra: str
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra) as caught:
        get(source)
    assert caught.value.hint == f"pip install 'plimsoll[{extra}]'"


def test_nothing_heavy_is_imported_before_a_scheme_needs_it() -> None:
    import subprocess
    import sys

    program = (
        "import sys, plimsoll.worlds.local.sources as s;"
        "print([m for m in ('httpx', 'huggingface_hub', 'boto3', 'botocore') if m in sys.modules])"
    )
    run = [sys.executable, "-c", program]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == "[]"


@given(st.text(alphabet=st.sampled_from("./\\a\0\nC:~é "), max_size=30))
def test_a_name_is_safe_or_refused(name: str) -> None:
    folder = Path("/cache/files")
    try:
        safe = safe_path(name, where="test")
    except SourceError:
        return
    parts = (folder / safe).parts
    assert ".." not in parts
    assert parts[: len(folder.parts)] == folder.parts
    assert len(parts) > len(folder.parts)


def test_locate_finds_what_is_in_place(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(GGUF)
    assert locate("file:m.gguf", cache=cache, base=tmp_path).path == tmp_path / "m.gguf"


def test_locate_asks_no_network(cache: Cache, web: Server, get: Fetch) -> None:
    url = web.put("/m.gguf", GGUF)
    with pytest.raises(SourceError) as caught:
        locate(url, cache=cache)
    assert caught.value.code == "source.not-here"
    assert not web.log
    found = get(url)
    assert locate(url, cache=cache) == found
    assert len(web.log) == 1
