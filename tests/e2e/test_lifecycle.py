"""`plimsoll up` from start to stop, and what happens when something dies in between."""

from __future__ import annotations

import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.running import PATIENCE, Up, environment_in, run, up, wait_for
from tests.worlds.local.harness import alive

HEADER = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata:
  name: test
spec:
"""
TWO_REPLICAS = (
    HEADER
    + """\
  models:
    - {name: demo, source: "builtin:demo", engine: llamacpp, scaling: {min: 2, max: 2}}
"""
)
IDLE = (
    HEADER
    + """\
  models:
    - name: demo
      source: builtin:demo
      engine: llamacpp
      scaling: {min: 0, max: 1, cooldown: 2s}
"""
)
GROWING = (
    HEADER
    + """\
  models:
    - name: demo
      source: builtin:demo
      engine: llamacpp
      scaling: {min: 1, max: 2, target: 2, stabilization: 3s}
"""
)
BODY = {
    "model": "demo",
    "temperature": 0,
    "messages": [{"role": "user", "content": "What is a KV cache?"}],
}
# `ignore_eos` is the engine's own field: a stream that lasts as long as the test needs it.
LONG = {**BODY, "ignore_eos": True, "max_tokens": 400, "stream": True}


def chat(url: str, **more: object) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json={**BODY, **more}, timeout=PATIENCE)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(alive(process) for process in processes)


def test_a_request_sent_before_any_replica_is_ready_waits_for_one(tmp_path: Path) -> None:
    # How long the first token takes is benchmarks/first_token's claim.
    with up(tmp_path) as running:
        assert chat(running.url).status_code == 200
        states = [e["state"] for e in running.events if e.get("replica") == "demo-0"]
        assert states[0] == "starting"


def test_interrupt_lets_streams_finish_then_exits_0_and_leaves_nothing(tmp_path: Path) -> None:
    with up(tmp_path) as running:
        running.event("ready")
        family = running.engines()
        lines: list[str] = []
        begun = threading.Event()

        def read() -> None:
            with httpx.stream(
                "POST", f"{running.url}/v1/chat/completions", json=LONG, timeout=PATIENCE
            ) as answer:
                for line in answer.iter_lines():
                    lines.append(line)
                    begun.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert begun.wait(PATIENCE)
        assert running.stop(signal.SIGINT) == 0
        reader.join(PATIENCE)
        assert "data: [DONE]" in lines
        assert gone(family)
        assert not list((tmp_path / "state" / "run").iterdir())


def test_a_drain_that_takes_too_long_is_cut_with_a_well_formed_error(tmp_path: Path) -> None:
    with up(tmp_path, arguments=("--drain", "100ms")) as running:
        running.event("ready")
        with httpx.stream(
            "POST",
            f"{running.url}/v1/chat/completions",
            json={**LONG, "max_tokens": 100_000},
            timeout=PATIENCE,
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line.startswith("data: ")]
        assert "error" in json.loads(rest[-1].removeprefix("data: "))
        assert running.process.wait(PATIENCE) == 0


def test_killing_up_leaves_no_process(tmp_path: Path) -> None:
    with up(tmp_path, fleet=TWO_REPLICAS) as running:
        running.event("ready")
        family = running.engines()
        assert len(family) >= 2
        running.process.kill()
        wait_for(lambda: gone(family), what="every engine gone", seconds=5)
        status = run("status", "--json", environment=running.environment)
        assert status.returncode == 1
        assert json.loads(status.stdout) == {"fleets": []}


def test_a_killed_replica_loses_no_whole_request_and_is_started_again(tmp_path: Path) -> None:
    with up(tmp_path, fleet=TWO_REPLICAS) as running:
        running.event("ready")
        victim = running.engine_of("demo-0")
        stop = threading.Event()

        def ask() -> list[int]:
            codes = []
            while not stop.is_set():
                codes.append(chat(running.url).status_code)
            return codes

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask) for _ in range(8)]
            try:
                wait_for(lambda: _completed(running) > 20, what="some answers")
                victim.kill()
                running.event("replica", state="failed")
                wait_for(lambda: len(_ready(running)) == 2, what="two replicas are ready again")
            finally:
                stop.set()
            codes = [code for future in asking for code in future.result()]
        assert set(codes) == {200}
        failed = running.event("replica", state="failed")
        assert "SIGKILL" in failed["reason"]


def test_a_stream_goes_on_when_its_only_replica_is_killed(tmp_path: Path) -> None:
    fleet = TWO_REPLICAS.replace("min: 2, max: 2", "min: 1, max: 1")
    with up(tmp_path, fleet=fleet) as running:
        running.event("ready")
        rest = _killed_under_a_stream(running)
        assert rest[-1] == "data: [DONE]"
        assert not any('"error"' in line for line in rest)
        events = [json.loads(line.removeprefix("data: ")) for line in rest[:-1]]
        assert len({event["id"] for event in events}) == 1
        assert [
            choice["finish_reason"]
            for event in events
            for choice in event["choices"]
            if choice["finish_reason"]
        ] == ["length"]


def test_without_continuation_a_killed_replica_ends_its_streams_with_an_error(
    tmp_path: Path,
) -> None:
    fleet = TWO_REPLICAS.replace("min: 2, max: 2", "min: 1, max: 1")
    with up(
        tmp_path, fleet=f"{fleet}  gateway:\n    retries: {{continuation: false}}\n"
    ) as running:
        running.event("ready")
        rest = _killed_under_a_stream(running)
        assert "error" in json.loads(rest[-1].removeprefix("data: "))
        assert "data: [DONE]" not in rest
        assert chat(running.url).status_code == 200


def _killed_under_a_stream(running: Up) -> list[str]:
    """The lines of a long stream, after the first, whose engine is killed."""
    victims = running.engines()
    with httpx.stream(
        "POST", f"{running.url}/v1/chat/completions", json=LONG, timeout=PATIENCE
    ) as answer:
        lines = answer.iter_lines()
        next(lines)
        for process in victims:
            process.kill()
        return [line for line in lines if line]


def test_an_idle_model_stops_and_the_next_request_waits_for_it(tmp_path: Path) -> None:
    with up(tmp_path, fleet=IDLE) as running:
        running.event("listening")
        assert running.engines() == []
        assert chat(running.url).status_code == 200
        assert len(running.engines()) >= 1
        wait_for(lambda: running.engines() == [], what="the idle model is stopped", seconds=20)
        assert chat(running.url).status_code == 200


def test_a_queue_starts_another_replica_and_its_end_stops_it(tmp_path: Path) -> None:
    with up(tmp_path, fleet=GROWING) as running, ThreadPoolExecutor(12) as pool:
        running.event("ready")
        asking = [
            pool.submit(chat, running.url, ignore_eos=True, max_tokens=800) for _ in range(12)
        ]
        wait_for(lambda: len(running.replicas("demo")) == 2, what="a second replica")
        assert {future.result().status_code for future in asking} == {200}
        wait_for(lambda: len(running.replicas("demo")) == 1, what="one replica again", seconds=30)
        reasons = [event["reason"] for event in running.events if event["event"] == "scale"]
        assert any("per replica" in r for r in reasons)


def test_a_taken_port_is_said_with_one_that_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("up", "--port", str(port), environment=environment_in(tmp_path))
    assert done.returncode == 1
    assert f"{port}" in done.stderr
    assert "is free" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fleet_that_does_not_fit_is_refused_with_its_ledger(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(TWO_REPLICAS)
    done = run(
        "plan",
        "--memory",
        "10Mi",
        str(tmp_path / "fleet.yaml"),
        environment=environment_in(tmp_path),
    )
    assert done.returncode == 3
    assert "weights" in done.stderr
    assert "hint" in done.stderr


def test_a_broken_fleet_is_refused_with_every_problem(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(TWO_REPLICAS.replace("min: 2", "mni: 2"))
    done = run("up", str(tmp_path / "fleet.yaml"), environment=environment_in(tmp_path))
    assert done.returncode == 2
    assert "did you mean `min`" in done.stderr


def test_a_fleet_whose_gateway_wants_several_processes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(f"{TWO_REPLICAS.rstrip()}\n  gateway: {{workers: 2}}\n")
    done = run("up", str(tmp_path / "fleet.yaml"), environment=environment_in(tmp_path))
    assert done.returncode == 2
    assert "plimsoll gateway --workers" in done.stderr


@pytest.mark.parametrize(
    "command", ["up", "check", "plan", "explain", "chat", "status", "models", "schema"]
)
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    done = run(command, "--help", environment=environment_in(tmp_path))
    assert done.returncode == 0
    assert "Usage: plimsoll " + command in done.stdout


def _ready(running: Up) -> list[str]:
    return [r["name"] for r in running.replicas("demo") if r["state"] == "ready"]


def _completed(running: Up) -> int:
    text = httpx.get(f"{running.url}/metrics", timeout=PATIENCE).text
    return int(
        sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("plimsoll_gateway_requests_total{") and 'status="200"' in line
        )
    )
