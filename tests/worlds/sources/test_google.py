"""`gs://`: the JSON API of Cloud Storage, as a server on loopback speaks it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from plimsoll.errors import SourceError
from plimsoll.worlds.local.sources import gs
from tests.worlds.sources.conftest import Fetch
from tests.worlds.sources.servers import Content, Fault, Handler, Request, Server, serving
from tests.worlds.sources.test_hub import BESIDE, FOLDER

BODY = b"GGUF" + random.Random(6).randbytes(300_000)


class Google(Server):
    """Listing and media of the JSON API; `token` is what the metadata server gives."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.generation = 1
        self.summed = True
        self.token = ""
        self.wanted = ""  # bearer token that the bucket `locked` asks for

    def answer(self, handler: Handler, request: Request) -> None:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        if parts.path.startswith("/computeMetadata/"):
            self._identity(handler)
            return
        bucket, _, rest = parts.path.removeprefix("/storage/v1/b/").partition("/o")
        if bucket == "locked" and request.headers.get("authorization") != f"Bearer {self.wanted}":
            handler.plain(401, b"{}", Content_Type="application/json")
        elif bucket not in ("models", "locked"):
            handler.plain(404, b"{}", Content_Type="application/json")
        elif rest:
            self._media(handler, request, unquote(rest.lstrip("/")), query)
        else:
            self._list(handler, query)

    def _identity(self, handler: Handler) -> None:
        if not self.token:
            handler.plain(404)
            return
        body = json.dumps({"access_token": self.token, "expires_in": 3599}).encode()
        handler.plain(200, body, Metadata_Flavor="Google")

    def _media(
        self, handler: Handler, request: Request, name: str, query: dict[str, list[str]]
    ) -> None:
        if query["generation"] != [str(self.generation)] or name not in self.objects:
            handler.plain(404, b"{}")
            return
        handler.content(request, Content(body=self.objects[name], etag='"any"'))

    def _list(self, handler: Handler, query: dict[str, list[str]]) -> None:
        prefix, after = query["prefix"][0], query.get("pageToken", [""])[0]
        names = sorted(n for n in self.objects if n.startswith(prefix) and n > after)
        shown, more = names[:2], len(names) > 2
        items = [
            {
                "name": name,
                "size": str(len(self.objects[name])),
                "generation": str(self.generation),
                **({"md5Hash": self._sum(name)} if self.summed else {}),
            }
            for name in shown
        ]
        page = {"items": items, **({"nextPageToken": shown[-1]} if more else {})}
        handler.plain(200, json.dumps(page).encode(), Content_Type="application/json")

    def _sum(self, name: str) -> str:
        return base64.b64encode(hashlib.md5(self.objects[name]).digest()).decode()


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    with serving(Google()) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.delenv("GOOGLE_OAUTH_ACCESS_TOKEN", raising=False)
        yield server


def test_an_object_is_fetched(google: Google, get: Fetch) -> None:
    google.objects["llm/m.gguf"] = BODY
    google.objects["llm/m.gguf.sha256"] = b"beside"
    found = get("gs://models/llm/m.gguf")
    assert found.path.read_bytes() == BODY


def test_a_prefix_is_a_folder_also_over_several_pages(google: Google, get: Fetch) -> None:
    for name, body in {**FOLDER, **BESIDE}.items():
        google.objects[f"llm/m/{name}"] = body
    google.objects["llm/mother/other.gguf"] = BODY
    for source in ("gs://models/llm/m", "gs://models/llm/m/"):
        found = get(source)
        assert found.format == "safetensors"
        assert {p.name: p.read_bytes() for p in found.path.iterdir()} == FOLDER


def test_every_part_beside_a_named_part_is_fetched(google: Google, get: Fetch) -> None:
    for i in (1, 2, 3):
        google.objects[f"q/m-{i:05d}-of-00003.gguf"] = BODY + bytes([i])
    found = get("gs://models/q/m-00001-of-00003.gguf")
    assert found.bytes == 3 * len(BODY) + 3


@pytest.mark.parametrize("summed", [True, False])
def test_a_cut_object_is_continued(google: Google, get: Fetch, summed: bool) -> None:
    google.objects["m.gguf"] = BODY
    google.summed = summed
    google.faults.append(Fault(cut=200_000))
    assert get("gs://models/m.gguf").path.read_bytes() == BODY
    first, second = google.gets("alt=media")
    assert first.range is None
    assert second.range is not None


def test_a_wrong_sum_is_noticed(google: Google, get: Fetch) -> None:
    google.objects["m.gguf"] = BODY
    google._sum = lambda _: base64.b64encode(hashlib.md5(b"other").digest()).decode()  # type: ignore[method-assign]
    with pytest.raises(SourceError):
        get("gs://models/m.gguf")


def test_a_given_token_opens_a_bucket(
    google: Google, get: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.objects["m.gguf"] = BODY
    google.wanted = "given"
    with pytest.raises(SourceError, match="not open") as caught:
        get("gs://locked/m.gguf")
    assert "GOOGLE_OAUTH_ACCESS_TOKEN" in (caught.value.hint or "")
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "given")
    found = get("gs://locked/m.gguf")
    assert found.path.read_bytes() == BODY
    assert "given" not in found.source


def test_the_machines_identity_is_asked_where_no_token_is_given(
    google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GCE_METADATA_HOST", google.url.removeprefix("http://"))
    assert gs._token() is None
    google.token = "machine"
    assert gs._token() == "machine"
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    assert gs._token() is None


@pytest.mark.parametrize("source", ["gs://models/absent.gguf", "gs://nobody/m.gguf"])
def test_what_is_not_there_is_said(google: Google, get: Fetch, source: str) -> None:
    with pytest.raises(SourceError) as caught:
        get(source)
    assert caught.value.code == "source.not-found"


def test_a_server_of_another_kind_is_said(google: Google, get: Fetch) -> None:
    google.instead = lambda handler, _: handler.plain(200, b"[1]")
    with pytest.raises(SourceError, match="Cloud Storage"):
        get("gs://models/m.gguf")
