"""A fetched model under a path of one's choosing: all at once, and found by its name."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from plimsoll.errors import InputError, SourceError
from plimsoll.worlds.local.sources import Artifact, place
from tests.worlds.sources.conftest import Fetch
from tests.worlds.sources.servers import Server, Store
from tests.worlds.sources.test_hub import FOLDER

BODY = b"GGUF" + b"x" * 1000


def artifact(path: Path) -> Artifact:
    return Artifact(path=path, format="gguf", bytes=1, sha256=None, source="test")


def test_a_file_is_found_under_its_own_name(web: Server, get: Fetch, tmp_path: Path) -> None:
    found = get(web.put("/m.gguf", BODY))
    to = tmp_path / "volume" / "key" / "m.gguf"
    place(found, to, copy=False)
    assert to.read_bytes() == BODY
    assert to.parent.is_symlink()
    place(found, to, copy=False)  # again, as after a restart
    assert to.read_bytes() == BODY


def test_a_file_may_have_another_name(web: Server, get: Fetch, tmp_path: Path) -> None:
    found = get(web.put("/m.gguf", BODY))
    place(found, tmp_path / "key", copy=False)
    assert (tmp_path / "key").read_bytes() == BODY


def test_links_hold_wherever_the_volume_is_mounted(web: Server, get: Fetch, tmp_path: Path) -> None:
    found = get(web.put("/m.gguf", BODY))
    place(found, tmp_path / "key" / "m.gguf", copy=False)
    assert not (tmp_path / "key").readlink().is_absolute()
    moved = tmp_path.with_name("elsewhere")
    tmp_path.rename(moved)
    try:
        assert (moved / "key" / "m.gguf").read_bytes() == BODY
    finally:
        moved.rename(tmp_path)


def test_a_repository_is_a_folder(store: Store, get: Fetch, tmp_path: Path) -> None:
    for name, body in FOLDER.items():
        store.add("models", f"llama/{name}", body)
    place(get("s3://models/llama"), tmp_path / "key", copy=False)
    assert {p.name for p in (tmp_path / "key").iterdir()} == set(FOLDER)


def test_parts_need_their_own_names(store: Store, get: Fetch, tmp_path: Path) -> None:
    for i in (1, 2):
        store.add("models", f"m-{i:05d}-of-00002.gguf", BODY + bytes([i]))
    found = get("s3://models/m-00001-of-00002.gguf")
    with pytest.raises(InputError, match="parts"):
        place(found, tmp_path / "key", copy=False)
    to = tmp_path / "key" / "m-00001-of-00002.gguf"
    place(found, to, copy=False)
    assert (to.parent / "m-00002-of-00002.gguf").exists()


def test_what_lies_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    (tmp_path / "m.gguf").write_bytes(BODY)
    with pytest.raises(InputError, match="something else"):
        place(artifact(tmp_path / "m.gguf"), tmp_path / "key", copy=False)
    assert (tmp_path / "key").is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["key", "m.gguf"]


def test_a_copy_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    source, to = tmp_path / "m.gguf", tmp_path / "volume" / "m"
    source.write_bytes(BODY)
    place(artifact(source), to, copy=True)
    source.unlink()
    assert to.read_bytes() == BODY
    assert [p.name for p in to.parent.iterdir()] == ["m"]


def test_several_may_place_at_once(web: Server, get: Fetch, tmp_path: Path) -> None:
    found = get(web.put("/m.gguf", BODY))
    to = tmp_path / "volume" / "key" / "m.gguf"
    failures: list[Exception] = []

    def run() -> None:
        try:
            for _ in range(50):
                place(found, to, copy=False)
                assert to.read_bytes() == BODY
        except Exception as error:  # noqa: BLE001 -- told to the test
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [p.name for p in to.parent.parent.iterdir()] == ["key"]


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "m.gguf").write_bytes(BODY)
    with pytest.raises(SourceError):
        place(artifact(tmp_path / "m.gguf"), tmp_path / "file" / "key", copy=False)


def test_every_file_of_a_folder_can_be_asked_for(store: Store, get: Fetch) -> None:
    for name in ("config.pbtxt", "1/model.onnx", "1/model.onnx.data"):
        store.add("models", f"rank/{name}", b"any")
    with pytest.raises(SourceError):
        get("s3://models/rank/")
    found = get("s3://models/rank/", whole=True)
    names = {str(p.relative_to(found.path)) for p in found.path.rglob("*") if p.is_file()}
    assert names == {"config.pbtxt", "1/model.onnx", "1/model.onnx.data"}


def test_a_choice_of_files_and_all_of_them_are_two_entries(store: Store, get: Fetch) -> None:
    for name, body in {**FOLDER, "original.bin": b"pickle"}.items():
        store.add("models", f"llama/{name}", body)
    chosen, every = get("s3://models/llama"), get("s3://models/llama", whole=True)
    assert chosen.path != every.path
    assert (every.path / "original.bin").exists()
    assert not (chosen.path / "original.bin").exists()
