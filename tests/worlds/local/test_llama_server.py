"""`llama-server` as a process: its flags, its exit codes, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plimsoll.engines import ENGINES
from plimsoll.engines.protocol import Setting
from plimsoll.facts.engines import engine as engine_facts
from plimsoll.worlds.local import llama_server
from plimsoll.worlds.local.llama_server import parameters
from plimsoll.worlds.local.probe import get
from tests.worlds.local.harness import CONTEXT, placement, stream

MINIMUM = ("--model", "m.gguf", "--port", "0")


def flags(weights: Path, *, port: int = 0, task: str = "chat") -> list[str]:
    place = placement(task=task)
    setting = Setting(weights=str(weights), host="127.0.0.1", port=port)
    command = ENGINES["llamacpp"].command(place, setting)
    return list(command.argv[1:])


@contextmanager
def serving(
    arguments: list[str], **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """The process and our end of its lifeline."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", llama_server.__file__, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **variables, "PLIMSOLL_LIFELINE": str(theirs.fileno())},
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        ours.settimeout(20)
        try:
            yield process, ours
        finally:
            process.kill()
            process.communicate()


def address(lifeline: socket.socket) -> str:
    with lifeline.makefile("r") as words:
        assert words.readline() == "loading\n"
        word, _, where = words.readline().strip().partition(" ")
    assert word == "listening"
    return where


def failure(arguments: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "plimsoll.worlds.local.llama_server", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("task", ["chat", "embedding"])
def test_every_flag_that_the_adapter_renders_reaches_the_engine(task: str) -> None:
    params = parameters(flags(Path("/w.gguf"), port=1234, task=task))
    assert (params.model.path, params.port, params.hostnames) == ("/w.gguf", 1234, ["127.0.0.1"])
    assert params.model_alias == {"tiny"}
    assert (params.n_ctx, params.n_parallel) == (2 * CONTEXT, 2)
    assert (params.n_batch, params.n_ubatch) == (128, 128)
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (1, 1)
    assert params.cache_type_k.name == params.cache_type_v.name == "GGML_TYPE_F16"
    assert params.load_mode.name == "LLAMA_LOAD_MODE_NONE"
    assert params.lazy_mode.name == "LLAMA_LAZY_MODE_OFF"
    assert params.flash_attn_type.name == "LLAMA_FLASH_ATTN_TYPE_ENABLED"
    assert (params.n_gpu_layers, params.cache_ram_mib, params.n_ctx_checkpoints) == (0, 0, 0)
    assert (params.endpoint_metrics, params.endpoint_slots, params.endpoint_props) == (
        True,
        False,
        False,
    )
    assert (params.ui, params.fit_params, params.kv_unified) == (False, False, False)
    assert params.embedding is (task == "embedding")
    pooling = "MEAN" if task == "embedding" else "UNSPECIFIED"
    assert params.pooling_type.name == f"LLAMA_POOLING_TYPE_{pooling}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*MINIMUM, "--no-such-flag"), "--no-such-flag is not a flag"),
        ((*MINIMUM, "--port", "1"), "--port is given twice"),
        ((*MINIMUM, "--ctx-size"), "--ctx-size needs a value"),
        ((*MINIMUM, "--ctx-size", "many"), "--ctx-size: invalid literal"),
        ((*MINIMUM, "--cache-type-k", "f17"), "--cache-type-k: `f17` is not one of"),
        ((*MINIMUM, "--flash-attn", "maybe"), "--flash-attn: `maybe` is not one of"),
        ((*MINIMUM, "--fit", "loosely"), "--fit: `loosely` is not one of"),
        (("--port", "1"), "--model must be given"),
        (("--model", "m"), "--port must be given"),
    ],
)
def test_wrong_flags_are_refused(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parameters(arguments)


def test_wrong_flags_exit_2_without_a_traceback() -> None:
    code, said = failure(["--modell", "x"])
    assert code == 2
    assert said == "llama_server: --modell is not a flag that is known here\n"


def test_a_file_that_is_no_model_exits_1_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "letter.gguf"
    path.write_text("Dear reader")
    code, said = failure(flags(path))
    assert code == 1
    assert "invalid magic" in said
    assert "Traceback" not in said


def test_an_unknown_architecture_exits_1_and_names_it(unknown_architecture: Path) -> None:
    code, said = failure(flags(unknown_architecture))
    assert code == 1
    assert "unknown model architecture: 'lambd'" in said


def test_a_truncated_file_exits_1_and_says_so(truncated: Path) -> None:
    code, said = failure(flags(truncated))
    assert code == 1
    assert "corrupted or incomplete" in said


def test_a_port_that_is_taken_exits_1_and_names_it(weights: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = failure(flags(weights, port=port))
    assert code == 1
    assert f"port: {port}" in said


def test_sigterm_exits_0_at_once_also_with_an_open_stream(weights: Path) -> None:
    async def scene(process: subprocess.Popen[bytes], where: str) -> int:
        running = await stream(where, tokens=1500)
        assert await running.event()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(1.0):
            code = await asyncio.to_thread(process.wait)
        running.close()
        return code

    with serving(flags(weights)) as (process, lifeline):
        assert asyncio.run(scene(process, address(lifeline))) == 0


def test_told_to_drain_it_ends_its_streams_after_sigterm_and_then_exits_0(weights: Path) -> None:
    async def scene(process: subprocess.Popen[bytes], where: str) -> tuple[bool, int]:
        running = await stream(where, tokens=1500)
        assert await running.event()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20.0):
            await running.rest()
            code = await asyncio.to_thread(process.wait)
        running.close()
        return running.ended, code

    with serving(flags(weights), PLIMSOLL_DRAIN_SECONDS="60") as (process, lifeline):
        assert asyncio.run(scene(process, address(lifeline))) == (True, 0)


def test_told_to_drain_it_exits_at_once_when_it_is_idle(weights: Path) -> None:
    with serving(flags(weights), PLIMSOLL_DRAIN_SECONDS="60") as (process, lifeline):
        address(lifeline)
        process.send_signal(signal.SIGTERM)
        assert process.wait(2.0) == 0


def test_a_stream_that_outlives_the_drain_is_cut(weights: Path) -> None:
    async def scene(process: subprocess.Popen[bytes], where: str) -> tuple[bool, int]:
        streams = [await stream(where, tokens=1900) for _ in range(8)]
        assert await streams[0].event()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20.0):
            code = await asyncio.to_thread(process.wait)
            await streams[-1].rest()
        for each in streams:
            each.close()
        return streams[-1].ended, code

    with serving(flags(weights), PLIMSOLL_DRAIN_SECONDS="0.3") as (process, lifeline):
        assert asyncio.run(scene(process, address(lifeline))) == (False, 0)


