from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources import Cache, default_root
from tests.worlds.sources.conftest import Fetch
from tests.worlds.sources.servers import Fault, Server

BODY = b"GGUF" + random.Random(8).randbytes(100_000)


@pytest.fixture
def three(web: Server, get: Fetch, cache: Cache) -> list[str]:
    """Three models, last used three, two and one days ago, and not in use."""
    urls = [web.put(f"/{name}.gguf", BODY + name.encode()) for name in "abc"]
    for days, url in zip((3, 2, 1), urls, strict=True):
        found = get(url)
        stamp = time.time() - days * 86400
        os.utime(found.path.parents[1] / "used", (stamp, stamp))
    cache.close()
    return urls


def sources(cache: Cache) -> list[str]:
    return [entry.source for entry in cache.entries()]


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"PLIMSOLL_CACHE": "/data/models"}, Path("/data/models")),
        ({"XDG_CACHE_HOME": "/var/c"}, Path("/var/c/plimsoll/models")),
        ({"PLIMSOLL_CACHE": "", "XDG_CACHE_HOME": ""}, Path.home() / ".cache/plimsoll/models"),
    ],
)
def test_the_cache_lies_where_the_environment_says(environment: dict[str, str], root: Path) -> None:
    assert default_root(environment) == root


def test_a_cache_that_was_never_used_is_empty(cache: Cache) -> None:
    assert cache.entries() == ()
    assert cache.prune() == ()
    assert not cache.root.exists()


def test_entries_are_listed_last_used_first(cache: Cache, three: list[str]) -> None:
    a, b, c = three
    assert sources(cache) == [c, b, a]
    entry = cache.entries()[0]
    assert (entry.complete, entry.files, entry.bytes) == (True, 1, len(BODY) + 1)
    assert entry.sha256 is not None
    assert not entry.in_use
    assert abs(entry.fetched_at - time.time()) < 60


def test_use_is_noted(cache: Cache, three: list[str], get: Fetch) -> None:
    get(three[0])
    assert sources(cache)[0] == three[0]
    assert cache.entries()[0].in_use


def test_pruning_by_age(cache: Cache, three: list[str]) -> None:
    gone = cache.prune(older_than=1.5 * 86400)
    assert [entry.source for entry in gone] == three[:2]
    assert sources(cache) == three[2:]


def test_pruning_by_source(cache: Cache, three: list[str]) -> None:
    cache.prune(sources=[three[1]])
    assert sources(cache) == [three[2], three[0]]


def test_pruning_to_a_size_removes_the_least_recently_used(cache: Cache, three: list[str]) -> None:
    cache.prune(max_bytes=2 * len(BODY) + 2)
    assert sources(cache) == [three[2], three[1]]


def test_pruning_without_a_bound_removes_all_that_is_not_in_use(
    cache: Cache, three: list[str], web: Server, get: Fetch
) -> None:
    url = web.put("/d.gguf", BODY)
    web.faults.append(Fault(cut=1000))
    web.always = Fault(status=404)
    with pytest.raises(SourceError):
        get(url)
    get(three[1])
    assert {entry.source for entry in cache.prune()} == {url, three[0], three[2]}
    assert sources(cache) == [three[1]]


def test_a_dry_run_removes_nothing(cache: Cache, three: list[str]) -> None:
    assert len(cache.prune(max_bytes=0, dry_run=True)) == 3
    assert len(cache.entries()) == 3


def test_pruning_leaves_no_file_but_locks(cache: Cache, three: list[str]) -> None:
    cache.prune(max_bytes=0)
    left = [path for path in cache.root.rglob("*") if path.is_file()]
    assert {path.parent.name for path in left} == {"locks"}


def test_shared_content_stays_for_the_other_entry(cache: Cache, web: Server, get: Fetch) -> None:
    first = get(web.put("/a.gguf", BODY))
    second = get(web.put("/b.gguf", BODY))
    assert first.path.samefile(second.path)
    cache.close()
    cache.prune(sources=[first.source])
    assert not first.path.exists()
    assert second.path.read_bytes() == BODY


def test_another_checksum_is_another_entry(cache: Cache, web: Server, get: Fetch) -> None:
    import hashlib

    url = web.put("/a.gguf", BODY)
    first = get(url)
    other = BODY + b"new"
    web.put("/a.gguf", other)
    assert get(url) == first
    second = get(url, sha256=hashlib.sha256(other).hexdigest())
    assert second.path.read_bytes() == other
    assert first.path.read_bytes() == BODY


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[1]", b'{"version": 9}', b"\xff\xfe", b'{"files": 3}', b"null"]
)
def test_damaged_metadata_is_listed_and_fetched_anew(
    cache: Cache, web: Server, get: Fetch, damage: bytes
) -> None:
    url = web.put("/a.gguf", BODY)
    found = get(url)
    cache.close()
    (found.path.parents[1] / "entry.json").write_bytes(damage)
    (entry,) = cache.entries()
    assert (entry.source, entry.complete) == ("unknown", False)
    assert get(url).path.read_bytes() == BODY
    assert [entry.complete for entry in cache.entries()] == [True]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 1}', b"\xff"])
def test_damaged_state_of_a_download_begins_it_anew(
    cache: Cache, web: Server, get: Fetch, damage: bytes
) -> None:
    url = web.put("/a.gguf", BODY)
    web.faults.append(Fault(cut=1000))
    web.always = Fault(status=404)
    with pytest.raises(SourceError):
        get(url)
    (entry,) = cache.entries()
    (entry.path / "state.json").write_bytes(damage)
    assert cache.entries()[0].source == "unknown"
    web.always = None
    assert get(url).path.read_bytes() == BODY
    assert web.log[-1].range is None


def test_a_file_that_was_cut_in_the_cache_is_fetched_anew(
    cache: Cache, web: Server, get: Fetch
) -> None:
    url = web.put("/a.gguf", BODY)
    found = get(url)
    os.truncate(found.path, 1000)
    assert not cache.entries()[0].complete
    assert get(url).path.read_bytes() == BODY


def test_a_file_that_vanished_from_the_cache_is_fetched_anew(
    cache: Cache, web: Server, get: Fetch
) -> None:
    url = web.put("/a.gguf", BODY)
    get(url).path.unlink()
    assert get(url).path.read_bytes() == BODY


def test_damage_to_one_entry_does_not_reach_the_other_through_a_link(
    cache: Cache, web: Server, get: Fetch
) -> None:
    first = get(web.put("/a.gguf", BODY))
    second_url = web.put("/b.gguf", BODY)
    second = get(second_url)
    (second.path.parents[1] / "entry.json").unlink()
    assert get(second_url).path.read_bytes() == BODY
    assert first.path.read_bytes() == BODY


def test_locks_are_let_go_when_a_fetch_fails(cache: Cache, get: Fetch, web: Server) -> None:
    with pytest.raises(SourceError):
        get(web.url + "/none.gguf")
    assert not any(entry.in_use for entry in cache.entries())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_using_a_model_again_and_again_holds_one_lock(
    cache: Cache, web: Server, get: Fetch
) -> None:
    url = web.put("/a.gguf", BODY)
    get(url)
    before = open_files()
    for _ in range(20):
        get(url)
    assert open_files() <= before
