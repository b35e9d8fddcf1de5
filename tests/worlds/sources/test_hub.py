from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources import Cache
from tests.worlds.sources.conftest import Fetch
from tests.worlds.sources.servers import Fault, Hub, Repository, Server, serving

BODY = b"GGUF" + random.Random(3).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
HEADER = json.dumps({"__metadata__": {}}).encode()
WEIGHTS = len(HEADER).to_bytes(8, "little") + HEADER
FOLDER = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "chat_template.jinja": b"{{ x }}",
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": WEIGHTS + b" ",
    "model.safetensors.index.json": b"{}",
}
BESIDE = {
    "pytorch_model.bin": b"pickle",
    "model.pt": b"pickle",
    "README.md": b"# model",
    "original/consolidated.00.pth": b"pickle",
    "onnx/model.onnx": b"onnx",
    "consolidated.safetensors": WEIGHTS,
    "modeling_custom.py": b"import os",
}


@pytest.fixture(autouse=True)
def repositories(hub: Hub) -> None:
    hub.repositories["acme/one"] = Repository({"README.md": b"# one", "one.gguf": BODY})
    hub.repositories["acme/several"] = Repository(
        {"m-Q4_K_M.gguf": BODY, "m-Q8_0.gguf": BODY + b"8", "mmproj-f16.gguf": b"GGUF"}
    )
    hub.repositories["acme/folder"] = Repository({**FOLDER, **BESIDE})


def test_the_only_gguf_of_a_repository_is_taken(hub: Hub, get: Fetch) -> None:
    found = get("hf://acme/one")
    assert found.path.read_bytes() == BODY
    assert (found.path.name, found.format, found.sha256) == ("one.gguf", "gguf", SHA256)
    assert len(hub.gets("/resolve/")) == 1


def test_files_are_fetched_at_the_commit_that_was_listed(hub: Hub, get: Fetch) -> None:
    get("hf://acme/one@main/one.gguf")
    assert hub.gets("/api/")[0].path.startswith("/api/models/acme/one/revision/main")
    assert hub.gets("/resolve/")[0].path == f"/acme/one/resolve/{'a' * 40}/one.gguf"


def test_several_models_are_listed_when_none_is_named(hub: Hub, get: Fetch) -> None:
    with pytest.raises(
        SourceError, match=r"2 models.*`m-Q4_K_M.gguf` \(293.0 KiB\).*Q8_0"
    ) as caught:
        get("hf://acme/several")
    assert caught.value.code == "source.ambiguous"
    assert "mmproj" not in caught.value.message


def test_a_named_file_is_taken(hub: Hub, get: Fetch) -> None:
    assert get("hf://acme/several/m-Q8_0.gguf").path.read_bytes() == BODY + b"8"


def test_a_name_that_is_not_there_gets_a_suggestion(hub: Hub, get: Fetch) -> None:
    with pytest.raises(SourceError) as caught:
        get("hf://acme/several/m-Q8_O.gguf")
    assert caught.value.code == "source.not-found"
    assert "did you mean `m-Q8_0.gguf`" in (caught.value.hint or "")


def test_every_part_of_a_split_model_is_fetched(hub: Hub, get: Fetch) -> None:
    parts = {f"Q4/m-{i:05d}-of-00003.gguf": BODY + bytes([i]) for i in (1, 2, 3)}
    hub.repositories["acme/split"] = Repository(parts)
    for source in (
        "hf://acme/split",
        "hf://acme/split/Q4",
        "hf://acme/split/Q4/m-00002-of-00003.gguf",
    ):
        found = get(source)
        assert found.path.name == "m-00001-of-00003.gguf"
        assert found.bytes == 3 * len(BODY) + 3
        assert sorted(p.name for p in found.path.parent.iterdir()) == [n[3:] for n in sorted(parts)]


def test_a_missing_part_is_said(hub: Hub, get: Fetch) -> None:
    hub.repositories["acme/split"] = Repository({"m-00001-of-00002.gguf": BODY})
    with pytest.raises(SourceError, match="m-00002-of-00002") as caught:
        get("hf://acme/split")
    assert caught.value.code == "source.incomplete"


def test_of_a_safetensors_repository_only_what_an_engine_reads_comes(hub: Hub, get: Fetch) -> None:
    found = get("hf://acme/folder")
    assert found.format == "safetensors"
    assert found.path.is_dir()
    there = {p.relative_to(found.path).as_posix(): p.read_bytes() for p in found.path.rglob("*")}
    assert there == FOLDER


