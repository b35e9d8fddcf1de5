"""`plimsoll simulate`: a fleet file and a trace in, an outcome or the first failing minute out."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from plimsoll.cli.files import read_fleet
from plimsoll.cli.main import main
from plimsoll.cli.planning import plan_of
from plimsoll.cli.simulate_fleet import Wished, _lost_in_a_month, simulated
from plimsoll.cli.simulate_policies import POLICIES
from plimsoll.errors import InputError

EXAMPLES = Path(__file__).parents[2] / "examples" / "plans"
FLEET = EXAMPLES / "any-cloud.yaml"
COMMON = (str(FLEET), "--json")


def trace(
    folder: Path, *, seconds: float, rate: float, prompt: int = 800, answer: int = 100
) -> Path:
    """Requests at an even rate, in Azure's shape."""
    file = folder / f"{rate:g}-{prompt}.csv"
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for number in range(int(seconds * rate)):
        minute, second = divmod(number / rate, 60)
        hour, minute = divmod(int(minute), 60)
        lines.append(f"2024-05-10 {hour:02}:{minute:02}:{second:09.6f},{prompt},100")
    file.write_text("\n".join(lines) + "\n")
    return file


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["simulate", *arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, err = outcome(capsys, *arguments)
    assert out, err
    body: dict[str, Any] = json.loads(out)
    return code, body


@pytest.fixture
def calm(tmp_path: Path) -> str:
    """Ten minutes that one replica carries."""
    return str(trace(tmp_path, seconds=600, rate=2))


def test_what_comes_is_answered_or_counted_as_refused(
    capsys: pytest.CaptureFixture[str], calm: str
) -> None:
    code, body = told(capsys, *COMMON, "--trace", calm)
    requests = body["requests"]
    assert code == 0
    assert body["serves"]
    assert requests["arrived"] == 1200
    assert requests["answered"] + requests["broken"] + sum(requests["refused"].values()) == 1200


def test_hours_and_dollars_are_those_of_the_replicas(
    capsys: pytest.CaptureFixture[str], calm: str
) -> None:
    _, body = told(capsys, *COMMON, "--trace", calm, "--policy", "fixed", "--max", "1")
    hours = body["gpuHours"]
    assert hours["total"] == pytest.approx(body["seconds"] / 3600, rel=1e-6)
    assert body["dollars"] == pytest.approx(hours["total"] * 6.88, rel=1e-6)
    assert body["replicas"]["started"] == 0


def test_the_same_seed_gives_the_same_bytes(capsys: pytest.CaptureFixture[str], calm: str) -> None:
    first = outcome(capsys, *COMMON, "--trace", calm, "--seed", "3")
    assert outcome(capsys, *COMMON, "--trace", calm, "--seed", "3") == first


@pytest.mark.parametrize("policy", ["fleet", *POLICIES, "keda:85"])
def test_every_policy_carries_a_calm_trace(
    capsys: pytest.CaptureFixture[str], calm: str, policy: str
) -> None:
    code, body = told(capsys, *COMMON, "--trace", calm, "--policy", policy)
    assert code == 0
    assert body["policy"] == policy
    assert body["objectives"]["ttft"]["met"]


def test_a_part_played_faster_has_its_requests_in_less_time(
    capsys: pytest.CaptureFixture[str], calm: str
) -> None:
    _, body = told(
        capsys, *COMMON, "--trace", calm, "--from", "2m", "--until", "6m", "--speed", "2"
    )
    assert body["requests"]["arrived"] == 480
    assert 120 <= body["seconds"] < 180


def test_a_slower_start_makes_more_of_a_rush_wait(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rush = str(trace(tmp_path, seconds=600, rate=20))
    worst = [
        told(capsys, *COMMON, "--trace", rush, "--cold-start", seconds)[1]["ttftSeconds"]["p95"]
        for seconds in ("10", "300")
    ]
    assert worst[0] < worst[1]


def test_a_fleet_that_is_too_small_is_told_when_it_fails_and_what_would_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rush = str(trace(tmp_path, seconds=240, rate=25))
    code, body = told(capsys, *COMMON, "--trace", rush, "--policy", "fixed", "--max", "1")
    assert code == 3
    assert not body["serves"]
    assert body["firstFailingMinute"] == 1
    error = body["error"]
    assert error["code"] == "does-not-fit.trace"
    assert "minute 1" in error["message"]
    enough = int(error["hint"].split("`scaling.min: ")[1].split("`")[0])
    fixed = (*COMMON, "--trace", rush, "--policy", "fixed")
    assert told(capsys, *fixed, "--min", str(enough))[0] == 0
    assert told(capsys, *fixed, "--min", str(enough - 1))[0] == 3


def test_requests_beyond_the_context_are_refused_and_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    long = str(trace(tmp_path, seconds=120, rate=1, prompt=60_000))
    code, out, err = outcome(capsys, str(FLEET), "--trace", long)
    assert code == 3
    assert "120 too-long" in out
    assert "raise `context`" in err


def test_without_a_price_nothing_has_a_cost(capsys: pytest.CaptureFixture[str], calm: str) -> None:
    fleet = str(EXAMPLES / "chat-and-embedding.yaml")
    _, body = told(capsys, fleet, "--json", "--model", "chat", "--trace", calm)
    assert body["dollars"] is None
    assert any("no price" in note for note in body["notes"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2024-05-10 00:00:00.0,5,5", "earlier"),
        ("2024-05-10 00:59:00.0,-5,5", "ContextTokens"),
        ("2024-05-10 00:59:00.0,5", "cells"),
    ],
)
def test_a_broken_line_of_a_trace_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, said: str
) -> None:
    file = trace(tmp_path, seconds=10, rate=1)
    file.write_text(file.read_text() + line + "\n")
    code, _, err = outcome(capsys, str(FLEET), "--trace", str(file))
    assert code == 2
    assert f"{file}:12" in err
    assert said in err


def test_a_broken_trace_is_not_left_open(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = trace(tmp_path, seconds=10, rate=1)
    file.write_text(file.read_text() + "2024-05-10 00:59:00.0,-5,5\n" * 3)
    gc.disable()
    try:
        assert outcome(capsys, str(FLEET), "--trace", str(file))[0] == 2
        assert str(file) not in [each.path for each in psutil.Process().open_files()]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "wrong",
    [
        ("--policy", "guess"),
        ("--policy", "mm1:80"),
        ("--policy", "keda:none"),
        ("--from", "9h"),
        ("--from", "soon"),
        ("--model", "nobody"),
        ("--min", "5", "--max", "2"),
        ("--rates-of", "m-large"),
        ("--speed", "0"),
    ],
)
def test_what_cannot_be_meant_is_the_callers_error(
    capsys: pytest.CaptureFixture[str], calm: str, wrong: tuple[str, ...]
) -> None:
    code, _, err = outcome(capsys, str(FLEET), "--trace", calm, *wrong)
    assert code == 2, err


@pytest.mark.parametrize(
    ("example", "model", "said"),
    [
        ("chat-and-embedding", None, "which it asks"),
        ("chat-and-embedding", "embed", "embedding"),
        ("deepseek-r1", None, "data parallel"),
    ],
)
def test_what_is_not_simulated_is_refused(example: str, model: str | None, said: str) -> None:
    loaded = read_fleet((str(EXAMPLES / f"{example}.yaml"),))
    with pytest.raises(InputError, match=said):
        simulated(loaded.fleet, plan_of(loaded)[0], Wished(model=model))


def test_a_report_is_written_whether_or_not_the_fleet_serves(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, calm: str
) -> None:
    long = str(trace(tmp_path, seconds=120, rate=1, prompt=60_000))
    for source, code in ((calm, 0), (long, 3)):
        file = tmp_path / f"{code}.html"
        assert outcome(capsys, str(FLEET), "--trace", source, "--report", str(file))[0] == code
        assert "Replicas against demand" in file.read_text()


def test_a_report_that_cannot_be_written_is_the_callers_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, calm: str
) -> None:
    file = tmp_path / "nowhere" / "page.html"
    code, _, err = outcome(capsys, str(FLEET), "--trace", calm, "--report", str(file))
    assert code == 2
    assert str(file) in err


def test_a_mixed_pool_is_simulated_with_both_prices() -> None:
    loaded = read_fleet((str(EXAMPLES / "spot-and-on-demand.yaml"),))
    hardware = simulated(loaded.fleet, plan_of(loaded)[0], Wished()).one.hardware
    assert hardware.share == pytest.approx(0.7)
    assert 0 < hardware.spot < hardware.price
    assert hardware.zones[0].losses > 0


@pytest.mark.parametrize(("published", "share"), [("<5%", 0.05), ("10-15%", 0.15), ("", 0.0)])
def test_losses_are_taken_at_the_upper_end_of_what_is_published(
    published: str, share: float
) -> None:
    assert _lost_in_a_month(published) == share