@pytest.mark.parametrize("said", ["soon", "-1", "inf", "nan", ""])
def test_a_drain_that_is_no_number_of_seconds_exits_2(
    said: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLIMSOLL_DRAIN_SECONDS", said)
    code, words = failure(flags(weights))
    assert code == 2
    assert f"PLIMSOLL_DRAIN_SECONDS: `{said}` is not a number of seconds" in words


def test_it_knows_every_flag_that_the_fleet_file_may_say() -> None:
    allowed = engine_facts("llamacpp").further_flags
    known = dict.fromkeys(llama_server._VALUED, 1) | dict.fromkeys(llama_server._BARE, 0)
    assert {flag: known.get(flag) for flag in allowed} == dict(allowed)
    assert not {"--model", "--alias", "--host", "--port", "--metrics"} & set(allowed)


def test_it_exits_when_the_other_end_of_its_lifeline_is_gone(weights: Path) -> None:
    with serving(flags(weights)) as (process, lifeline):
        address(lifeline)
        lifeline.close()
        assert process.wait(1.0) == 1


def test_a_web_page_may_not_read_its_answers(weights: Path) -> None:
    async def header(where: str) -> bytes:
        host, _, port = where.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /health HTTP/1.0\r\nHost: x\r\nOrigin: http://evil.example\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        return head

    with serving(flags(weights)) as (_process, lifeline):
        head = asyncio.run(header(address(lifeline)))
    allowed = [line for line in head.split(b"\r\n") if b"allow-origin" in line.lower()]
    assert all(line.partition(b":")[2].strip() == b"" for line in allowed)


def test_nothing_that_can_be_turned_off_is_exposed(weights: Path) -> None:
    async def statuses(where: str) -> dict[str, int]:
        paths = ("/", "/slots", "/tools", "/cors-proxy")
        return {path: (await get(where, path, seconds=5)).status for path in paths}

    with serving(flags(weights)) as (_process, lifeline):
        found = asyncio.run(statuses(address(lifeline)))
    assert all(status in {403, 404, 501} for status in found.values()), found