def test_pickle_only_is_refused(hub: Hub, get: Fetch) -> None:
    hub.repositories["acme/old"] = Repository({"pytorch_model.bin": b"x", "config.json": b"{}"})
    with pytest.raises(SourceError, match="pickle") as caught:
        get("hf://acme/old")
    assert caught.value.code == "source.format"


def test_the_hash_that_the_hub_lists_is_checked(hub: Hub, get: Fetch) -> None:
    with serving(Server()) as storage:
        hub.storage = storage
        bad = BODY[:-1] + b"?"
        storage.instead = lambda handler, _: handler.plain(200, bad)
        with pytest.raises(SourceError, match=f"sha256 {SHA256}") as caught:
            get("hf://acme/one")
    assert caught.value.code == "source.checksum"


def test_small_files_are_checked_by_their_git_hash(hub: Hub, get: Fetch) -> None:
    hub.repositories["acme/folder"].large = (".gguf",)
    get("hf://acme/folder")
    hub.repositories["acme/copy"] = hub.repositories["acme/folder"]
    hub.instead = lambda handler, request: (
        request.path.endswith("/tokenizer.json") and handler.plain(200, b"[]")
    )
    with pytest.raises(SourceError, match=r"tokenizer.json.*git-sha1") as caught:
        get("hf://acme/copy")
    assert caught.value.code == "source.checksum"


def test_a_checksum_that_the_listing_contradicts_fails_before_the_download(
    hub: Hub, get: Fetch
) -> None:
    with pytest.raises(SourceError, match="the server lists") as caught:
        get("hf://acme/one", sha256="0" * 64)
    assert caught.value.code == "source.checksum"
    assert not hub.gets("/resolve/")


def test_a_download_from_the_hub_resumes(hub: Hub, get: Fetch, cache: Cache) -> None:
    hub.faults.append(Fault(cut=123_456))
    hub.always = Fault(status=502)
    with pytest.raises(SourceError):
        get("hf://acme/one")
    assert [entry.bytes for entry in cache.entries()] == [123_456]
    hub.always = None
    assert get("hf://acme/one").path.read_bytes() == BODY
    assert hub.gets("/resolve/")[-1].range == "bytes=123456-"


def test_files_that_came_whole_are_not_fetched_again(hub: Hub, get: Fetch) -> None:
    hub.always = None
    hub.faults.extend([Fault()] * 5 + [Fault(cut=3)] + [Fault(status=500)] * 9)
    with pytest.raises(SourceError):
        get("hf://acme/folder")
    hub.faults.clear()
    before = len(hub.gets("/resolve/"))
    get("hf://acme/folder")
    assert len(hub.gets("/resolve/")) - before == 2


def test_a_listing_is_tried_again_while_the_hub_stumbles(hub: Hub, get: Fetch) -> None:
    hub.listing_faults.extend([500, 503])
    assert get("hf://acme/one").path.read_bytes() == BODY


def test_a_mirror_without_hashes_is_asked_by_head(hub: Hub, get: Fetch) -> None:
    hub.repositories["acme/one"].metadata = False
    found = get("hf://acme/one")
    assert found.sha256 == SHA256
    assert [r.path for r in hub.log if r.method == "HEAD"] == [
        f"/acme/one/resolve/{'a' * 40}/one.gguf"
    ]


@pytest.mark.parametrize(
    ("access", "code", "hint"),
    [
        ("gated", "source.gated", "accept its terms at"),
        ("private", "source.not-found", "HF_TOKEN"),
        ("forbidden", "source.gated", "HF_TOKEN"),
    ],
)
def test_what_is_not_open_says_what_to_do(
    hub: Hub, get: Fetch, access: str, code: str, hint: str
) -> None:
    hub.repositories["acme/one"].access = access
    with pytest.raises(SourceError) as caught:
        get("hf://acme/one")
    assert caught.value.code == code
    assert hint in (caught.value.hint or "")


def test_a_repository_that_is_not_there_is_said(hub: Hub, get: Fetch) -> None:
    with pytest.raises(SourceError, match="no repository `acme/typo`") as caught:
        get("hf://acme/typo")
    assert "spelling" in (caught.value.hint or "")
    assert len(hub.log) == 1


