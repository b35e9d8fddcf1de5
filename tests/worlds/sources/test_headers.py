"""A model behind a hub, a URL or a bucket is sized without fetching its weights."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from plimsoll.errors import FormatError, InputError, SourceError
from plimsoll.facts.network import Network
from plimsoll.facts.parameters import parameters
from plimsoll.worlds.local.sources import Patience, local_network, remote_network
from tests.facts.configs import LLAMA, read
from tests.models import write_tiny_gguf
from tests.worlds.sources.servers import Fault, Hub, Repository, Server, Store

CONFIG = json.dumps(LLAMA).encode()
INDEX = json.dumps({"metadata": {"total_size": 123456}, "weight_map": {}}).encode()
WEIGHTS = bytes(3 << 20)  # never asked for
FILES = {
    "config.json": CONFIG,
    "model.safetensors.index.json": INDEX,
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": WEIGHTS,
}


def network(source: str) -> Network:
    return remote_network(source, patience=Patience(tries=3, first=0.01, longest=0.05))


@pytest.fixture
def gguf(tmp_path: Path) -> bytes:
    return write_tiny_gguf(tmp_path / "a.gguf", hidden=256, layers=24, ffn=1024).read_bytes()


def test_a_repository_is_sized_by_its_configuration(hub: Hub) -> None:
    hub.repositories["acme/folder"] = Repository(FILES)
    found = network("hf://acme/folder")
    assert found.layers == read(LLAMA).layers
    assert (found.name, found.stored_bytes) == ("acme/folder", 2 * len(WEIGHTS))
    assert [r.path for r in hub.gets("safetensors") if "index" not in r.path] == []


def test_the_index_tells_the_bytes_where_the_listing_does_not(hub: Hub) -> None:
    hub.repositories["acme/plain"] = Repository(FILES, metadata=False)
    assert network("hf://acme/plain").stored_bytes == 123456


def test_a_repository_of_pickles_is_sized_although_it_cannot_be_fetched(hub: Hub) -> None:
    hub.repositories["acme/old"] = Repository({"config.json": CONFIG, "pytorch_model.bin": b"p"})
    assert network("hf://acme/old").stored_bytes == 0


def test_the_quantization_beside_the_configuration_is_read(hub: Hub) -> None:
    said = {"quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}}
    files = FILES | {"hf_quant_config.json": json.dumps(said).encode()}
    hub.repositories["acme/fp4"] = Repository(files)
    assert network("hf://acme/fp4").stored == "nvfp4"


def test_a_repository_for_sentence_transformers_yields_vectors(hub: Hub) -> None:
    hub.repositories["acme/vectors"] = Repository(FILES | {"modules.json": b"[]"})
    assert network("hf://acme/vectors").embedding


def test_the_token_opens_a_gated_repository(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["acme/gated"] = Repository(FILES, access="gated")
    with pytest.raises(SourceError) as caught:
        network("hf://acme/gated")
    assert caught.value.code == "source.gated"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert network("hf://acme/gated").hidden == 64


def test_a_gguf_in_a_repository_is_sized_by_its_header(hub: Hub, gguf: bytes) -> None:
    hub.repositories["acme/gguf"] = Repository({"m.gguf": gguf})
    found = network("hf://acme/gguf/m.gguf")
    assert (found.depth, found.hidden) == (24, 256)
    assert 0 < found.stored_bytes <= len(gguf)


def test_a_gguf_behind_a_url_is_read_no_further_than_its_header(web: Server, gguf: bytes) -> None:
    url = web.put("/m/model.gguf", gguf + bytes(64 << 20))
    rest = threading.Event()
    web.faults.append(Fault(gate=rest, before_gate=2 << 20))  # nothing comes after two MiB
    try:
        assert network(url).depth == 24
    finally:
        rest.set()


def test_a_header_longer_than_the_first_piece_is_read_on(web: Server, tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "b.gguf", vocab=60_000)
    body = path.read_bytes()
    assert network(web.put("/b.gguf", body)).vocab == 60_000
    assert [r.range for r in web.gets()][1:] != []


def test_a_cut_header_is_continued_where_it_broke(web: Server, gguf: bytes) -> None:
    url = web.put("/m.gguf", gguf)
    web.faults.append(Fault(cut=100_000))
    assert network(url).depth == 24
    assert web.gets()[1].range == "bytes=100000-"


@pytest.mark.parametrize("name", ["config.json", "model-00001-of-00002.safetensors"])
def test_a_url_is_sized_by_the_configuration_beside_it(web: Server, name: str) -> None:
    for file, body in FILES.items():
        web.put(f"/m/{file}", body)
    found = network(f"{web.url}/m/{name}")
    assert (found.hidden, found.stored_bytes) == (64, 123456)
    assert [r for r in web.gets() if r.path.endswith(".safetensors")] == []


def test_a_url_without_a_configuration_says_what_to_name(web: Server) -> None:
    with pytest.raises(SourceError, match=r"config\.json") as caught:
        network(web.put("/m/model.safetensors", WEIGHTS))
    assert caught.value.code == "source.no-config"
    assert caught.value.hint


def test_a_prefix_of_a_bucket_is_sized_by_its_configuration(store: Store) -> None:
    for name, body in FILES.items():
        store.add("models", f"llm/m/{name}", body)
    found = network("s3://models/llm/m")
    assert (found.hidden, found.stored_bytes) == (64, 2 * len(WEIGHTS))
    assert store.gets("/models/llm/m/model-") == []


def test_a_gguf_in_a_bucket_is_sized_by_its_header(store: Store, gguf: bytes) -> None:
    store.add("models", "m.gguf", gguf)
    found = network("s3://models/m.gguf")
    assert found.depth == 24
    assert parameters(found) > 0


def test_an_object_that_is_not_there_is_told(store: Store) -> None:
    store.buckets["models"] = {}
    with pytest.raises(SourceError) as caught:
        network("s3://models/nothing")
    assert caught.value.code == "source.not-found"


@pytest.mark.parametrize("body", [b"{}", b"nonsense", b"[" * 9999])
def test_a_configuration_that_makes_no_sense_is_told(hub: Hub, body: bytes) -> None:
    hub.repositories["acme/bad"] = Repository({"config.json": body})
    with pytest.raises(FormatError):
        network("hf://acme/bad")


@pytest.mark.parametrize("source", ["pvc://claim/m", "oci://r/m:1", "builtin:demo"])
def test_a_source_that_is_not_remote_here_is_refused(source: str) -> None:
    with pytest.raises(InputError) as caught:
        network(source)
    assert caught.value.hint


def test_a_server_that_fails_is_asked_again_and_then_given_up(web: Server, gguf: bytes) -> None:
    url = web.put("/m.gguf", gguf)
    web.always = Fault(status=503)
    with pytest.raises(SourceError, match="tried 3 times"):
        network(url)


def test_a_folder_on_this_disk_is_sized_like_the_same_folder_afar(tmp_path: Path) -> None:
    for name, body in FILES.items():
        (tmp_path / name).write_bytes(body)
    found = local_network(tmp_path)
    assert (found.layers, found.stored_bytes) == (read(LLAMA).layers, 2 * len(WEIGHTS))


def test_a_gguf_on_this_disk_is_sized_by_its_header(tmp_path: Path, gguf: bytes) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf)
    assert (local_network(path).name, local_network(path).depth) == ("tiny", 24)


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        local_network(tmp_path / "nothing.gguf")
