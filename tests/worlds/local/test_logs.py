from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.worlds.local.logs import RUNS_KEPT, RunLog, new_run, telling


def test_a_log_never_grows_beyond_its_limit_and_keeps_the_newest(tmp_path: Path) -> None:
    with RunLog(tmp_path / "r.log", limit=1000) as log:
        for number in range(500):
            log.write(f"line {number}\n".encode())
            assert log.path.stat().st_size <= 1000
        text = log.path.read_text()
    assert text.startswith("... older lines dropped ...\n")
    assert text.endswith("line 498\nline 499\n")


@settings(max_examples=100, deadline=None)
@given(chunks=st.lists(st.binary(max_size=300), max_size=30))
def test_any_output_stays_within_the_limit(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    with RunLog(tmp_path_factory.mktemp("log") / "r.log", limit=200) as log:
        for chunk in chunks:
            log.write(chunk)
            assert log.path.stat().st_size <= 200


def test_lines_are_joined_over_chunks_and_an_unended_line_counts(tmp_path: Path) -> None:
    with RunLog(tmp_path / "r.log") as log:
        for chunk in (b"on", b"e\ntw", b"o\nthree"):
            log.write(chunk)
        assert log.lines() == ("one", "two", "three")


def test_a_line_without_end_does_not_fill_memory(tmp_path: Path) -> None:
    with RunLog(tmp_path / "r.log", limit=1000) as log:
        for _ in range(1000):
            log.write(b"x" * 1000)
        assert sum(map(len, log.lines())) < 10_000


def test_a_full_disk_is_noted_and_the_run_goes_on() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with RunLog(full) as log:
        log.write(b"lost\n")
        log.write(b"lost too\n")
        assert "No space left" in log.problem
        assert log.lines() == ("lost", "lost too")


def test_the_logs_of_the_last_runs_are_kept_newest_first(tmp_path: Path) -> None:
    for run in range(RUNS_KEPT + 3):
        path = new_run(tmp_path, "chat-0")
        path.write_text(f"run {run}")
    newest = RUNS_KEPT + 2
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept["chat-0.log"] == f"run {newest}"
    assert kept[f"chat-0.{RUNS_KEPT - 1}.log"] == f"run {newest - RUNS_KEPT + 1}"
    assert len(kept) == RUNS_KEPT


def test_the_telling_line_of_a_failed_start_is_the_cause_not_its_consequence() -> None:
    lines = (
        "0.00.004 I srv init: starting",
        "0.00.008.019 E llama_model_load: error loading model: unknown model architecture: 'x'",
        "0.00.010.779 E srv init: exiting due to model loading error",
    )
    assert telling(lines, first=True) == (
        "llama_model_load: error loading model: unknown model architecture: 'x'"
    )
    assert telling(lines, first=False) == "srv init: exiting due to model loading error"


def test_without_trouble_nothing_is_told() -> None:
    assert telling(("0.00.004 I srv init: a fine day, everybody", ""), first=True) == ""