def test_a_revision_that_is_not_there_is_said(hub: Hub, get: Fetch) -> None:
    with pytest.raises(SourceError, match="no revision `v9`"):
        get("hf://acme/one@v9")


def test_without_an_endpoint_the_library_names_the_hub(tmp_path: Path) -> None:
    # A process of its own: the library reads its environment once. Offline, it asks nobody.
    program = (
        "import sys; from pathlib import Path; from plimsoll.errors import SourceError\n"
        "from plimsoll.worlds.local.sources import Cache, fetch\n"
        "try:\n"
        "    fetch('hf://acme/one', cache=Cache(Path(sys.argv[1])),"
        " progress=lambda **_: None, cancelled=lambda: False)\n"
        "except SourceError as error:\n"
        "    print(error.code)\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**kept, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "source.offline", done.stderr


def test_a_hub_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, get: Fetch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9 cannot be reached"):
        get("hf://acme/one")


def test_a_password_in_the_endpoint_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, get: Fetch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://user:password@127.0.0.1:9")
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        get("hf://acme/one")
    assert "password" not in str(caught.value)


def test_something_else_in_place_of_a_hub_is_said(
    monkeypatch: pytest.MonkeyPatch, web: Server, get: Fetch
) -> None:
    web.put("/api/models/acme/one", b"<html>Please log in</html>")
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    with pytest.raises(SourceError, match="does not answer like a hub"):
        get("hf://acme/one")


def test_the_token_opens_private_repositories_and_is_never_written(
    hub: Hub,
    get: Fetch,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    hub.repositories["acme/one"].access = "private"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    found = get("hf://acme/one")
    hub.repositories["acme/one"].access = "forbidden"
    with pytest.raises(SourceError) as caught:
        get("hf://acme/one/one.gguf")
    texts = [path.read_text() for path in cache.root.rglob("*.json")]
    assert texts
    for text in (*texts, caplog.text, str(caught.value), repr(found)):
        assert hub.token not in text


def test_the_token_does_not_follow_to_the_storage(
    hub: Hub, get: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    with serving(Server()) as storage:
        hub.storage = storage
        storage.faults.append(Fault(cut=1000))
        assert get("hf://acme/one").path.read_bytes() == BODY
        assert [request.range for request in storage.log] == [None, "bytes=1000-"]
        assert all("authorization" not in request.headers for request in storage.log)
    assert all("authorization" in request.headers for request in hub.gets("/resolve/"))


def test_a_wrong_token_is_said(hub: Hub, get: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    hub.instead = lambda handler, _: handler.plain(
        401, b"{}", X_Error_Message="Invalid credentials in Authorization header"
    )
    with pytest.raises(SourceError, match="does not accept the token") as caught:
        get("hf://acme/one")
    assert "hf_wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf", "a//b.gguf", "a\\b.gguf", "c:x.gguf"],
)
def test_no_name_leaves_the_cache(hub: Hub, get: Fetch, cache: Cache, name: str) -> None:
    hub.repositories["acme/evil"] = Repository({"model.gguf": BODY, name: BODY})
    with pytest.raises(SourceError) as caught:
        get("hf://acme/evil/model.gguf")
    assert caught.value.code == "source.unsafe-name"
    assert not list(cache.root.parent.rglob("*.gguf"))


def test_the_same_content_of_two_sources_is_stored_and_fetched_once(hub: Hub, get: Fetch) -> None:
    first = get("hf://acme/one")
    hub.repositories["acme/fork"] = Repository({"renamed.gguf": BODY})
    second = get("hf://acme/fork")
    assert first.path != second.path
    assert first.path.samefile(second.path)
    assert len(hub.gets("/resolve/")) == 1


def test_a_damaged_file_that_two_entries_share_is_replaced_not_written_into(
    hub: Hub, get: Fetch
) -> None:
    shared = get("hf://acme/one").path
    parts = {"m-00001-of-00002.gguf": BODY, "m-00002-of-00002.gguf": BODY[::-1]}
    hub.repositories["acme/two"] = Repository(parts)
    hub.always = Fault(status=404)
    with pytest.raises(SourceError):
        get("hf://acme/two")
    os.truncate(shared, 1000)
    hub.always = None
    found = get("hf://acme/two").path
    assert found.read_bytes() == BODY
    assert shared.stat().st_size == 1000
