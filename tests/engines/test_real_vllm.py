"""A real vLLM on processors, started by the command that we render: answers, metrics, its end."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from plimsoll.engines import ENGINES
from tests.vllm_server import (
    VllmServer,
    need_mounts,
    processor_placement,
    serve_vllm,
    write_tiny_llama,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
METRICS = Path(__file__).parents[1] / "golden" / "engines" / "vllm.metrics.txt"
LONG = 1900  # tokens, on a context of 2,048


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def server(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    scratch = tmp_path_factory.mktemp("vllm")
    with serve_vllm(llama, scratch, place=processor_placement(parallel=2)) as running:
        yield running


def client(server: VllmServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)


def asked(
    server: VllmServer, tokens: int, *, silence: float = 600.0
) -> openai.Stream[openai.types.Completion]:
    """A stream; `silence` is how many seconds it may say nothing before it counts as cut."""
    return (
        client(server)
        .with_options(timeout=silence)
        .completions.create(
            model=server.model,
            prompt="a",
            max_tokens=tokens,
            stream=True,
            extra_body={"ignore_eos": True},
        )
    )


@contextlib.contextmanager
def kept_asking(server: VllmServer, streams: int) -> Iterator[None]:
    """So many streams at any time, however fast they end; at the end they are closed in the middle.

    A machine of which others take a part may not look while three that begin together all run.
    """
    enough = threading.Event()

    def ask() -> None:
        while not enough.is_set():
            with asked(server, LONG) as stream:
                for _ in stream:
                    if enough.is_set():
                        break

    threads = [threading.Thread(target=ask) for _ in range(streams)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_it_answers_a_chat_through_the_official_sdk(server: VllmServer) -> None:
    answer = client(server).chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "hello"}], max_tokens=8
    )
    assert answer.model == "tiny"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


def test_its_context_is_the_placement_s(server: VllmServer) -> None:
    (model,) = client(server).models.list().data
    assert model.model_dump()["max_model_len"] == 2048


def test_its_metrics_have_the_recorded_names_and_are_counted(server: VllmServer) -> None:
    def names(text: str) -> set[str]:
        return {line.split("{")[0].split()[0] for line in text.splitlines() if line[:1] != "#"}

    before = ENGINES["vllm"].counts(server.metrics())
    with asked(server, 5) as stream:
        assert len(list(stream)) >= 5
    after = ENGINES["vllm"].counts(server.metrics())
    assert (before.generated_tokens or 0) + 5 == after.generated_tokens
    assert names(METRICS.read_text()) - names(server.metrics()) == set()


def test_two_run_and_one_waits_and_a_closed_stream_frees_its_place(server: VllmServer) -> None:
    def counted() -> tuple[int, int]:
        counts = ENGINES["vllm"].counts(server.metrics())
        return counts.running, counts.waiting

    with kept_asking(server, 3):
        until(lambda: counted() == (2, 1))
    until(lambda: counted() == (0, 0))


def test_its_label_of_the_model_is_the_one_of_the_catalogue(server: VllmServer) -> None:
    label = ENGINES["vllm"].capabilities.model_label
    assert f'vllm:num_requests_running{{engine="0",{label}="tiny"}}' in server.metrics()


def test_probes_and_scrapes_leave_no_line_in_its_log(server: VllmServer) -> None:
    server.metrics()
    assert "/metrics HTTP" not in server.log.read_text()
    assert "/health HTTP" not in server.log.read_text()


def test_after_sigterm_a_stream_ends_whole_and_the_process_exits(
    llama: Path, tmp_path: Path
) -> None:
    """And all of it on a root that is read-only but for the folders that the container names."""
    need_mounts()
    with serve_vllm(llama, tmp_path, max_stream=60, read_only=True) as server:
        with asked(server, LONG) as stream:
            chunks = iter(stream)
            next(chunks)
            server.process.send_signal(signal.SIGTERM)
            rest = list(chunks)
        assert rest[-1].choices[0].finish_reason == "length"
        assert sum(bool(chunk.choices[0].text) for chunk in rest) > LONG / 4
        assert server.process.wait(60) == 0
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert written <= {"cache", "tmp", "named", "vllm.log"}


def test_without_a_drain_a_stream_would_be_cut(llama: Path, tmp_path: Path) -> None:
    """The other half of the rule: what `--shutdown-timeout` is for."""
    with serve_vllm(llama, tmp_path, max_stream=0) as server:
        # Its engine is killed at once; the server sometimes never says so to who is reading.
        with asked(server, LONG, silence=15.0) as stream:
            chunks = iter(stream)
            next(chunks)
            server.process.send_signal(signal.SIGTERM)
            ended = [
                chunk.choices[0].finish_reason
                for chunk in _whatever_comes(chunks)
                if chunk.choices[0].finish_reason
            ]
        assert "length" not in ended


def _whatever_comes(
    chunks: Iterator[openai.types.Completion],
) -> Iterator[openai.types.Completion]:
    try:
        yield from chunks
    except (openai.APIError, httpx.HTTPError, OSError):
        return


def test_an_embedding_placement_answers_embeddings(llama: Path, tmp_path: Path) -> None:
    with serve_vllm(llama, tmp_path, place=processor_placement(task="embedding")) as server:
        answer = client(server).embeddings.create(
            model="tiny", input=["one", "two"], encoding_format="float"
        )
        assert [len(each.embedding) for each in answer.data] == [128, 128]
        assert ENGINES["vllm"].counts(server.metrics()).prompt_tokens
