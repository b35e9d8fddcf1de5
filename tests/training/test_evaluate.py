"""The evaluation itself can fail: it is strict about streams, ends and shares."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.training.engine import Server
from training.demo.evaluate import Answer, Measure, Report, read_stream

FIRST = b'data: {"choices":[{"delta":{"content":"A"},"finish_reason":null}]}'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}'
DONE = b"data: [DONE]"


def test_a_whole_stream_is_joined() -> None:
    found = read_stream([FIRST, b"", FIRST, b"", LAST, b"", DONE])
    assert found == Answer(text="AA", finish="stop")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([FIRST, LAST], "the stream ended without [DONE]"),
        ([FIRST, DONE], "done without a finish reason"),
        ([LAST, FIRST, DONE], "text after the finish reason"),
        ([FIRST, b'data: {"error": "gone"}'], "error: gone"),
    ],
)
def test_a_broken_stream_is_not_an_answer(lines: list[bytes], problem: str) -> None:
    assert read_stream(lines).finish == problem


def _report(*, exact: int, stopped: int, differing: list[str]) -> Report:
    measure = Measure(name="plain", asked=100, exact=exact, stopped=stopped, counts=True)
    return Report(measures=[measure], streams_that_differ=differing, seconds=0.0)


def test_it_passes_only_when_exact_stopped_and_streamed_alike() -> None:
    assert _report(exact=95, stopped=100, differing=[]).passes(0.95)
    assert not _report(exact=94, stopped=100, differing=[]).passes(0.95)
    assert not _report(exact=100, stopped=99, differing=[]).passes(0.95)
    assert not _report(exact=100, stopped=100, differing=["MIG"]).passes(0.95)


def test_the_command_reports_json_and_fails_where_answers_do_not_come(server: Server) -> None:
    command = [sys.executable, "-m", "training.demo.evaluate", "--brief", "--json"]
    command += ["--base-url", f"{server.address}/nowhere", "--model", "demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert not report["passes"]
    assert report["measures"][0]["unstopped"][0].startswith("GPU (HTTP 404")
