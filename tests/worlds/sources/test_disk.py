"""Disks that are full, small, read-only or limited: a clear error and no half file."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources import Cache
from tests.worlds.sources.conftest import Fetch
from tests.worlds.sources.servers import Fault, Hub, Repository, Server, Store

BODY = b"GGUF" + random.Random(7).randbytes(700_000)
LIMITED = """
import resource, sys
from pathlib import Path
from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources import Cache, fetch
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    fetch(sys.argv[1], cache=Cache(Path(sys.argv[2])), cancelled=lambda: False,
          progress=lambda **told: None)
except SourceError as error:
    print(error.code, error)
"""


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "plimsoll-test", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("scheme", ["web", "hub", "store"])
def test_too_little_room_is_said_before_the_first_byte(
    scheme: str,
    request: pytest.FixtureRequest,
    get: Fetch,
    monkeypatch: pytest.MonkeyPatch,
    cache: Cache,
) -> None:
    server = request.getfixturevalue(scheme)
    if isinstance(server, Hub):
        server.repositories["a/b"] = Repository({"m.gguf": BODY})
        source = "hf://a/b"
    elif isinstance(server, Store):
        server.add("models", "m.gguf", BODY)
        source = "s3://models/m.gguf"
    else:
        source = server.put("/m.gguf", BODY)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 5000, 5000))
    with pytest.raises(
        SourceError, match=r"700,004 bytes\) more needed.*5,000 bytes\) free"
    ) as caught:
        get(source)
    assert caught.value.code == "source.disk-full"
    assert sum(entry.bytes for entry in cache.entries()) == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_in_the_middle_keeps_the_beginning(
    web: Server, get: Fetch, cache: Cache, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    url = web.put("/m.gguf", BODY)
    real, written = os.write, 0

    def write(descriptor: int, data: Any) -> int:
        nonlocal written
        if written + len(data) > 300_000:
            raise OSError(number, os.strerror(number))
        count = real(descriptor, data)
        written += count
        return count

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(SourceError, match=r"bytes\) more needed") as caught:
            get(url)
    assert caught.value.code == "source.disk-full"
    assert "prune" in (caught.value.hint or "")
    (entry,) = cache.entries()
    assert not entry.complete
    assert written - 64 * 1024 == entry.bytes > 0
    assert get(url).path.read_bytes() == BODY
    assert web.log[-1].range == f"bytes={entry.bytes}-"


def test_a_real_small_disk_that_is_filled_by_somebody_else(
    web: Server, get: Fetch, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = web.put("/m.gguf", BODY)
    (small_disk / "other").write_bytes(b"x" * 600_000)
    with Cache(small_disk / "cache") as cache:
        with pytest.raises(SourceError) as before:
            get(url, cache=cache)
        assert before.value.code == "source.disk-full"
        # The room is taken after the look at it: the write itself must fail cleanly.
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, 10**9))
            with pytest.raises(SourceError) as during:
                get(url, cache=cache)
        assert during.value.code == "source.disk-full"
        assert not any(entry.complete for entry in cache.entries())
        (kept,) = cache.entries()
        assert kept.bytes > 100_000
        (small_disk / "other").unlink()
        assert get(url, cache=cache).path.read_bytes() == BODY
        assert web.log[-1].range == f"bytes={kept.bytes}-"


def test_bytes_that_cannot_be_trusted_do_not_take_the_room_of_their_replacement(
    web: Server, get: Fetch, small_disk: Path
) -> None:
    url = web.put("/m.gguf", BODY)
    with Cache(small_disk / "cache") as cache:
        web.faults.append(Fault(cut=100_000))
        web.always = Fault(status=404)
        with pytest.raises(SourceError):
            get(url, cache=cache)
        (entry,) = cache.entries()
        with (entry.path / "files" / "m.gguf").open("ab") as file:
            file.write(b"written, and never synced" * 20_000)
        web.always = None
        assert get(url, cache=cache).path.read_bytes() == BODY


def test_a_limit_on_file_size_is_said(web: Server, cache: Cache) -> None:
    url = web.put("/m.gguf", BODY)
    run = [sys.executable, "-c", LIMITED, url, str(cache.root)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("source.storage")
    assert re.search("File too large.*ulimit", done.stdout)


def test_a_cache_that_cannot_be_written_is_said(web: Server, get: Fetch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SourceError, match="cannot write the model cache") as caught:
        get(web.put("/m.gguf", BODY), cache=Cache(tmp_path / "file" / "cache"))
    assert caught.value.code == "source.storage"
    assert "PLIMSOLL_CACHE" in (caught.value.hint or "")
