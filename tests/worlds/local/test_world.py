"""What the local world promises beyond the contract of all worlds, on the real engine."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from plimsoll.engines.llamacpp import LlamaCpp
from plimsoll.engines.protocol import Command, Probe
from plimsoll.errors import MissingExtra
from plimsoll.policy.snapshot import ReplicaState
from plimsoll.worlds.local import LocalModel, Patience
from tests.worlds.local.harness import Stage, engines_of, placement, staged, stream, until


def act(
    folder: Path,
    weights: Path,
    scene: Callable[[Stage], Awaitable[None]],
    *,
    drain_seconds: float = 5.0,
    patience: Patience | None = None,
) -> None:
    async def play() -> None:
        models = [LocalModel(placement=placement(), weights=weights)]
        async with staged(folder, models, drain_seconds=drain_seconds, patience=patience) as stage:
            await scene(stage)

    asyncio.run(play())


def test_a_ready_replica_answers_a_streamed_request(weights: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (ready,) = await stage.started()
        assert ready.address is not None
        answer = await stream(ready.address, tokens=5)
        await answer.rest()
        assert answer.ended
        answer.close()

    act(tmp_path, weights, scene)


def test_the_world_works_on_uvloop_too(weights: Path, tmp_path: Path) -> None:
    async def play() -> None:
        async with staged(tmp_path, [LocalModel(placement=placement(), weights=weights)]) as stage:
            await stage.started()
            psutil.Process(engines_of()[0].pid).kill()
            await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))

    uvloop.run(play())


def test_a_killed_replica_is_noticed_without_being_asked(weights: Path, tmp_path: Path) -> None:
    taken: list[float] = []

    async def scene(stage: Stage) -> None:
        for _ in range(3):
            await stage.started()
            engines_of()[0].kill()
            taken.append(await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED)))
            (dead,) = stage.replicas()
            assert dead.reason == "killed by SIGKILL, by hand or for want of memory"
            await stage.stop("tiny-0")

    act(tmp_path, weights, scene)
    assert sorted(taken)[1] < Patience().scrape, taken  # nobody looked at it in between


def test_a_crash_is_told_by_its_signal(weights: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.started()
        engines_of()[0].send_signal(6)
        await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
        assert stage.replicas()[0].reason.startswith("killed by SIGABRT")

    act(tmp_path, weights, scene)


def test_a_broken_file_is_told_in_the_engines_own_words(truncated: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start()
        await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
        reason = stage.replicas()[0].reason
        assert reason.startswith("exit code 1: ")
        assert "corrupted or incomplete" in reason

    act(tmp_path, truncated, scene)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start()
        await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
        assert "No such file or directory" in stage.replicas()[0].reason

    act(tmp_path, tmp_path / "nowhere.gguf", scene)


def test_a_start_that_takes_too_long_fails_and_leaves_no_process(
    weights: Path, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start()
        await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
        assert "not ready after 0 s" in stage.replicas()[0].reason
        assert not engines_of()

    patience = Patience(start=0.01, bytes_per_second=1e12)
    act(tmp_path, weights, scene, patience=patience)


def test_an_engine_that_hangs_is_failed_and_killed(weights: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.started()
        engines_of()[0].suspend()
        await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
        assert "no answer to /health" in stage.replicas()[0].reason
        assert not engines_of()

    patience = Patience(scrape=0.05, answer=0.1, silence=0.3)
    act(tmp_path, weights, scene, patience=patience)


def test_stopping_lets_a_running_stream_end(weights: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (ready,) = await stage.started()
        assert ready.address is not None
        running = await stream(ready.address, tokens=400)
        assert await running.event()
        await stage.stop("tiny-0")
        assert stage.is_in("tiny-0", ReplicaState.DRAINING)
        await running.rest()
        assert running.ended
        assert running.events > 100
        await until(lambda: not stage.replicas())
        running.close()

    act(tmp_path, weights, scene, drain_seconds=30.0)


def test_the_drain_deadline_cuts_a_stream_that_goes_on(weights: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (ready,) = await stage.started()
        assert ready.address is not None
        running = [await stream(ready.address, tokens=1900) for _ in range(8)]
        assert await running[0].event()
        await stage.stop("tiny-0")
        assert await until(lambda: not stage.replicas()) < 2.0
        for each in running:
            await each.rest()
            each.close()
        assert not all(each.ended for each in running)

    act(tmp_path, weights, scene, drain_seconds=0.2)


def test_a_closed_stream_frees_its_slot_long_before_its_end(weights: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (ready,) = await stage.started()
        assert ready.address is not None
        for _ in range(5):
            running = await stream(ready.address, tokens=1900)
            assert await running.event()
            await until(lambda: _running(stage) == 1)
            running.close()
            taken.append(await until(lambda: _running(stage) == 0))

    taken: list[float] = []
    act(tmp_path, weights, scene, patience=Patience(scrape=0.005))
    # How many milliseconds is benchmarks/http_layer's claim; unclosed, it would run for seconds.
    assert sorted(taken)[2] < 1.0, taken


def test_a_stream_closed_while_its_prompt_is_read_frees_its_slot(
    weights: Path, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        (ready,) = await stage.started()
        assert ready.address is not None
        running = await stream(ready.address, tokens=1, prompt="b" * 2000, progress=True)
        assert await running.event()
        running.close()
        await until(lambda: _running(stage) == 0, seconds=2.0)

    act(tmp_path, weights, scene, patience=Patience(scrape=0.005))


def _running(stage: Stage) -> int | None:
    counts = stage.world.counts("tiny-0")
    return counts.running if counts else None


def test_counts_follow_the_engines_own_metrics(weights: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        assert stage.world.counts("tiny-0") is None
        (ready,) = await stage.started()
        assert ready.address is not None
        answer = await stream(ready.address, tokens=7)
        await answer.rest()
        answer.close()

        def told() -> bool:
            counts = stage.world.counts("tiny-0")
            return counts is not None and counts.generated_tokens == 7

        await until(told)

    act(tmp_path, weights, scene, patience=Patience(scrape=0.02))


def test_ten_replicas_start_at_once_on_ports_of_the_systems_choice(
    weights: Path, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        replicas = await stage.started(replicas=10)
        assert {replica.name for replica in replicas} == {f"tiny-{n}" for n in range(10)}
        assert len({replica.address for replica in replicas}) == 10

    act(tmp_path, weights, scene)


def test_no_credential_reaches_an_engine(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "HTTPS_PROXY", "AIP_MODE"):
        monkeypatch.setenv(name, "secret")

    async def scene(stage: Stage) -> None:
        await stage.started()
        given = engines_of()[0].environ()
        assert "PATH" in given
        assert "secret" not in given.values()

    act(tmp_path, weights, scene)


def test_cold_starts_are_measured_by_phase_and_written_down(weights: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.started()
        (start,) = stage.world.cold_starts()
        assert (start.model, start.replica) == ("tiny", "tiny-0")
        assert list(start.phases) == ["spawn", "load", "ready"]
        assert all(seconds > 0 for seconds in start.phases.values())
        assert start.total < 20

    act(tmp_path, weights, scene)
    (line,) = (tmp_path / "cold-starts.jsonl").read_text().splitlines()
    assert json.loads(line)["replica"] == "tiny-0"


def test_a_replicas_log_is_where_the_world_says(truncated: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        for _ in range(2):
            await stage.start()
            await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
            await stage.stop("tiny-0")
        log = stage.world.log_path("tiny-0")
        assert "corrupted or incomplete" in log.read_text()
        assert "corrupted or incomplete" in log.with_name("tiny-0.1.log").read_text()

    act(tmp_path, truncated, scene)


def test_a_state_folder_that_cannot_be_written_fails_the_replica_with_the_reason(
    weights: Path, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        (tmp_path / "logs").rmdir()
        (tmp_path / "logs").write_text("a file is in the way")
        await stage.start()
        await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
        assert "logs" in stage.replicas()[0].reason

    act(tmp_path, weights, scene)


def test_start_and_stop_leave_no_descriptor_task_thread_or_process(
    weights: Path, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        async def cycle() -> None:
            await stage.started()
            await stage.stop("tiny-0")
            await until(lambda: not stage.replicas())

        def held() -> tuple[int, int, int]:
            gc.collect()
            return psutil.Process().num_fds(), len(asyncio.all_tasks()), threading.active_count()

        await cycle()
        before = held()
        for _ in range(10):
            await cycle()
        # Not more than before; what the first cycle had not let go of yet may be less by now.
        await until(
            lambda: all(now <= then for now, then in zip(held(), before, strict=True)),
            seconds=5.0,
        )
        assert not engines_of()

    act(tmp_path, weights, scene)


def test_leaving_the_world_in_the_middle_of_starts_leaves_nothing(
    weights: Path, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start(replicas=3)
        await until(lambda: len(engines_of()) == 3)

    act(tmp_path, weights, scene)
    assert not engines_of()


def test_a_second_interrupt_while_leaving_kills_at_once(weights: Path, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.started()
        stage.in_flight["tiny-0"] = 1

    async def play() -> None:
        models = [LocalModel(placement=placement(), weights=weights)]

        async def whole() -> None:
            async with staged(tmp_path, models, drain_seconds=600) as stage:
                await scene(stage)

        task = asyncio.create_task(whole())
        await until(lambda: bool(list(tmp_path.glob("cold-starts.jsonl"))))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not engines_of()

    asyncio.run(play())


def test_a_fault_in_the_adapter_is_shown_and_not_swallowed(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start()
        await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
        assert "a fault of ours" in stage.replicas()[0].reason

    def faulty(*_args: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("plimsoll.engines.llamacpp.LlamaCpp.counts", faulty)
    with pytest.raises(RuntimeError, match="a mistake"):
        act(tmp_path, weights, scene)


def test_a_health_path_that_the_engine_does_not_have_fails_the_start(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.start()
        await until(lambda: stage.is_in("tiny-0", ReplicaState.FAILED))
        assert stage.replicas()[0].reason == "/nowhere answered 404"

    real = LlamaCpp.command

    def elsewhere(self: LlamaCpp, *args: Any, **options: Any) -> Command:
        return dataclasses.replace(real(self, *args, **options), ready=Probe(path="/nowhere"))

    monkeypatch.setattr(LlamaCpp, "command", elsewhere)
    act(tmp_path, weights, scene)


def test_a_missing_engine_package_is_named_before_anything_starts(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # as if it were not installed

    async def scene(stage: Stage) -> None:
        raise AssertionError("the world must not open")

    with pytest.raises(MissingExtra) as caught:
        act(tmp_path, weights, scene)
    assert "plimsoll[local]" in str(caught.value.hint)
